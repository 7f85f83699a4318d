"""How the screens look, at 80×24 and 120×40, dark and light. Look at the report before `--snapshot-update`."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from conftest import until_quiet, until_text
from studio_fixtures import FakeWorkers, make_batch, make_clip, make_project, make_queue
from textual.pilot import Pilot
from textual.widgets import RichLog

from vcd_studio.jobs.model import WorkerId
from vcd_studio.jobs.store import Store
from vcd_studio.project.project import Project
from vcd_studio.project.recent import remember_project
from vcd_studio.tui.app import StudioApp

SIZES = [(80, 24), (120, 40)]
SCREENS = {
    "projects": (["1"], "2 identities"),
    "identity": (["right_square_bracket"], "rex (2 of 2"),
    "runs": (["right_square_bracket", "r"], "run-001 · used by prompts"),
    "mask-editor": (["right_square_bracket", "e"], "paint, brush"),
    "prompts": (["3"], "2 prompts, 5 clips"),
    "queue": (["4"], "✓ t2v"),
    "clips": (["5"], "clip 1 of 2"),
    "clips-filter": (["5", "slash", *"rating:x"], "is no rating"),
    "clips-metrics": (["5", "f"], "seam score"),
    "clips-beside": (["5", "m", "right", "c"], "All 6 frames are the same"),
    "help": (["question_mark"], "Help"),
    "new-identity": (["n"], "New identity"),
}


@pytest.fixture
def park(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A whole project under a path that is the same on every machine's screen."""
    monkeypatch.chdir(tmp_path)
    made = make_project(tmp_path)
    remember_project(made.path)
    for stem in ("running", "sleeping"):
        make_clip(made, stem)
    return made


def _undated(app: StudioApp) -> None:
    """Times and folders differ from run to run: they are left out of the picture."""
    for log in app.screen.query(RichLog):
        log.clear()
    for facts in app.screen.query("ProjectsScreen #facts"):
        facts.visible = False


def _shown(screen: str, theme: str = "dark") -> Callable[[Pilot[int]], Awaitable[None]]:
    """Goes to that screen and waits until all of it is there."""
    keys, words = SCREENS[screen]

    async def ready(pilot: Pilot[int]) -> None:
        pilot.app.theme = theme
        await until_text(pilot, "photo 1 of 4")
        for key in keys:
            await until_quiet(pilot)
            await pilot.press(key)
        await until_text(pilot, words)
        await until_quiet(pilot)
        _undated(pilot.app)  # type: ignore[arg-type]
        for node in pilot.app.screen.query("Input"):
            node.cursor_blink = False  # type: ignore[attr-defined]
        await pilot.pause()

    return ready


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("screen", SCREENS)
def test_screen(
    screen: str, size: tuple[int, int], park: Project, studio: Callable[..., StudioApp], store: Store, snap_compare: Callable[..., bool]
) -> None:
    if screen == "queue":
        make_queue(store, park)
        make_batch(store, park)
    assert snap_compare(studio(park.path), terminal_size=size, run_before=_shown(screen))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("screen", SCREENS)
def test_light(
    screen: str, size: tuple[int, int], park: Project, studio: Callable[..., StudioApp], store: Store, snap_compare: Callable[..., bool]
) -> None:
    if screen == "queue":
        make_queue(store, park)
        make_batch(store, park)
    assert snap_compare(studio(park.path), terminal_size=size, run_before=_shown(screen, "light"))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_empty_studio(size: tuple[int, int], studio: Callable[..., StudioApp], snap_compare: Callable[..., bool]) -> None:
    async def ready(pilot: Pilot[int]) -> None:
        await until_text(pilot, "Welcome to VCD Studio")
        await until_quiet(pilot)

    assert snap_compare(studio(), terminal_size=size, run_before=ready)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_one_clip_side_by_side_in_the_light_theme(
    size: tuple[int, int], park: Project, workers: FakeWorkers, snap_compare: Callable[..., bool]
) -> None:
    from vcd_studio.settings import Settings
    from vcd_studio.tui.watch import Queue

    async def ready(pilot: Pilot[int]) -> None:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("5")
        await until_text(pilot, "clip 1 of 2")
        await pilot.press("enter", "b", "right")
        await until_text(pilot, "2/6")
        await until_quiet(pilot)

    app = StudioApp(park.path, queue=Queue(workers=workers), settings=Settings(theme="light"))
    assert snap_compare(app, terminal_size=size, run_before=ready)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_clip_that_failed(
    theme: str, size: tuple[int, int], park: Project, studio: Callable[..., StudioApp], store: Store, snap_compare: Callable[..., bool]
) -> None:
    job = store.enqueue("generate", park.path, "a dog", ["t2v", "save"], {"prompt": "a dog"})
    store.claim(WorkerId(4242, "1", "boot"), "cpu")
    store.update_result(job.id, {"clip": str(park.new_clip("failing"))})
    store.fail(job.id, "The pack has no face detector; take face out of the stages.")

    async def ready(pilot: Pilot[int]) -> None:
        pilot.app.theme = theme
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("5")
        await until_text(pilot, "clip 1 of 3")
        await until_text(pilot, "r tries again")
        await until_quiet(pilot)

    assert snap_compare(studio(park.path), terminal_size=size, run_before=ready)
