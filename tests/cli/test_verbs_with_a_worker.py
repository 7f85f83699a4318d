"""Followed work, workers, clips and the demo, with a real worker process whose stages are quick."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli
import torch
from PIL import Image

from vcd_studio.catalog.packs import find_pack
from vcd_studio.evaluation.judges import load_judges
from vcd_studio.evaluation.reading import read_identity
from vcd_studio.jobs import workers
from vcd_studio.jobs.store import Store
from vcd_studio.locations import packs_dir
from vcd_studio.pocket.examples import REX, held_out
from vcd_studio.project.project import Project


def test_no_worker_runs(studio: Any) -> None:
    assert studio("worker", "status", "--json").json == []
    assert studio("worker", "status").out == "No worker runs.\n"
    stopped = studio("worker", "stop")
    assert stopped.code == 2
    assert "No worker runs" in stopped.err


@pytest.mark.parametrize("verb", ["start", "stop", "run"])
def test_a_device_that_is_none(verb: str, studio: Any) -> None:
    said = studio("worker", verb, "--device", "toaster")
    assert said.code == 2
    assert "toaster" in said.err


def test_status_and_a_second_worker_on_the_same_device(studio: Any, worker: subprocess.Popen[str]) -> None:
    (held,) = studio("worker", "status", "--json").json
    assert held == {"device": "cpu", "pid": worker.pid, "state": "idle", "job": None, "foreign": None}
    second = studio("worker", "start", "--device", "cpu")
    assert (second.code, second.out) == (2, "")
    assert f"pid {worker.pid}" in second.err


def test_run_is_a_worker_in_the_foreground(studio_home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vcd_studio.cli", "worker", "run", "--device", "cpu", "--once", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["device"], answer["state"]) == ("cpu", "running")
    assert re.search(r"worker \d+ holds cpu", done.stderr)


@pytest.mark.parametrize("options", [[], ["--once"], ["--json"]])
def test_run_is_refused_once_where_a_worker_is(options: list[str], worker: subprocess.Popen[str]) -> None:
    command = [sys.executable, "-m", "vcd_studio.cli", "worker", "run", "--device", "cpu", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"vcd-studio: {workers.already_running('cpu', worker.pid)}\n"


def test_start_and_stop(studio: Any) -> None:
    started = studio("worker", "start", "--device", "cpu", "--json")
    assert (started.code, started.json["device"]) == (0, "cpu")
    stopped = studio("worker", "stop", "--json")
    assert stopped.json == [{"device": "cpu", "pid": started.json["pid"], "state": "dead", "job": None}]
    assert studio("worker", "status", "--json").json == []


def test_followed_work_ends_with_its_answer(studio: Any, film: Project, worker: subprocess.Popen[str]) -> None:
    masks = studio("identity", "segment", film.path, "rex", "--follow")
    assert masks.code == 0
    assert "2.png" in masks.out
    assert "job 1 · segment · done" in masks.err
    tokens = studio("identity", "train", film.path, "rex", "--follow", "--json")
    assert (tokens.code, tokens.json["state"], tokens.json["progress"]) == (0, "done", 1.0)
    assert Path(tokens.json["result"]["tokens"]).is_file()
    clips = studio("generate", film.path, "--prompt", "a <rex> dog", "--seeds", "1,2", "--follow", "--json")
    assert [job["state"] for job in clips.json["jobs"]] == ["done", "done"]
    assert "job 3 · tiled · done" in clips.err


def test_failed_work_is_one_and_tells_why(studio: Any, trained: Project, worker: subprocess.Popen[str]) -> None:
    said = studio("generate", trained.path, "--prompt", "a <rex> dog", "--set", "negative=break", "--follow", "--json")
    assert (said.code, said.out) == (1, "")
    assert "The frames broke; mend them." in said.err
    assert "The frames broke" in studio("queue", "show", "1").out


def test_a_clip_that_failed_is_listed_with_its_reason(studio: Any, trained: Project, worker: subprocess.Popen[str]) -> None:
    studio("generate", trained.path, "--prompt", "a <rex> dog", "--set", "negative=break", "--follow")
    folder = trained.new_clip("a dog")
    with Store() as store:
        store.update_result(1, {"clip": str(folder)})
    assert studio("clips", "list", "--json").json == []
    (failed,) = studio("clips", "list", "--filter", "failed rex", "--json").json
    assert (failed["id"], failed["prompt"], failed["problem"]) == (folder.name, "a <rex> dog", "The frames broke; mend them.")
    assert "The frames broke" in studio("clips", "show", folder.name).out
    assert studio("clips", "trash", folder.name).code == 0
    assert not folder.exists()


def test_cancelling_what_runs(studio: Any, trained: Project, worker: subprocess.Popen[str]) -> None:
    studio("generate", trained.path, "--prompt", "a <rex> dog", "--set", "negative=wait")
    assert worker.stdout is not None
    assert any("waits to be told" in line for line in iter(worker.stdout.readline, ""))
    (asked,) = studio("queue", "cancel", "1", "--json").json
    assert (asked["state"], asked["request"]) in {("running", "cancel"), ("cancelled", None)}
    from vcd_studio.cli.following import follow_jobs

    with Store() as store:
        (job,) = follow_jobs(store, [1])
    assert job.state == "cancelled"


def test_interrupting_a_follower_leaves_the_work(
    studio: Any, film: Project, worker: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(store: Store) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "changed_since", interrupt)
    said = studio("identity", "segment", film.path, "rex", "--follow")
    assert said.code == 130
    assert "goes on without you" in said.err
    assert len(studio("queue", "list", "--json").json) == 1


def test_a_follower_leaves_when_the_worker_was_stopped(studio: Any, film: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vcd_studio.cli.following.WORKER_SECONDS", 0.0)
    said = studio("identity", "segment", film.path, "rex", "--follow", "--no-worker")
    assert said.code == 1
    assert "No worker runs" in said.err
    assert "queued" in said.err


def test_a_person_sees_bars(film: Project, worker: subprocess.Popen[str]) -> None:
    reader, writer = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vcd_studio.cli", "identity", "train", str(film.path), "rex", "--follow"],
        stdout=subprocess.PIPE,
        stderr=writer,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(writer)
    seen = b""
    try:
        while part := os.read(reader, 4096):
            seen += part
    except OSError:  # Linux: the other end is closed
        assert process.wait(timeout=60) == 0
    os.close(reader)
    assert b"train" in seen
    assert "━".encode() in seen
    assert b"4/4" in seen


@pytest.fixture
def clip(studio: Any, trained: Project, worker: subprocess.Popen[str]) -> dict[str, Any]:
    """A finished clip, as clips list tells it."""
    assert studio("generate", trained.path, "--prompt", "a <rex> dog", "--follow").code == 0
    (found,) = studio("clips", "list", trained.path, "--json").json
    assert isinstance(found, dict)
    return found


def test_clips_are_listed_and_shown(studio: Any, trained: Project, clip: dict[str, Any]) -> None:
    assert (clip["prompt"], clip["seed"], clip["frames"], clip["identities"]) == ("a <rex> dog", 1, 4, ["rex"])
    assert Path(clip["video"]).is_file()
    assert list(clip["stages"]) == ["t2v", "face", "tiled"]
    assert studio("clips", "list", "--json").json == [clip]
    for words in ([clip["folder"]], [clip["video"]], [clip["id"]], [clip["id"], "--project", trained.path]):
        shown = studio("clips", "show", *words, "--json")
        assert shown.code == 0
        assert (shown.json["id"], shown.json["recipe"]["written"]) == (clip["id"], "a <rex> dog")
    for line, count in (("dog stage:face unrated date:today", 1), ("rating:>=1", 0), ("failed", 0)):
        assert len(studio("clips", "list", trained.path, "--filter", line, "--sort", "seed", "--json").json) == count
    for words in (["--filter", "rating:x"], ["--sort", "worst"]):
        assert studio("clips", "list", *words).code == 2
    assert "tiled" in studio("clips", "show", clip["id"]).out
    unknown = studio("clips", "show", "nothing-000")
    assert unknown.code == 2
    assert "nothing-000" in unknown.err


def test_a_clip_goes_to_the_trash_and_comes_back(studio: Any, trained: Project, clip: dict[str, Any]) -> None:
    (thrown,) = studio("clips", "trash", clip["id"], "--json").json
    assert thrown["id"] == clip["id"]
    assert not Path(clip["folder"]).exists()
    assert studio("clips", "trash", "--project", trained.path, "--json").json == [thrown]
    assert studio("clips", "restore", "other-001").code == 2
    assert studio("clips", "restore", clip["id"], "--json").json == {"id": clip["id"], "folder": clip["folder"]}
    assert studio("clips", "list", "--json").json == [clip]
    assert "The trash is empty" in studio("clips", "restore").err


def test_an_export_says_how_it_was_made(studio: Any, clip: dict[str, Any], tmp_path: Path) -> None:
    from vcd_studio.media.provenance import read_recipe

    for to in ("mp4", "gif", "webp"):
        target = tmp_path / f"out.{to}"
        said = studio("clips", "export", clip["folder"], "--to", to, "--out", target, "--json")
        assert said.code == 0
        assert said.json == {"clip": clip["id"], "format": to, "stage": None, "path": str(target)}
        told = read_recipe(target)
        assert "trainedAlgorithmicMedia" in told["digital_source_type"]
        assert "a <rex> dog" in told["parameters"]
        before = target.read_bytes()
        again = studio("clips", "export", clip["folder"], "--to", to, "--out", target)
        assert again.code == 2
        assert "stays as it is" in again.err
        assert target.read_bytes() == before


def test_frames_are_exported_whole_with_the_recipe(studio: Any, clip: dict[str, Any], tmp_path: Path) -> None:
    from vcd_studio.media.provenance import read_recipe

    said = studio("clips", "export", clip["id"], "--to", "frames", "--stage", "t2v", "--json")
    folder = Path(said.json["path"])
    assert folder == tmp_path / f"{clip['id']}-t2v-frames"
    assert sorted(path.name for path in folder.iterdir()) == ["0000.png", "0001.png", "0002.png", "0003.png"]
    assert "trainedAlgorithmicMedia" in read_recipe(folder / "0000.png")["digital_source_type"]
    for words, told in (
        (["--to", "avi"], "avi"),
        (["--to", "gif", "--stage", "paint"], "paint"),
        (["--to", "gif", "--out", "no/x.gif"], "no"),
    ):
        wrong = studio("clips", "export", clip["id"], *words)
        assert wrong.code == 2
        assert told in wrong.err


def test_the_demo_goes_through_everything(studio: Any, tmp_path: Path, worker: subprocess.Popen[str]) -> None:
    (tmp_path / "vcd-studio-demo").mkdir()
    said = studio("demo", "--seed", "7", "--json")
    assert said.code == 0, said.err
    shown = said.json
    assert shown["project"] == str(tmp_path / "vcd-studio-demo-2")
    assert [part["stage"] for part in shown["stages"]] == ["segment", "train", "t2v", "face", "tiled", "save"]
    assert all(part["bytes"] > 0 and part["seconds"] is not None for part in shown["stages"])
    for name in ("video", "gif", "sheet"):
        assert Path(shown[name]).is_file()
    assert not any((tmp_path / "vcd-studio-demo").iterdir())
    (clip,) = studio("clips", "list", shown["project"], "--json").json
    assert clip["seed"] == 7
    assert studio("worker", "status", "--json").json[0]["pid"] == worker.pid
    table = studio("demo", "--out", "again").out
    for word in ("segment", "tiled", "clip.mp4", "clip.gif", str(tmp_path / "again")):
        assert word in table


def test_the_demo_keeps_a_queue_of_its_own(studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homes: list[str] = []

    def no_worker(device: str = "auto") -> Any:
        homes.append(os.environ["VCD_HOME"])
        raise workers.WorkerRunning("not today")

    monkeypatch.delenv("VCD_HOME")
    for name in ("CONFIG", "STATE", "CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.setattr(workers, "ensure_running", no_worker)
    assert studio("demo", "--out", "mine").code == 2
    assert homes == [str(tmp_path / "mine" / ".vcd-home")]
    assert "VCD_HOME" not in os.environ
    assert studio("project", "list", "--json").json[0]["path"] == str(tmp_path / "mine")


@pytest.mark.slow
def test_the_real_demo(tmp_path: Path) -> None:
    """The shipped pack, the real worker, its own queue: what a person gets from README's first command."""
    environment = {name: value for name, value in os.environ.items() if name != "VCD_HOME"}
    for name in ("CONFIG", "STATE", "CACHE", "DATA"):
        environment[f"XDG_{name}_HOME"] = str(tmp_path / name)
    command = [sys.executable, "-m", "vcd_studio.cli", "demo", "--out", str(tmp_path / "demo"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    for name in ("video", "gif", "sheet"):
        assert Path(shown[name]).stat().st_size > 1000
    assert [part["stage"] for part in shown["stages"]] == ["segment", "train", "t2v", "face", "tiled", "save"]
    assert_of_rex(Path(shown["video"]).parent)


def assert_of_rex(clip: Path) -> None:
    """The dog of the photos, doing what was asked; rounding makes each kind of processor learn other tokens, never another dog."""
    assert tomli.loads((clip / "clip.toml").read_text())["stages"]["face"]["report"]["tracks"] >= 1
    frames = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in sorted((clip / "stages" / "tiled" / "frames").iterdir())])
    oracle, _ = load_judges(find_pack("pocket", packs_dir()), torch.device("cpu"))
    told, values = oracle.read(frames)
    said = oracle.answered(told)
    assert (said["kind"], said["scene"], said["action"]) == ("dog", "grass", "jumping")
    assert read_identity(told, values, held_out(REX, "dog")).share >= 0.8
