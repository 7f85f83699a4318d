"""``vcd-studio models pull``: a shipped pack from a server that speaks the hub's protocol to one that a project can name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli
from huggingface_hub import constants

from tests.catalog import layouts
from tests.catalog.hub import Hub, serving
from tests.catalog.test_discovery import write
from vcd_studio.catalog import shipped
from vcd_studio.catalog.packs import find_pack
from vcd_studio.jobs.pulls import pulls
from vcd_studio.project.project import Project

CONTENT = {
    "base": layouts.sd15, "motion_adapter": lambda: layouts.animatediff("v2"), "controlnet": layouts.controlnet,
    "lora": layouts.diffusers_lora,
}  # fmt: skip


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Every file of the table, whole but small; those whose hashes are known would be told from the real ones."""
    text = re.sub(r'sha256 = ".*"\n', "", shipped.TABLE.read_text(encoding="utf-8"))
    text = re.sub(r"small = .*", 'small = ["tile"]', text)
    table = tomli.loads(text)
    monkeypatch.setattr(shipped, "_table", lambda: table)
    files = {}
    for number, file in enumerate(table["files"].values()):
        if file["part"] in CONTENT:
            path = tmp_path / f"{number}.ckpt"
            write(path, CONTENT[file["part"]]())
            files[f"{file['repo']}/{file['name']}"] = path.read_bytes()
    with serving(Hub(files)) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr("vcd_studio.catalog.discovery.usual_places", list)
        yield hub


def test_a_pack_is_fetched_with_the_one_it_trains_on(hub: Hub, studio: Any, studio_home: Path, tmp_path: Path) -> None:
    said = studio("models", "pull", "realistic-vision-5.1", "--motion", "lcm", "--small", "--json")
    assert said.code == 0, said.err
    assert said.json["state"] == "ready"
    assert "Realistic Vision 5.1, with its VAE: 0 B of" in said.err
    packs = studio_home / "data" / "packs"
    pack, trains = find_pack("realistic-vision-5.1-lcm", packs), find_pack("sd15", packs)
    assert pack.trains_on == "sd15"
    assert pack.parts["base"].name == "realisticVisionV60B1_v51VAE.safetensors"
    assert pack.parts["controlnet"] == trains.parts["controlnet"]  # one copy for both
    assert [(lora.file.name, lora.strength) for lora in pack.loras] == [("AnimateLCM_sd15_t2v_lora.safetensors", 0.8)]
    project = Project.create(tmp_path / "film", pack=pack.name)
    assert (project.defaults.scheduler, project.defaults.steps, project.defaults.guidance) == ("lcm", 6, 1.5)
    assert [(pull.pack, pull.state) for pull in pulls()] == [("realistic-vision-5.1-lcm", "done")]
    asked = len(hub.asked)
    assert studio("models", "pull", "realistic-vision-5.1", "--motion", "lcm", "--small").code == 0
    assert len(hub.asked) == asked


def test_a_dry_run_tells_licences_and_fetches_nothing(hub: Hub, studio: Any) -> None:
    said = studio("models", "pull", "toonyou-beta-3", "--small", "--dry-run")
    assert said.code == 0
    assert "First the pack it trains on: sd15" in said.out
    assert re.search(r"ToonYou beta 3 .*CreativeML Open RAIL-M.* drawn cartoons .*animatediff_t2i_backups/toonyou_beta3", said.out)
    assert "to fetch." in said.out
    assert hub.asked == []
    listed = {pack["name"]: pack for pack in studio("models", "list", "--json").json}
    assert listed["toonyou-beta-3"]["state"] == "to fetch"
    assert all(file["licence"] for file in listed["toonyou-beta-3"]["files"])


def test_a_failure_is_one_sentence_and_is_kept_for_the_screens(hub: Hub, studio: Any, studio_home: Path) -> None:
    hub.status = 503
    said = studio("models", "pull", "sd15", "--small")
    assert said.code == 1
    assert said.err.strip().splitlines()[-1].startswith("vcd-studio: Stable Diffusion 1.5 (")
    assert "the server answers 503" in said.err
    (pull,) = pulls()
    assert pull.state == "failed"
    assert "the server answers 503" in pull.problem
    assert not (studio_home / "data" / "packs").exists()


def test_what_is_not_what_it_should_be_makes_no_pack(hub: Hub, studio: Any, studio_home: Path) -> None:
    (name,) = [name for name in hub.files if name.endswith("mm_sd_v15_v2.ckpt")]
    hub.files[name] = hub.files[next(name for name in hub.files if "control" in name)]
    said = studio("models", "pull", "sd15", "--small")
    assert said.code == 2
    assert "are both a ControlNet for SD 1.5" in said.err
    assert not (studio_home / "data" / "packs").exists()


def test_an_unknown_pack(hub: Hub, studio: Any) -> None:
    said = studio("models", "pull", "sdxl")
    assert said.code == 2
    assert 'There is no pack "sdxl" to pull' in said.err


def test_a_fetching_that_died_is_told_so(studio_home: Path) -> None:
    folder = studio_home / "state" / "pulls"
    folder.mkdir(parents=True)
    gone = {"pack": "sd15", "process": {"pid": 1, "start": "never", "boot": "b"}, "state": "running", "file": "SD", "done": 5, "total": 9}
    (folder / "sd15.json").write_text(json.dumps(gone))
    (folder / "sd15.log").write_text("SD: 5 B of 9 B\n")
    (folder / "other.json").write_text("{")
    (pull,) = pulls()
    assert (pull.state, pull.done, pull.problem) == ("dead", 5, "SD: 5 B of 9 B")


def test_trains_on_and_defaults_of_ones_own(hub: Hub, studio: Any, studio_home: Path, tmp_path: Path) -> None:
    for name in ("base", "motion_adapter"):
        write(tmp_path / f"{name}.ckpt", CONTENT[name]())
    files = [str(tmp_path / "base.ckpt"), str(tmp_path / "motion_adapter.ckpt")]
    assert studio("models", "add", "mine", *files, "--trains-on", "sd15").code == 2
    assert studio("models", "add", "mine", *files, "--set", "steps=four").code == 2
    assert studio("models", "add", "mine", *files, "--set", "scheduler=lightning", "--set", "steps=4").code == 0
    about = tomli.loads((studio_home / "data" / "packs" / "mine" / "pack.toml").read_text())
    assert about["defaults"] == {"scheduler": "lightning", "steps": 4}
