"""Fifteen complaints that people make of other studios, and that must be impossible here: one test each, with its name."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from tests.complaints.conftest import HeldWorker, until
from tests.complaints.held_worker import STEPS
from tests.complaints.terminal import Terminal
from tests.faults.dying_worker import run_worker
from tests.faults.worlds import QUICK
from tests.terminal.conftest import display, film, terminal  # noqa: F401
from tests.terminal.test_pictures_in_xterm import gone, same_as, shown
from tests.terminal.xterm import SIXEL
from tests.terminal.xterm import Terminal as Xterm
from tests.worker.tiny_pack import save_tiny_pack
from vcd_studio.jobs import again, workers
from vcd_studio.jobs.enqueue import enqueue_plan, enqueue_train, plan_generate
from vcd_studio.jobs.model import Job
from vcd_studio.jobs.processes import this_process
from vcd_studio.jobs.store import Store
from vcd_studio.media.provenance import read_recipe
from vcd_studio.method.id_tokens import IdTokens
from vcd_studio.project.outputs import read_clip
from vcd_studio.project.project import Project
from vcd_studio.worker.context import StageContext
from vcd_studio.worker.lease import Lease, WakeUp
from vcd_studio.worker.loop import Worker
from vcd_studio.worker.stages import STAGES

Put = Callable[..., Job]
Start = Callable[[], HeldWorker]
Studio = Callable[..., str]
Screens = Callable[..., Terminal]


def hold(job: Job) -> Path:
    """While this file is there, no stage of the project's jobs goes on."""
    path = job.project / "held"
    path.touch()
    return path


def steps_of(job: Job) -> list[int]:
    path = job.project / f"{job.id}.steps"
    return [int(step) for step in path.read_text().split()] if path.is_file() else []


def state(store: Store, job: Job) -> str:
    return store.job(job.id).state


def test_01_a_queue_lost_in_a_crash(store: Store, put: Put, worker: Start, studio: Studio) -> None:
    jobs = [put(f"clip {number}", seed=number, hold_after=3 if number == 1 else 0) for number in range(4)]
    first = worker()
    until(lambda: len(steps_of(jobs[1])) == 3, "the second clip at work")
    first.kill()
    found = json.loads(studio("queue", "list", "--json"))
    assert {(job["id"], job["title"]) for job in found} == {(job.id, job.title) for job in jobs}
    assert [store.job(job.id).settings for job in jobs] == [job.settings for job in jobs]
    (jobs[1].project / "held").unlink(missing_ok=True)
    worker()
    until(lambda: all(state(store, job) == "done" for job in jobs), "every clip")
    assert all(steps_of(job) == list(range(1, STEPS + 1)) for job in jobs)


def test_02_running_for_ever_after_power_loss(store: Store, put: Put, studio: Studio, screens: Screens) -> None:
    job = put("a clip")
    before_the_cut = replace(this_process(), boot="another boot")  # a living process has its pid by now
    assert store.claim(before_the_cut, "cpu") is not None
    window = screens()
    window.until("Welcome")
    window.press("4")
    window.until("queued")
    assert state(store, job) == "queued"
    (found,) = json.loads(studio("queue", "list", "--json"))
    assert found["state"] == "queued"
    assert [attempt.outcome for attempt in store.attempts(job.id)] == ["crashed"]


def test_03_cancelling_one_job_kills_another(store: Store, put: Put, worker: Start, studio: Studio) -> None:
    at_work, waiting, last = put("at work"), put("waiting"), put("last")
    held = hold(at_work)
    process = worker()
    until(lambda: state(store, at_work) == "running", "the first clip at work")
    studio("queue", "cancel", str(waiting.id))
    assert (state(store, at_work), state(store, waiting), state(store, last)) == ("running", "cancelled", "queued")
    held.unlink()
    until(lambda: state(store, last) == "done", "the last clip")
    assert (state(store, at_work), state(store, waiting)) == ("done", "cancelled")
    held = hold(at_work)
    runs, next_one = put("cancelled while it runs"), put("next")
    until(lambda: state(store, runs) == "running", "a clip at work")
    studio("queue", "cancel", str(runs.id))
    until(lambda: state(store, runs) == "cancelled", "cancelled while it runs")
    held.unlink()
    until(lambda: state(store, next_one) == "done", "the next clip")
    assert process.process.poll() is None, "the worker lives"


