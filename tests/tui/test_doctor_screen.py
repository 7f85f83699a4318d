"""Doctor by keyboard: findings as they come, the remedy copied, all of it read, and looked at again."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import screen_text, until, until_quiet, until_text
from textual.pilot import Pilot
from textual.widgets import OptionList

from vcd_studio.doctor.checks import Check
from vcd_studio.doctor.finding import Finding
from vcd_studio.doctor.terminal import TerminalReading
from vcd_studio.tui.app import StudioApp
from vcd_studio.tui.commands import all_commands
from vcd_studio.tui.screens.dialogs.dialogs import Page

Studio = Callable[..., StudioApp]
FINDINGS = [
    Finding("versions", "ok", "VCD Studio 0.1.0, Python 3.11.7"),
    Finding("memory", "warning", "6.0 GiB, 5.0 GiB available, no swap; enough for pocket, SD 1.5 needs 8.0 GiB", "use a machine with more"),
    Finding("queue", "fix", "/home/me/queue.sqlite3 lies on a network file system (nfs4)", "set VCD_HOME to a folder on a local disk"),
    Finding("graphics card", "warning", "0: RTX\x1b[2J[red]5090, held by pid 7 \x1b]0;owned\x07", "end pid 7 a\nrm -rf ~"),
]


class Looks:
    """Stands in for the checks; ``gate`` holds the last one back, as torch does."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.times = 0
        self.unwanted: list[Callable[[], bool]] = []
        self.readings: list[TerminalReading] = []

    def __call__(self, terminal: Callable[[], TerminalReading], project: Any, unwanted: Callable[[], bool]) -> Iterator[Check]:
        self.times += 1
        self.unwanted.append(unwanted)
        self.readings.append(terminal())
        for finding in FINDINGS:
            yield Check(finding.check, lambda finding=finding: [finding])  # type: ignore[misc]

        def last() -> list[Finding]:
            self.gate.wait(60)
            return [Finding("torch", "ok", "2.15.0, built without CUDA")]

        yield Check("torch", last)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    made = Looks()
    monkeypatch.setattr("vcd_studio.doctor.checks.checks", made)
    return made


async def all_found(pilot: Pilot[int]) -> None:
    """Go there, and wait until nothing is looked at any more."""
    await until_text(pilot, "Welcome to VCD Studio")
    await pilot.press("7")
    await until_text(pilot, "1 to be mended, 2 could be better, 2 in order")
    await until_quiet(pilot)


async def test_findings_stand_there_before_the_slow_ones_are_known(studio: Studio, looks: Looks) -> None:
    looks.gate.clear()
    app = studio()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "Welcome to VCD Studio")
        await pilot.press("7")
        await until_text(pilot, "1 in order, looking at torch …")
        assert "✗ queue" in screen_text(pilot)
        assert "built without CUDA" not in screen_text(pilot)
        looks.gate.set()
        await until_text(pilot, "built without CUDA")
        await until(pilot, lambda: "looking at" not in screen_text(pilot), "an end")


async def test_the_finding_under_the_cursor_stands_below_in_full_and_its_remedy_is_copied(studio: Studio, looks: Looks) -> None:
    app = studio()
    async with app.run_test(size=(80, 24)) as pilot:
        await all_found(pilot)
        assert "Copy remedy" not in screen_text(pilot)
        await pilot.press("y")
        assert app.clipboard == ""
        await pilot.press("down")
        await until_text(pilot, "→ use a machine with more")
        assert "SD 1.5 needs 8.0 GiB" in screen_text(pilot)
        assert "Copy remedy" in screen_text(pilot)
        await pilot.press("y")
        assert app.clipboard == "use a machine with more"


async def test_hostile_names_are_shown_and_what_is_copied_is_one_line(studio: Studio, looks: Looks) -> None:
    app = studio()
    async with app.run_test(size=(80, 24)) as pilot:
        await all_found(pilot)
        await pilot.press("down", "down", "down", "y")
        await until_text(pilot, "RTX␛[2J[red]5090, held by pid 7 ␛]0;owned␇")
        assert "\x1b" not in screen_text(pilot)
        assert app.clipboard == "end pid 7 a␊rm -rf ~"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Page), "the page")
        assert "RTX␛[2J[red]5090" in screen_text(pilot)


async def test_enter_shows_all_of_a_finding_and_escape_goes_back(studio: Studio, looks: Looks) -> None:
    app = studio()
    async with app.run_test(size=(80, 24)) as pilot:
        await all_found(pilot)
        await pilot.press("down", "down", "enter")
        await until_text(pilot, "queue: fix")
        assert "set VCD_HOME" in screen_text(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: app.current_mode == "doctor" and len(app.screen_stack) == 1, "the screen again")


async def test_looking_again_gives_the_first_look_up(studio: Studio, looks: Looks) -> None:
    looks.gate.clear()
    app = studio()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "Welcome to VCD Studio")
        await pilot.press("7")
        await until_text(pilot, "looking at torch")
        await pilot.press("r")
        await until(pilot, lambda: looks.times == 2, "a second look")
        assert looks.unwanted[0]()
        assert not looks.unwanted[1]()
        looks.gate.set()
        await until_text(pilot, "2 in order")
        await until_quiet(pilot)
        assert app.screen.query_one(OptionList).option_count == len(FINDINGS) + 1


async def test_the_terminal_is_not_probed_under_the_screens(studio: Studio, looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vcd_studio.terminal.look", lambda *_: pytest.fail("probed"))
    app = studio()
    async with app.run_test(size=(90, 30)) as pilot:
        await all_found(pilot)
        (reading,) = looks.readings
        assert (reading.terminal, reading.columns, reading.rows) == (app.terminal, 90, 30)


async def test_the_palette_knows_it(studio: Studio, looks: Looks) -> None:
    app = studio()
    async with app.run_test(size=(80, 24)) as pilot:
        await all_found(pilot)
        assert {"Doctor: look again", "Doctor: copy remedy", "Studio: doctor"} <= {command.title for command in all_commands(app)}


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_how_it_looks(size: tuple[int, int], studio: Studio, looks: Looks, snap_compare: Callable[..., bool]) -> None:
    async def ready(pilot: Pilot[int]) -> None:
        await all_found(pilot)
        await pilot.press("down", "down")
        await until_text(pilot, "→ set VCD_HOME")

    assert snap_compare(studio(), terminal_size=size, run_before=ready)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_light(size: tuple[int, int], studio: Studio, looks: Looks, snap_compare: Callable[..., bool]) -> None:
    async def ready(pilot: Pilot[int]) -> None:
        pilot.app.theme = "light"
        await all_found(pilot)
        await pilot.press("down", "down")
        await until_text(pilot, "→ set VCD_HOME")

    assert snap_compare(studio(), terminal_size=size, run_before=ready)
