"""Thousands of jobs and clips: a screen does work for what changed and for what is seen, not for all there is."""

import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import screen_text, until, until_quiet, until_text
from studio_fixtures import make_clip
from textual._compositor import Compositor
from textual.pilot import Pilot
from textual.widgets import Static

from vcd_studio import collector
from vcd_studio.jobs.model import Job, WorkerId
from vcd_studio.jobs.store import Store
from vcd_studio.project import clip_index, outputs
from vcd_studio.project.outputs import write_sidecar
from vcd_studio.project.project import Project
from vcd_studio.tui.app import StudioApp
from vcd_studio.tui.screens import clips as clips_screen
from vcd_studio.tui.screens.projects import entry
from vcd_studio.tui.widgets.clips.shelf import Shelf
from vcd_studio.tui.widgets.pictures.grid import PictureGrid, TileView
from vcd_studio.tui.widgets.queue import tree
from vcd_studio.tui.widgets.queue.groups import MOST, grouped
from vcd_studio.tui.widgets.queue.labels import job_label
from vcd_studio.tui.widgets.queue.tree import JobTree

Studio = Callable[..., StudioApp]
WORKER = WorkerId(4242, "1", "boot")


def put_many(store: Store, project: Project, count: int) -> None:
    store.enqueue_all([(f"the {at}th dog", {}) for at in range(count)], "generate", project.path, ["t2v", "save"])