def test_04_a_crash_loop_at_start(store: Store, put: Put, worker: Start, screens: Screens) -> None:
    deadly, good = put("deadly", deadly=True), put("good")
    for _ in range(2):
        worker().process.wait(60)
    worker()
    until(lambda: state(store, good) == "done", "the good clip")
    assert state(store, deadly) == "set-aside"
    assert "2 times" in (store.job(deadly.id).error or "")
    window = screens()
    window.until("Welcome")
    window.press("4")
    window.until("set-aside")
    window.press("q")
    assert window.ends() == 0


def test_05_resume_that_does_nothing(store: Store, put: Put, worker: Start, studio: Studio) -> None:
    job = put("a clip", hold_after=4)
    worker()
    until(lambda: len(steps_of(job)) == 4, "four steps")
    studio("queue", "pause", str(job.id))
    until(lambda: state(store, job) == "paused", "paused")
    (job.project / "held").unlink(missing_ok=True)
    studio("queue", "resume", str(job.id))
    until(lambda: state(store, job) == "done", "the clip")
    assert steps_of(job) == list(range(1, STEPS + 1)), "gone on from the step it was paused at, none lost and none twice"


def test_06_a_queue_that_stopped_itself_silently(store: Store, put: Put, worker: Start, studio: Studio) -> None:
    fails = store.enqueue("generate", put("first").project, "fails", ["unknown"], {})
    jobs = [put(f"after it {number}") for number in range(2)]
    process = worker()
    until(lambda: all(state(store, job) == "done" for job in jobs), "what stands after a failed job")
    assert state(store, fails) == "failed"
    assert "knows no stage unknown" in (store.job(fails.id).error or "")
    assert process.ends() == 0
    waits = put("nobody is there")
    assert "No worker runs" in subprocess.run(
        [sys.executable, "-m", "vcd_studio.cli", "queue", "retry", str(fails.id)], capture_output=True, text=True, check=True
    ).stderr
    assert state(store, waits) == "queued"


