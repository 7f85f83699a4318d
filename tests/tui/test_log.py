"""The log on the Queue screen: follows its end, stays where one reads, is searched and copied."""

from collections.abc import Callable

import pytest
from conftest import screen_text, until, until_text
from textual.pilot import Pilot

from vcd_studio.jobs.store import Store
from vcd_studio.project.project import Project
from vcd_studio.tui.app import StudioApp
from vcd_studio.tui.screens.queue import QueueScreen
from vcd_studio.tui.widgets.queue.log import JobLog

Studio = Callable[..., StudioApp]


@pytest.fixture
def job(store: Store, project: Project) -> int:
    """A job with a long log."""
    made = store.enqueue("generate", project.path, "a dog", ["t2v"], {})
    for at in range(60):
        store.log(made.id, "warning" if at % 20 == 7 else "info", f"line {at} of the log" + (", no Face found" if at % 20 == 7 else ""))
    return made.id


async def in_the_log(pilot: Pilot[int]) -> JobLog:
    """The queue with the log in the focus."""
    await until_text(pilot, "photo 1 of 4")
    await pilot.press("4")
    await until_text(pilot, "line 59 of the log")
    await pilot.press("tab")
    log = pilot.app.screen.query_one(JobLog)
    await until(pilot, lambda: pilot.app.focused is log, "the log focused")
    return log


async def test_it_follows_its_end_unless_it_is_scrolled_up(studio: Studio, project: Project, store: Store, job: int) -> None:
    async with studio(project.path).run_test(size=(80, 24)) as pilot:
        log = await in_the_log(pilot)
        store.log(job, "info", "something new")
        await until_text(pilot, "something new")
        await pilot.press("home")
        await until_text(pilot, "line 0 of the log")
        store.log(job, "info", "newer still")
        await until(pilot, lambda: log.count == 62, "the new line read")
        assert "line 0 of the log" in screen_text(pilot)
        assert "newer still" not in screen_text(pilot)
        await pilot.press("f")
        await until_text(pilot, "newer still")
        store.log(job, "info", "the newest")
        await until_text(pilot, "the newest")


async def test_words_are_found_forwards_and_backwards(studio: Studio, project: Project, store: Store, job: int) -> None:
    async with studio(project.path).run_test(size=(80, 24)) as pilot:
        log = await in_the_log(pilot)
        await pilot.press("home", "slash", *"no face")
        await until_text(pilot, "1 of 3")
        assert "line 7 of the log, no Face found" in screen_text(pilot)
        await pilot.press("enter", "n")
        await until_text(pilot, "line 27 of the log, no Face found")
        await pilot.press("n", "n")
        await until_text(pilot, "1 of 3")  # round to the first
        await pilot.press("N")
        await until_text(pilot, "line 47 of the log, no Face found")
        await until_text(pilot, "3 of 3")
        row = next(y for y in range(log.size.height) if "line 47" in log.render_line(y).text)
        marked = [segment.text for segment in log.render_line(row) if segment.style and segment.style.reverse]
        assert "".join(marked) == "no Face"
        await pilot.press("escape")
        await until(pilot, lambda: "search" not in screen_text(pilot), "the search gone")
        assert log.words == ""
        await pilot.press("slash", *"zebra")
        await until_text(pilot, "0 of 0")


async def test_y_copies_all_of_it(studio: Studio, project: Project, store: Store, job: int) -> None:
    store.log(job, "info", "\x1b]52;c;b3RoZXI=\x07 from outside")
    async with studio(project.path).run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("4")
        await until_text(pilot, "from outside")
        await pilot.press("tab", "y")
        await until_text(pilot, "Copied: 61 lines of the log")
        lines = pilot.app.clipboard.splitlines()
        assert [line.split(" ", 1)[1] for line in lines[:2]] == ["line 0 of the log", "line 1 of the log"]
        assert len(lines) == 61
        assert "\x1b" not in pilot.app.clipboard


async def test_a_filter_is_asked_for_in_the_list_and_words_in_the_log(studio: Studio, project: Project, store: Store, job: int) -> None:
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await in_the_log(pilot)
        await pilot.press("shift+tab", "slash", *"dog", "enter")
        await until_text(pilot, "filter")
        assert isinstance(app.screen, QueueScreen)
        assert app.screen.query_one(JobLog).words == ""