@pytest.mark.parametrize(("waiting", "ended"), [(0, 3000), (3000, 0), (3000, 10), (10, 3000), (3000, 3000), (MOST, 0), (3, 4)])
def test_of_too_many_the_front_of_the_line_and_the_newest_ended_are_shown(
    store: Store, project: Project, waiting: int, ended: int
) -> None:
    put_many(store, project, waiting + ended)
    with store.database.write() as connection:
        connection.execute("UPDATE job SET state = 'done', finished = id WHERE id > ?", (waiting,))
    jobs = store.jobs()
    shown = [group.jobs[0] for group in grouped(jobs, {})]
    assert len(shown) == min(MOST, len(jobs))
    lines = [job.id for job in shown if job.state == "queued"], [job.id for job in shown if job.state == "done"]
    assert all(len(line) >= min(MOST // 2, of) for line, of in zip(lines, (waiting, ended), strict=True))
    assert lines[0] == list(range(1, len(lines[0]) + 1))
    assert lines[1] == list(range(waiting + ended, waiting + ended - len(lines[1]), -1))


async def go_to_clips(pilot: Pilot[int], count: int) -> None:
    await until_text(pilot, "photo 1 of 4")
    await pilot.press("5")
    await until_text(pilot, f"clip 1 of {count}")
    await until_quiet(pilot)


async def test_jobs_that_are_not_shown_are_counted_and_found(studio: Studio, project: Project, store: Store) -> None:
    put_many(store, project, MOST + 50)
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("4")
        await until_text(pilot, "… and 50 more")
        assert len(app.screen.query_one(JobTree).root.children) == MOST
        await pilot.press("slash", *f"{MOST + 30}th")
        await until_text(pilot, f"1 of {MOST + 50}")
        await until_text(pilot, f"the {MOST + 30}th dog")
        assert "more, waiting" not in screen_text(pilot)


async def test_a_step_writes_the_words_of_its_own_job_alone(
    studio: Studio, project: Project, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_many(store, project, 30)
    running = store.claim(WORKER, "cpu")
    assert running is not None
    stage = store.stages(running.id)[0]
    store.begin_stage(stage.id, 40)
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("4")
        await until_text(pilot, "0/40")
        written: list[int] = []

        def counted(job: Job, *made_of: Any) -> object:
            written.append(job.id)
            return job_label(job, *made_of)

        monkeypatch.setattr(tree, "job_label", counted)
        store.progress(stage.id, 7, 40)
        await until_text(pilot, "7/40")
        assert set(written) == {running.id}


def test_a_clip_is_read_again_only_when_it_was_written_anew(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [make_clip(project, f"clip {at}", frames=1) for at in range(3)]
    read: list[Path] = []
    monkeypatch.setattr(clip_index, "read_clip", lambda folder, original=outputs.read_clip: read.append(folder) or original(folder))
    shelf = Shelf()
    assert {one.clip.folder for one in shelf.read(project)} == set(folders)
    assert sorted(read) == sorted(folders)
    read.clear()
    shelf.read(project)
    assert read == []
    write_sidecar(folders[1], {"prompt": "another", "finished": "2027-01-01T00:00:00+00:00"})
    assert next(one.facts.prompt for one in shelf.read(project)) == "another"
    assert read == [folders[1]]
    (folders[0] / "clip.toml").unlink()
    assert [one.clip.folder for one in shelf.read(project) if one.clip.problem] == [folders[0]]  # it is unfinished now


def test_threads_that_read_at_once_read_each_clip_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [make_clip(project, f"clip {at}", frames=1) for at in range(3)]
    read: list[Path] = []
    both = threading.Event()

    def slow(folder: Path, original: Callable[[Path], outputs.Clip] = outputs.read_clip) -> outputs.Clip:
        read.append(folder)
        both.wait(10)  # the first is in the middle of its clips when the others begin
        return original(folder)

    monkeypatch.setattr(clip_index, "read_clip", slow)
    shelf, found = Shelf(), list[list[Path]]()
    threads = [threading.Thread(target=lambda: found.append([one.clip.folder for one in shelf.read(project)])) for _ in range(3)]
    for thread in threads:
        thread.start()
    both.set()
    for thread in threads:
        thread.join(30)
    assert sorted(read) == sorted(folders)
    assert [sorted(each) for each in found] == [sorted(folders)] * 3


async def test_a_key_lays_no_screen_out_again(studio: Studio, project: Project, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for at in range(4):
        make_clip(project, f"clip {at}", frames=1)
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await go_to_clips(pilot, 4)
        laid: list[object] = []
        monkeypatch.setattr(Compositor, "reflow", lambda self, *given, original=Compositor.reflow: laid.append(1) or original(self, *given))
        await pilot.press("right")
        await until_text(pilot, "clip 2 of 4")
        await pilot.pause()
        assert not laid


async def test_a_key_among_clips_draws_the_two_it_concerns_and_what_is_said_of_them_at_once(
    studio: Studio, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        make_clip(project, f"clip {number}", frames=1)
    app = studio(project.path)
    async with app.run_test(size=(100, 30)) as pilot:
        await go_to_clips(pilot, 6)
        grid = app.screen.query_one(PictureGrid)
        drawn: list[Any] = []
        update = Static.update
        monkeypatch.setattr(Static, "update", lambda self, *given, **named: (drawn.append(self.parent), update(self, *given, **named))[1])
        grid.action_move(1)
        tiles = [parent for parent in drawn if isinstance(parent, TileView)]
        assert len(tiles) == 2
        assert grid.current is not None
        assert grid.current.key in str(app.screen.query_one("#words", Static).content)  # nothing was waited for


async def test_another_jobs_log_takes_the_place_of_the_one_before(studio: Studio, project: Project, store: Store) -> None:
    put_many(store, project, 2)
    store.log(1, "info", "the snow came")
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("4")
        await until_text(pilot, "the snow came")
        await pilot.press("down")
        await until(pilot, lambda: "Log of #2" in screen_text(pilot) and "the snow came" not in screen_text(pilot), "the other log")


def test_the_list_of_projects_reads_no_recipe(project: Project) -> None:
    folders = [make_clip(project, f"clip {at}", frames=1) for at in range(3)]
    for at, folder in enumerate(folders):
        (folder / "clip.toml").write_text("this is no recipe")
        os.utime(folder / "clip.toml", (at, at))
        (folder / "poster.png").touch()
    assert (entry(project.path).clips, entry(project.path).poster) == (3, folders[2] / "poster.png")


def test_the_first_page_needs_only_what_was_written_last(project: Project) -> None:
    folders = [make_clip(project, f"clip {at}", frames=1) for at in range(4)]
    for at, folder in enumerate(folders):
        os.utime(folder / "clip.toml", (at, at))
    assert {one.clip.folder for one in Shelf().read(project, 2)} == set(folders[2:])


async def test_after_the_first_clips_come_all(studio: Studio, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips_screen, "FIRST", 2)
    for at in range(5):
        make_clip(project, f"clip {at}", frames=1)
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("5")
        await until_text(pilot, "clip 1 of 5")
        await pilot.press("plus")
        await until(pilot, lambda: "1 clip-0" in screen_text(pilot), "the rating on the page")


async def test_while_thousands_are_read_the_page_says_that_these_are_not_all(
    studio: Studio, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clips_screen, "FIRST", 2)
    monkeypatch.setattr(clip_index, "AT_ONCE", 1)
    folders, go_on = [make_clip(project, f"clip {at}", frames=1) for at in range(5)], threading.Event()
    for at, folder in enumerate(folders):
        os.utime(folder / "clip.toml", (at, at))

    def slow(folder: Path) -> outputs.Clip:
        if folder == folders[0]:
            go_on.wait(30)
        return outputs.read_clip(folder)

    monkeypatch.setattr(clip_index, "read_clip", slow)
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("5")
        await until_text(pilot, "clip 1 of 2 · reading the others: 67%")
        go_on.set()
        await until_text(pilot, "clip 1 of 5 · order: newest")


def test_ten_thousand_clips_are_no_work_for_the_collector(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it kept from what is made later."""
    for number in range(3):
        write_sidecar(project.new_clip(f"clip {number}"), {"seed": number})
    frozen = gc.get_freeze_count()
    Shelf().read(project)
    assert gc.get_freeze_count() == frozen
    monkeypatch.setattr(collector, "MANY", 3)
    try:
        Shelf().read(project)
        assert gc.get_freeze_count() > frozen
        assert gc.isenabled()
    finally:
        gc.unfreeze()


async def test_clips_read_again_unchanged_are_not_laid_out_again(
    studio: Studio, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(project, "clip", frames=1)
    app = studio(project.path)
    async with app.run_test(size=(100, 30)) as pilot:
        await go_to_clips(pilot, 1)
        screen, filled = app.screen, list[int]()
        fill = PictureGrid.fill
        monkeypatch.setattr(PictureGrid, "fill", lambda self, tiles, **named: (filled.append(len(tiles)), fill(self, tiles, **named))[1])
        screen.project_changed()  # type: ignore[attr-defined]
        await until_quiet(pilot)
        assert filled == []
        make_clip(project, "another", frames=1)
        screen.project_changed()  # type: ignore[attr-defined]
        await until_text(pilot, "clip 2 of 2")
        assert filled == [2]