def test_07_a_lost_job_shown_as_done(store: Store, put: Put, worker: Start, studio: Studio) -> None:
    job = put("a clip", hold_after=STEPS)
    first = worker()
    until(lambda: len(steps_of(job)) == STEPS, "the last step")
    assert store.stages(job.id)[0].progress == 1.0
    first.kill()
    (found,) = json.loads(studio("queue", "list", "--json"))
    assert found["state"] == "queued"
    assert [stage.state for stage in store.stages(job.id)] == ["queued", "queued"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home and a project in which a real worker has made two clips of one template, from the tests' tiny networks."""
    world = tmp_path_factory.mktemp("made")
    pack = save_tiny_pack(world / "pack")
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(noise).save(world / "photo.png")
    project = Project.create(world / "film", pack=str(pack))
    project.add_identity("rex", "dog", [world / "photo.png"])
    project.prompts_path.write_text('# my prompts\n[[prompt]]\ntext = "a {small|large} dog in the snow"   # both\nseeds = [3, 5]\n')
    with Store(world / "home" / "state" / "queue.sqlite3") as store:
        enqueue_plan(store, project, plan_generate(project, overrides={**QUICK, "stages": ["t2v"]}))
    assert run_worker(world) == 0
    return world


def clips_of(world: Path) -> list[Any]:
    project = Project.open(world / "film")
    return sorted((read_clip(folder) for folder in project.outputs_dir.iterdir() if folder.is_dir()), key=lambda clip: clip.id)


@pytest.mark.slow
def test_08_a_wrong_seed_in_the_metadata(made: Path) -> None:
    first = clips_of(made)[0]
    assert sorted(clip.sidecar["seed"] for clip in clips_of(made)) == [3, 3, 5, 5]
    with Store(made / "home" / "state" / "queue.sqlite3") as store:
        job = again.rerun(store, first, Project.open(made / "film"), ["tiled"], seed=99)  # only a part of it is of another seed
        assert run_worker(made) == 0
        clips = [*clips_of(made)]
        later = read_clip(Path(store.job(job.id).result["clip"]))
    assert [later.sidecar["stages"][stage]["seed"] for stage in ("t2v", "tiled")] == [first.sidecar["seed"], 99]
    for clip in clips:
        for name in ("clip.mp4", "clip.gif", "poster.png", "contact-sheet.png"):
            assert f"Seed: {clip.sidecar['seed']}," in read_recipe(clip.folder / name)["parameters"], (clip.id, name)
    pictures: dict[tuple[str, int], set[bytes]] = {}
    for clip in clips:
        frames = b"".join(path.read_bytes() for path in clip.stages()["t2v"].frames)
        pictures.setdefault((clip.sidecar["prompt"], clip.sidecar["stages"]["t2v"]["seed"]), set()).add(frames)
    assert len(pictures) == 4
    assert all(len(alike) == 1 for alike in pictures.values()), "clips of one prompt and seed are the same"
    assert all(a.isdisjoint(b) for a, b in itertools.combinations(pictures.values(), 2)), "and of another are others"


@pytest.mark.slow
def test_09_the_template_overwritten_by_its_expansion(made: Path) -> None:
    written = "a {small|large} dog in the snow"
    text = (made / "film" / "prompts.toml").read_text()
    assert text == f'# my prompts\n[[prompt]]\ntext = "{written}"   # both\nseeds = [3, 5]\n'
    clips = clips_of(made)
    assert {clip.sidecar["written"] for clip in clips} == {written}
    assert {clip.sidecar["prompt"] for clip in clips} == {"a small dog in the snow", "a large dog in the snow"}


@pytest.mark.slow
def test_10_outputs_overwritten(made: Path, studio: Studio, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (made / "film" / "outputs").rglob("*") if path.is_file()}
    project = Project.open(made / "film")
    with Store(made / "home" / "state" / "queue.sqlite3") as store:
        enqueue_plan(store, project, plan_generate(project, overrides={**QUICK, "stages": ["t2v"]}))
    assert run_worker(made) == 0
    assert {path: path.read_bytes() for path in before} == before
    assert len(clips_of(made)) >= 8
    out = tmp_path / "mine.gif"
    out.write_bytes(b"mine")
    command = [sys.executable, "-m", "vcd_studio.cli", "clips", "export", str(clips_of(made)[0].folder), "--to", "gif", "--out", str(out)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (said.returncode, out.read_bytes()) == (2, b"mine")
    assert "stays as it is" in said.stderr


@pytest.mark.slow
def test_11_save_state_that_saves_nothing(made: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "camera").mkdir()
    Image.open(made / "photo.png").save(tmp_path / "camera" / "0.png")
    project = Project.create(tmp_path / "film", pack=str(made / "pack"))
    project.add_identity("rex", "dog", [tmp_path / "camera"])
    training = {"steps": 6, "bank": 1, "batch": 1, "tokens": 1, "checkpoint_every": 100, "preview_every": 0}
    done: list[int] = []

    def work(pause_at: int | None = None) -> None:
        def train(context: StageContext) -> str | None:
            told = context.step

            def step(number: int, *rest: Any, **more: Any) -> None:
                if number and rest[0] == training["steps"]:
                    done.append(number)
                    if number == pause_at:
                        store.pause(context.job.id)
                told(number, *rest, **more)

            context.step = step  # type: ignore[method-assign]
            return STAGES["train"](context)

        with Lease("cpu") as lease, WakeUp("cpu") as wake_up:
            Worker(store, lease, wake_up, {"train": train}).run(once=True)

    unbroken = enqueue_train(store, project, "rex", training)
    work()
    paused = enqueue_train(store, project, "rex", training)
    done.clear()
    work(pause_at=3)
    assert state(store, paused) == "paused"
    store.resume(paused.id)
    work()
    assert sorted(set(done)) == [1, 2, 3, 4, 5, 6]
    assert [number for number in done if number > 3] == [4, 5, 6], "nothing was learnt twice"
    tokens = [IdTokens.load(Path(store.job(job.id).result["tokens"])).embeddings for job in (unbroken, paused)]
    assert np.array_equal(*tokens), "the same as without a pause, bit for bit"


def test_12_gpu_memory_held_after_a_kill(store: Store, put: Put, worker: Start) -> None:
    job = put("a clip", hold_after=2)
    first = worker()
    until(lambda: len(steps_of(job)) == 2, "two steps")
    below = psutil.Process(first.process.pid).children(recursive=True)
    first.kill()
    assert below == [] or psutil.wait_procs(below, timeout=60)[1] == [], "no child is left that could hold the card"
    assert [each.state for each in workers.status(store)] == ["dead"]
    (job.project / "held").unlink(missing_ok=True)
    second = worker()  # holds the device at once: it is let go of with the process that held it
    until(lambda: state(store, job) == "done", "the clip")
    assert second.ends() == 0
    assert workers.status(store) == []


@pytest.mark.slow
def test_13_progress_gone_after_a_disconnect(made: Path, store: Store, studio: Studio, screens: Screens, tmp_path: Path) -> None:
    project = Project.create(tmp_path / "film", pack=str(made / "pack"))
    words = ["--prompt", "a dog", "--seeds", "1,2,3", "--stages", "t2v"]
    words += [word for key, value in QUICK.items() for word in ("--set", f"{key}={value}")]
    window = screens("generate", project.path, *words, "--follow", "--yes")
    until(lambda: any(worker.state == "running" for worker in workers.status(store)), "a worker at work")
    (worker,) = workers.status(store)
    try:
        window.hang_up()
        until(lambda: all(job.state == "done" for job in store.jobs()), "the clips")
        assert [each.pid for each in workers.status(store)] == [worker.pid], "the very same worker, still there"
        for job in store.jobs():
            assert [attempt.outcome for attempt in store.attempts(job.id)] == ["done"]
            assert "t2v: finished" in studio("queue", "show", str(job.id))
        again_there = screens("--project", project.path)
        again_there.until("Prompts")
        again_there.press("4")
        again_there.until("3 clips")
        again_there.until("100% done")
        again_there.until("t2v: finished")
    finally:
        studio("worker", "stop")


@pytest.mark.slow
def test_14_picture_residue_or_flicker(
    terminal: Callable[..., Xterm],  # noqa: F811
    film: Project,  # noqa: F811
    store: Store,
    screens: Screens,
) -> None:
    xterm = terminal(*SIXEL)
    before = xterm.until(shown, "the photo")
    for there, back in (("?", "\x1b"), ("4", "2"), ("\x10", "\x1b")):
        xterm.press(there)
        xterm.until(gone, f"{there!r} without the photo")
        xterm.press(back)
        xterm.until(same_as(before), "the photo as it was, and no more of it")
    window = screens("--project", film.path, "--graphics", "sixel")
    window.until_bytes(b"\x1bP")
    window.until("photo 1 of 1")
    job = store.enqueue("generate", film.path, "a clip", ["t2v"], {})
    assert store.claim(this_process(), "cpu") is not None
    stage = store.stages(job.id)[0]
    store.begin_stage(stage.id, 50)
    window.until("1 running")
    drawn = window.written.count(b"\x1bP")
    for step in range(1, 6):
        store.progress(stage.id, 10 * step, 50, f"step {10 * step}", None)
        seen = len(window.written)
        window.until_bytes(b"\x1b[", seen)
    assert window.written.count(b"\x1bP") == drawn, "a picture that did not change is not drawn again"


def test_15_copy_failing_over_ssh_and_a_hang_on_quit(put: Put, store: Store, worker: Start, screens: Screens) -> None:
    job = put("a clip", hold_after=1)
    process = worker()
    until(lambda: len(steps_of(job)) == 1, "a step")
    window = screens(environment={"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22", "DISPLAY": ""})
    window.until("Welcome")
    window.press("4")
    window.until("Log of #1 a clip")
    window.until("t2v: begins")
    window.press("\t")
    window.press("y")
    window.until_bytes(b"\x1b]52;c;")
    copied = window.written.split(b"\x1b]52;c;", 1)[1].split(b"\x07")[0].split(b"\x1b")[0]
    assert "t2v: begins" in base64.b64decode(copied).decode()
    window.press("q")
    assert window.ends() == 0, "it leaves while a worker works on"
    assert process.process.poll() is None
    assert state(store, job) == "running"
