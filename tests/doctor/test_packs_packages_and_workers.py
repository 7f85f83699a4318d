"""Packs, optional packages, workers, and how all checks are run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.catalog import layouts
from tests.catalog.test_discovery import write
from vcd_studio.catalog.packs import add_pack
from vcd_studio.doctor import checks as all_checks
from vcd_studio.doctor.checks import Check, checks
from vcd_studio.doctor.packages import check_extras, check_versions
from vcd_studio.doctor.packs import check_packs
from vcd_studio.doctor.terminal import TerminalReading
from vcd_studio.doctor.workers import check_detaching, check_device, check_workers, worker_pids
from vcd_studio.jobs.model import WorkerId
from vcd_studio.jobs.processes import this_process
from vcd_studio.jobs.workers import WorkerStatus, lock_path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VCD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_pocket_alone_is_in_order_and_not_enough(tmp_path: Path) -> None:
    pocket, only = check_packs(tmp_path)
    assert (pocket.state, only.state) == ("ok", "warning")
    assert only.remedy.startswith("vcd-studio models add")


def test_a_pack_without_optional_parts_says_what_becomes_of_that(tmp_path: Path) -> None:
    files = [write(tmp_path / "base.ckpt", layouts.sd15()), write(tmp_path / "mm.ckpt", layouts.animatediff("v2"))]
    add_pack(tmp_path / "packs", "mine", files)
    mine = check_packs(tmp_path / "packs")[1]
    assert mine.state == "warning"
    for words in ("masks cannot be made", "face cannot run", "bicubic"):
        assert words in mine.found
    assert str(tmp_path / "packs" / "mine" / "pack.toml") in mine.remedy


def test_a_pack_whose_file_went_away_has_the_remedy_of_its_own_sentence(tmp_path: Path) -> None:
    files = [write(tmp_path / "base.ckpt", layouts.sd15()), write(tmp_path / "mm.ckpt", layouts.animatediff("v2"))]
    add_pack(tmp_path / "packs", "mine", files)
    files[1].unlink()
    broken = check_packs(tmp_path / "packs")[1]
    assert broken.state == "warning"
    assert f"is not at {files[1]} any more" in broken.found
    assert broken.remedy.startswith("put it back")


def test_a_pocket_that_is_not_whole_keeps_every_new_project_from_working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vcd_studio.catalog.packs.POCKET", tmp_path / "nowhere")
    assert check_packs(tmp_path)[0].state == "fix"


def test_an_extra_names_what_is_there_and_what_is_missing() -> None:
    sam, upscaling = check_extras(lambda module: module == "cv2")
    assert (sam.state, sam.remedy) == ("warning", "pip install 'vcd-studio[grounded-sam]'")
    assert "opencv-python" in sam.found
    assert "without segment-anything, groundingdino-py" in sam.found
    assert upscaling.found == "without spandrel"
    assert {finding.state for finding in check_extras(lambda module: True)} == {"ok"}


def test_versions_are_named() -> None:
    from vcd_studio import __version__

    assert __version__ in check_versions().found


def status(device: str, state: str) -> WorkerStatus:
    return WorkerStatus(device, 4242, state, None, WorkerId(4242, "1", "boot"))  # type: ignore[arg-type]


def test_a_worker_that_died_has_a_remedy() -> None:
    assert check_workers([]).state == "ok"
    assert check_workers([status("cpu", "idle")]).state == "ok"
    died = check_workers([status("cuda:0", "dead"), status("cpu", "running")])
    assert (died.state, died.remedy) == ("warning", "vcd-studio worker start --device cuda:0")
    assert "cuda:0 dead (pid 4242), cpu running (pid 4242)" in died.found
    assert str(lock_path("cuda:0").with_suffix(".log")) in died.found


def test_only_living_workers_own_what_they_hold_of_a_card() -> None:
    import json
    from dataclasses import asdict

    me, gone = this_process(), WorkerId(1, "never", "another boot")
    for device, worker in (("cpu", me), ("cuda:0", gone)):
        lock_path(device).parent.mkdir(parents=True, exist_ok=True)
        lock_path(device).write_text(json.dumps({**asdict(worker), "device": device}))
    assert worker_pids() == {me.pid}


def test_auto_on_the_cpu_beside_a_card_is_told() -> None:
    assert check_device(0, "cpu").state == "ok"
    assert check_device(1, "cuda:0").state == "ok"
    assert check_device(1, "cpu").state == "warning"


@pytest.mark.parametrize(
    ("systemd", "linger", "state", "says"),
    [
        (False, False, "ok", "setsid"),
        (True, True, "ok", "lingering is on"),
        (True, None, "ok", "not told"),
    ],
)
def test_how_a_worker_leaves_its_terminal(
    systemd: bool, linger: bool | None, state: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vcd_studio.doctor.workers.lingers", lambda: linger)
    found = check_detaching(systemd)
    assert found.state == state
    assert says in found.found


def test_a_worker_of_a_systemd_that_does_not_linger_ends_with_the_last_log_out() -> None:
    found = check_detaching(systemd=True, linger=False)
    assert (found.state, found.remedy) == ("warning", "loginctl enable-linger")
    assert check_detaching(systemd=False, linger=False).state == "ok"


def test_a_check_that_fails_is_a_finding_and_no_end() -> None:
    def broken() -> list[all_checks.Finding]:
        raise RuntimeError("the machine is on fire")

    (found,) = Check("fire", broken).findings()
    assert found.state == "warning"
    assert "the machine is on fire" in found.found


def test_torch_is_asked_last_and_nothing_is_asked_before_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vcd_studio.devices.read_cards", lambda: pytest.fail("asked too soon"))
    names = [check.name for check in checks(lambda: pytest.fail("asked too soon"))]
    assert names[-1] == "torch"
    assert len(set(names)) == len(names)


def test_the_open_project_is_looked_at_too(tmp_path: Path) -> None:
    def none() -> TerminalReading:
        return TerminalReading(None, 0, 0, "utf-8", {})

    disk = next(check for check in checks(none, project=tmp_path) if check.name == "disk")
    assert any("the open project" in finding.found for finding in disk.findings())
