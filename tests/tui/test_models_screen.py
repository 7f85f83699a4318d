"""Models by keyboard: what is here, what is being fetched, and a pack made of weights that lie on this machine."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import screen_text, until, until_quiet, until_text
from textual.pilot import Pilot
from textual.widgets import OptionList

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.catalog import layouts
from tests.catalog.test_discovery import write
from vcd_studio.jobs import pulls
from vcd_studio.tui.app import StudioApp

Studio = Callable[..., StudioApp]


async def the_models(pilot: Pilot[int]) -> None:
    await until_text(pilot, "Welcome to VCD Studio")
    await pilot.press("6")
    await until_text(pilot, "· rcnz-cartoon-3d")
    await until_quiet(pilot)


def go_to(pilot: Pilot[int], name: str) -> None:
    """The cursor onto a pack."""
    screen = pilot.app.screen
    screen.query_one(OptionList).highlighted = [entry.name for entry in screen.entries].index(name)  # type: ignore[attr-defined]


def told(home: Path, **values: Any) -> None:
    """What a fetching left of itself."""
    folder = home / "state" / "pulls"
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "pack": "sd15", "process": vars(pulls.this_process()), "state": "running", "file": "AnimateDiff v2",
        "done": 5, "total": 10, "rate": 2.0,
    }  # fmt: skip
    (folder / "sd15.json").write_text(json.dumps({**about, **values}))


async def test_what_is_here_what_is_broken_and_what_can_be_fetched(studio: Studio, home: Path) -> None:
    broken = home / "data" / "packs" / "mine"
    broken.mkdir(parents=True)
    (broken / "pack.toml").write_text('[parts]\nbase = "/nowhere/\\u001b[31mbase.ckpt"\n')
    async with studio().run_test(size=(120, 30)) as pilot:
        await the_models(pilot)
        shown = screen_text(pilot)
        assert "✓ pocket" in shown
        assert "✗ mine" in shown
        assert "is not at /nowhere/␛[31mba" in shown
        assert "\x1b" not in shown
        go_to(pilot, "realistic-vision-5.1")
        await until_text(pilot, "CreativeML Open RAIL-M: photographs; the paper's base for clips")
        assert "n New project" not in screen_text(pilot)


async def test_fetching_is_asked_how_and_goes_on_in_the_background(studio: Studio, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[str, str, bool]] = []

    def start(pack: str, motion: str = "", *, small: bool = False) -> None:
        begun.append((pack, motion, small))
        told(home)

    monkeypatch.setattr(pulls, "start_pull", start)
    app = studio()
    async with app.run_test(size=(120, 30)) as pilot:
        await the_models(pilot)
        go_to(pilot, "sd15")
        await until_text(pilot, "f Fetch")
        await pilot.press("f")
        await until_text(pilot, "Fetch sd15")
        await pilot.press("tab", "right", "ctrl+s")
        await until_text(pilot, "↓ sd15")
        assert begun == [("sd15", "", True)]
        await until_text(pilot, "50% of    10 B  AnimateDiff v2, 2 B/s, 0:02 left")
        told(home, done=9)
        await until_text(pilot, "90% of")
        told(home, state="failed", problem="the disk is full")
        await until_text(pilot, "! sd15")
        assert "the disk is full" in screen_text(pilot)
        await until_text(pilot, "f Fetch")


async def test_a_fetching_that_died_goes_on_with_its_motion(studio: Studio, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[str, str, bool]] = []
    monkeypatch.setattr(pulls, "start_pull", lambda pack, motion="", *, small=False: begun.append((pack, motion, small)))
    told(home, pack="toonyou-beta-3-lcm", process={"pid": 1, "start": "never", "boot": "b"}, small=True)
    app = studio()
    async with app.run_test(size=(120, 30)) as pilot:
        await the_models(pilot)
        assert "! toonyou-beta-3-lcm" in screen_text(pilot)
        go_to(pilot, "toonyou-beta-3-lcm")
        await until_text(pilot, "f goes on where it ended")
        await pilot.press("f")
        await until_text(pilot, "● lcm")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: begun == [("toonyou-beta-3", "lcm", True)], "a beginning")


async def test_a_pack_of_weights_that_lie_here(studio: Studio, home: Path, tmp_path: Path) -> None:
    tree = tmp_path / "models"
    write(tree / "realistic.ckpt", layouts.sd15())
    write(tree / "mm.ckpt", layouts.animatediff("v2"))
    write(tree / "xl.ckpt", layouts.sdxl())
    app = studio()
    async with app.run_test(size=(120, 30)) as pilot:
        await the_models(pilot)
        await pilot.press("w")
        await until_text(pilot, "Weights on this machine")
        await pilot.press(*str(tree), "enter")
        await until_text(pilot, "an SD 1.5 checkpoint")
        assert "xl.ckpt" not in screen_text(pilot)
        await pilot.press("enter")
        await until_text(pilot, "Nothing is marked")
        await pilot.press("space", "down", "space", "enter")
        await until_text(pilot, "2 files; nothing is copied.")
        await pilot.press(*"mine", "enter", *"My own", "enter")
        await until_text(pilot, "✓ mine")
        assert (home / "data" / "packs" / "mine" / "pack.toml").is_file()
        go_to(pilot, "mine")
        await until_text(pilot, f"base: {tree / 'realistic.ckpt'}")
        await pilot.press("n")
        await until_text(pilot, "New project")
        await pilot.press(*"Film", "enter", *str(tmp_path / "film"), "enter", "enter")
        await until(pilot, lambda: app.project is not None and app.project.pack == "mine", "the project")


async def test_a_folder_without_weights_is_a_sentence_in_the_form(studio: Studio, tmp_path: Path) -> None:
    async with studio().run_test(size=(120, 30)) as pilot:
        await the_models(pilot)
        await pilot.press("w")
        await until_text(pilot, "Weights on this machine")
        await pilot.press(*str(tmp_path / "nowhere"), "enter")
        await until_text(pilot, "There is no folder")
        await pilot.press("escape")
        await until(pilot, lambda: len(pilot.app.screen_stack) == 1, "the screen again")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_how_it_looks(size: tuple[int, int], studio: Studio, home: Path, snap_compare: Callable[..., bool]) -> None:
    told(home, pack="sd15-lcm", process={"pid": 1, "start": "never", "boot": "b"}, total=1_817_888_431, done=900_000_000)

    async def ready(pilot: Pilot[int]) -> None:
        await the_models(pilot)
        go_to(pilot, "realistic-vision-5.1")
        await until_text(pilot, "trains on: sd15" if size[1] > 24 else "AnimateDiff v2")
        await until_quiet(pilot)

    assert snap_compare(studio(), terminal_size=size, run_before=ready)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_light(size: tuple[int, int], studio: Studio, home: Path, snap_compare: Callable[..., bool]) -> None:
    told(home, pack="sd15-lcm", process={"pid": 1, "start": "never", "boot": "b"}, total=1_817_888_431, done=900_000_000)

    async def ready(pilot: Pilot[int]) -> None:
        pilot.app.theme = "light"
        await the_models(pilot)
        go_to(pilot, "realistic-vision-5.1")
        await until_text(pilot, "trains on: sd15" if size[1] > 24 else "AnimateDiff v2")
        await until_quiet(pilot)

    assert snap_compare(studio(), terminal_size=size, run_before=ready)
