"""The queue as a whole: how long it takes, what a killed worker left, and lists narrowed to some words."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import screen_text, until, until_text
from studio_fixtures import FakeWorkers, make_clip
from textual.widgets import Input

from vcd_studio.jobs.model import WorkerId
from vcd_studio.jobs.processes import boot_id, this_process
from vcd_studio.jobs.store import Store
from vcd_studio.project.project import Project
from vcd_studio.terminal import Terminal
from vcd_studio.tui.app import StudioApp
from vcd_studio.tui.screens.dialogs.dialogs import Complaint
from vcd_studio.tui.screens.dialogs.form import Form
from vcd_studio.tui.watch import Queue
from vcd_studio.tui.widgets.chrome.filter import FilterInput
from vcd_studio.tui.widgets.pictures.grid import PictureGrid
from vcd_studio.tui.widgets.queue.left import Estimates
from vcd_studio.tui.widgets.queue.tree import JobTree

Studio = Callable[..., StudioApp]
CLIP = {"pack": "pocket", "generation": {"steps": 25, "frames": 16}}
STAGES = ["t2v", "save"]


def put(store: Store, project: Project, title: str, settings: dict[str, object] = CLIP, kind: str = "generate") -> int:
    """One job in the line."""
    return store.enqueue(kind, project.path, title, STAGES if kind == "generate" else [kind], settings).id  # type: ignore[arg-type]


def take(store: Store) -> int:
    """The next job, in the hands of this very process."""
    claimed = store.claim(this_process(), "cpu")
    assert claimed is not None
    return claimed.id


def finish(store: Store, seconds: float) -> None:
    """Do the next job; each of its stages took so long."""
    job = take(store)
    for stage in store.stages(job):
        store.begin_stage(stage.id, 4)
        store.finish_stage(stage.id)
    with store.database.write() as connection:
        connection.execute("UPDATE stage SET finished = started + ? WHERE job_id = ?", (seconds, job))
    store.finish(job)


def left(store: Store, workers: int = 1) -> tuple[float, int]:
    """(seconds, jobs of unknown length) of the whole queue."""
    jobs = store.jobs()
    found = Estimates().left(store, jobs, store.all_stages([job.id for job in jobs]), workers)
    return round(found.seconds, 3), found.unknown


def test_what_waits_is_estimated_from_what_is_done(store: Store, project: Project) -> None:
    put(store, project, "first")
    assert left(store) == (0.0, 1)
    finish(store, 30)
    assert left(store) == (0.0, 0)
    put(store, project, "alike")
    put(store, project, "twice the steps", {"pack": "pocket", "generation": {"steps": 50, "frames": 16}})
    assert left(store) == (60 + 120, 0)
    assert left(store, workers=2) == (90, 0)
    put(store, project, "of another pack", {"pack": "full", "generation": {"steps": 25, "frames": 16}})
    assert left(store) == (180, 1)
    store.pause(2)
    assert left(store) == (120, 1)


def test_what_runs_is_told_by_its_rate_and_shortens_no_longer_job(store: Store, project: Project) -> None:
    for title in ("done", "runs", "waits"):
        put(store, project, title)
    finish(store, 30)
    stage = store.stages(take(store))[0]
    store.begin_stage(stage.id, 100)
    assert left(store) == (120, 0)
    with store.database.write() as connection:
        connection.execute("UPDATE stage SET step = 10, rate = 0.5 WHERE id = ?", (stage.id,))
    assert left(store) == (180 + 30 + 60, 0)  # 90 steps at 0.5 a second, its save, the other job
    assert left(store, workers=2) == (210, 0)


def test_trainings_and_masks_scale_with_their_own_work(store: Store, project: Project) -> None:
    put(store, project, "train", {"pack": "pocket", "training": {"steps": 200, "batch": 4}}, "train")
    put(store, project, "masks", {"pack": "pocket", "photos": ["a.png", "b.png"]}, "segment")
    finish(store, 40)
    finish(store, 6)
    put(store, project, "train", {"pack": "pocket", "training": {"steps": 100, "batch": 4}}, "train")
    put(store, project, "masks", {"pack": "pocket", "photos": ["a.png"]}, "segment")
    assert left(store) == (20 + 3, 0)
    stage = store.stages(take(store))[0]
    store.begin_stage(stage.id)
    store.progress(stage.id, 25, 100)
    assert left(store) == (15 + 3, 0)
    put(store, project, "train", {"pack": "pocket", "training": {"steps": 100, "batch": 4, "method": "lora"}}, "train")
    assert left(store) == (15 + 3, 1)


async def test_the_bottom_line_says_how_long_the_queue_takes(studio: Studio, project: Project, store: Store, workers: FakeWorkers) -> None:
    put(store, project, "first")
    workers.alive = True
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1 queued, ETA unknown")
        finish(store, 60)
        put(store, project, "second")
        put(store, project, "third")
        await until_text(pilot, "2 queued, ETA 4:00")
        put(store, project, "of another pack", {"pack": "full", "generation": {}})
        await until_text(pilot, "3 queued, ETA > 4:00")
        await pilot.press("4")
        await until_text(pilot, "of another pack")
        assert "ETA > 4:00" in screen_text(pilot)
        workers.alive = False
        await until_text(pilot, "3 queued, > 4:00 of work")


async def test_what_a_killed_worker_left_does_not_stand_as_running(project: Project, store: Store) -> None:
    gone = WorkerId(os.getpid(), "before this process", boot_id())
    first, second = put(store, project, "left behind"), put(store, project, "left behind twice")
    with store.database.write() as connection:
        connection.execute("UPDATE job SET crashes = 1 WHERE id = ?", (second,))
    for _ in range(2):
        claimed = store.claim(gone, "cpu")
        assert claimed is not None
        store.begin_stage(store.stages(claimed.id)[0].id, 25)
    app = StudioApp(project.path, Terminal("halfcell"), Queue())  # the real workers: none runs, and none is started
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("4")
        await until_text(pilot, "left behind twice")
        await until_text(pilot, "in stage t2v, step 0 of 25.")  # wrapped, and not cut at the side of the log
        assert [store.job(job).state for job in (first, second)] == ["queued", "set-aside"]
        assert "running" not in screen_text(pilot)
        third = put(store, project, "in good hands")
        store.move(third, 0)
        assert take(store) == third
        await until_text(pilot, "1 running")
    assert store.job(third).state == "running"


async def test_the_queue_is_filtered_by_words(studio: Studio, project: Project, store: Store) -> None:
    for title in ("a <rex> dog in the snow", "a <rex> dog in the rain", "a <mia> cat in the snow"):
        put(store, project, title)
    store.log(2, "info", "this is the log of the rain")
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("4")
        await until_text(pilot, "#3")
        tree = app.screen.query_one(JobTree)
        await pilot.press("enter")
        await until_text(pilot, "▾·")
        await pilot.press("slash")
        await until(pilot, lambda: isinstance(app.focused, FilterInput), "the filter's line")
        await pilot.press(*"Rex", "space", *"rain")
        await until_text(pilot, "1 of 3")
        await until_text(pilot, "this is the log of the rain")
        assert "the snow" not in screen_text(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: app.focused is tree, "the tree focused")
        await pilot.press("c")
        await until(pilot, lambda: store.job(2).state == "cancelled", "the one job cancelled")
        await until(pilot, lambda: app.snapshot.jobs[-1].state == "cancelled", "that seen")
        assert [store.job(job).state for job in (1, 3)] == ["queued", "queued"]
        await pilot.press("escape")
        await until_text(pilot, "#3")
        assert [node.is_expanded for node in tree.root.children] == [True, False, False]
        await pilot.press("slash", *"nothing", "space", *"of", "space", *"that")
        await until_text(pilot, "0 of 3")
        assert not tree.root.children
        await pilot.press("escape")
        await until(pilot, lambda: len(tree.root.children) == 3 and app.focused is tree, "everything again")
        assert "filter" not in screen_text(pilot)


async def test_no_verb_reaches_a_job_that_the_filter_hides(studio: Studio, project: Project, store: Store) -> None:
    for title in ("first", "second", "third"):
        put(store, project, title)
    store.log(3, "info", "this is the log of the third")
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("4")
        await until_text(pilot, "Log of #1")
        await pilot.press("slash", "t", "h")
        await until_text(pilot, "Log of #3")
        await until_text(pilot, "this is the log of the third")
        await pilot.press("enter")
        await until(pilot, lambda: app.focused is app.screen.query_one(JobTree), "the tree focused")
        await pilot.press("p")
        await until(pilot, lambda: store.job(3).state == "paused", "the shown one paused")
        await pilot.press("slash", "x", "enter")
        await until_text(pilot, "0 of 3")
        await until(pilot, lambda: app.focused is app.screen.query_one(JobTree), "the tree focused")
        await pilot.press("p")
        await until_text(pilot, "There is no job under the cursor.")
        assert [store.job(job).state for job in (1, 2, 3)] == ["queued", "queued", "paused"]
        store.cancel(1)
        await until(pilot, lambda: [job.id for job in app.snapshot.jobs] == [2, 3, 1], "another order")
        await pilot.press("escape")
        await until_text(pilot, "#1 first")


async def test_clips_are_filtered_by_words(studio: Studio, project: Project) -> None:
    for stem in ("running", "sleeping", "jumping"):
        make_clip(project, stem)
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("5")
        await until_text(pilot, "clip 1 of 3")
        await pilot.press("slash")
        await until(pilot, lambda: isinstance(app.focused, FilterInput), "the filter's line")
        await pilot.press(*"sleep")
        await until_text(pilot, "clip 1 of 1")
        await until_text(pilot, "1 of 3")
        await pilot.press("enter", "enter")
        await until_text(pilot, "1/6")
        assert app.screen.current.clip.id.startswith("sleeping")  # type: ignore[attr-defined]
        assert "filter" not in screen_text(pilot)
        await pilot.press("escape")
        await until_text(pilot, "clip 1 of 1")
        await pilot.press("escape")
        await until_text(pilot, "of 3")
        await until(pilot, lambda: app.focused is app.screen.query_one(PictureGrid), "the page focused")
        assert "filter" not in screen_text(pilot)
        await pilot.press("slash", *"xyz")
        await until_text(pilot, "no clip is like that")
        await pilot.press("escape")
        await until_text(pilot, "of 3")


@pytest.fixture
def ada(project: Project, tmp_path: Path) -> Project:
    """The park with a woman who did not agree, trained before she said so."""
    identity = project.add_identity("ada", "woman", [tmp_path / "photos-mia"], False)
    (identity.new_run() / "tokens.safetensors").write_bytes(b"not read by the screens")
    return project


async def test_who_did_not_agree_is_neither_trained_nor_drawn(studio: Studio, ada: Project, store: Store) -> None:
    ada.prompt_list().append("a <ada> woman")
    app = studio(ada.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "ada (1 of 3")
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, Complaint), "the complaint")
        assert isinstance(app.screen, Complaint)
        assert '"ada" (woman) did not agree' in app.screen.sentence
        assert "N on the identity screen" in app.screen.sentence
        await pilot.press("enter", "3")
        await until_text(pilot, "3 prompts")
        await pilot.press("E")
        await until(pilot, lambda: isinstance(app.screen, Complaint), "the complaint")
        assert store.jobs() == []
        await pilot.press("enter", "2")
        await until_text(pilot, "woman (did not agree)")
        await pilot.press("N")
        await until(pilot, lambda: isinstance(app.screen, Form), "the form")
        await pilot.press("enter", "left", "enter")
        await until(pilot, lambda: ada.identity("ada").consent is True, "the answer kept")
        await until_text(pilot, "woman (agreed)")
        await pilot.press("t")
        await until(pilot, lambda: [job.kind for job in store.jobs()] == ["train"], "the training")


async def test_an_answer_written_into_the_file_counts_at_once(studio: Studio, ada: Project, store: Store) -> None:
    app = studio(ada.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "ada (1 of 3")
        file = ada.identity("ada").file
        file.write_text(file.read_text().replace("consent = false", "consent = true"))
        await pilot.press("t")
        await until(pilot, lambda: len(store.jobs()) == 1, "the training")


async def test_an_older_person_without_an_answer_is_a_warning(studio: Studio, ada: Project, store: Store) -> None:
    file = ada.identity("ada").file
    file.write_text("".join(line for line in file.read_text().splitlines(keepends=True) if "consent" not in line))
    ada.prompts_path.write_text('[[prompt]]\ntext = "a <ada> woman"\n')
    app = studio(ada.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "ada (1 of 3")
        await pilot.press("t")
        await until_text(pilot, "Nobody said whether ada agreed (N does)")
        assert len(store.jobs()) == 1
        await pilot.press("3")
        await until_text(pilot, "1 prompts")
        await pilot.press("e")
        await until_text(pilot, "nobody has said")
        await pilot.press("y")
        await until(pilot, lambda: len(store.jobs()) == 2, "the clip")
        assert app.screen.query_one("#seeds", Input).value == ""
