"""The screens under test: a studio on disk, an app over it, and waiting for the thing itself."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

sys.path.insert(0, str(Path(__file__).parent))

from studio_fixtures import FakeWorkers, make_project

from tests.fake_nvml import FakeNvml
from vcd_studio.jobs.store import Store
from vcd_studio.project.project import Project
from vcd_studio.project.recent import remember_project
from vcd_studio.terminal import Terminal
from vcd_studio.tui.app import StudioApp
from vcd_studio.tui.watch import Queue

TURNS = 1500  # looks at the app, before a test gives up waiting
BETWEEN = 0.02  # seconds between two looks: the threads that are waited for need the processor too


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All state under the test's own folder."""
    monkeypatch.setenv("VCD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr("vcd_studio.devices._nvml", lambda: FakeNvml(refuse={"nvmlInit": "Driver Not Loaded"}))
    return tmp_path / "home"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = make_project(tmp_path)
    remember_project(made.path)
    return made


@pytest.fixture
def workers() -> FakeWorkers:
    return FakeWorkers()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def studio(workers: FakeWorkers) -> Callable[..., StudioApp]:
    """Makes an app on a project (or none) that starts no real worker."""

    def make(path: Path | None = None, graphics: str = "halfcell") -> StudioApp:
        return StudioApp(path, Terminal(graphics), Queue(workers=workers))  # type: ignore[arg-type]

    return make


async def until(pilot: Pilot, true: Callable[[], bool], what: str) -> None:
    """Let the app run until the thing is so."""
    for _ in range(TURNS):
        try:
            if true():
                await pilot.pause()
                return
        except Exception:  # a widget that is not there yet is not so yet
            await pilot.pause(BETWEEN)
            continue
        await pilot.pause(BETWEEN)
    raise AssertionError(f"never came: {what}\n{screen_text(pilot)}")


def screen_text(pilot: Pilot) -> str:
    """What stands on the screen, as lines."""
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())


async def until_text(pilot: Pilot, words: str) -> None:
    """Let the app run until these words are on the screen."""
    await until(pilot, lambda: words in screen_text(pilot), f"{words!r} on the screen")


async def until_quiet(pilot: Pilot) -> None:
    """Let the app run until no thread is at work and every picture is drawn."""
    from vcd_studio.tui.widgets.pictures.picture import Picture

    def quiet() -> bool:
        return all(worker.is_finished for worker in pilot.app.workers) and all(picture.ready for picture in pilot.app.screen.query(Picture))

    await until(pilot, quiet, "a quiet app")
    await pilot.pause()
    await until(pilot, quiet, "a quiet app")
