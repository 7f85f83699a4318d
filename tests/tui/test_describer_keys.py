"""The describer by key: it offers, it never writes, and where it is off or fails the screen says so and goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from conftest import until, until_text
from studio_fixtures import FakeWorkers
from textual import events
from textual.widgets import Input, TextArea

from tests.describer.chat_server import answering, knowing, serving, silent
from vcd_studio.project.project import Project
from vcd_studio.project.prompts import PromptList
from vcd_studio.settings import DescriberSettings, Settings
from vcd_studio.tui.app import StudioApp, _settings
from vcd_studio.tui.screens.dialogs.dialogs import Complaint
from vcd_studio.tui.screens.dialogs.draft_prompts import DraftPrompts
from vcd_studio.tui.screens.dialogs.form import Form
from vcd_studio.tui.watch import Queue

Describing = Callable[..., StudioApp]


@pytest.fixture
def describing(project: Project, workers: FakeWorkers, monkeypatch: pytest.MonkeyPatch) -> Describing:
    """Makes the studio on the project, with a describer at this address."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def make(url: str, **more: float) -> StudioApp:
        return StudioApp(project.path, queue=Queue(workers=workers), settings=Settings(describer=DescriberSettings(url=url, **more)))  # type: ignore[arg-type]

    return make


async def test_the_noun_is_offered_in_the_nouns_own_form(describing: Describing, project: Project) -> None:
    with serving(knowing({"noun": "corgi", "class": "dog", "description": "Small \x1b[31m[b]dog."})) as server:
        app = describing(server.url)
        async with app.run_test(size=(80, 24)) as pilot:
            await until_text(pilot, "mia (1 of 2")
            await pilot.press("right_square_bracket")
            await until_text(pilot, "rex (2 of 2")
            await pilot.press("d")
            await until_text(pilot, "Noun of rex")
            await until_text(pilot, "The describer says: corgi (class dog). Small \u241b[31m[b]dog.")
            assert app.screen.query_one("#field-noun", Input).value == "corgi"
            assert project.identity("rex").noun == "dog"
            await pilot.press("enter")
            await until_text(pilot, "· corgi ·")
    assert project.identity("rex").noun == "corgi"


async def test_who_looks_at_something_else_by_now_is_only_told(describing: Describing, project: Project) -> None:
    answer = threading.Event()
    healthy = knowing()

    with serving(lambda handler: healthy(handler) if answer.wait(60) else None) as server:
        app = describing(server.url)
        async with app.run_test(size=(80, 24)) as pilot:
            await until_text(pilot, "mia (1 of 2")
            await pilot.press("d", "right_square_bracket")
            await until_text(pilot, "rex (2 of 2")
            answer.set()
            await until_text(pilot, "The describer says mia is: corgi (class dog)")
            assert app.screen is app.studio_screen
    assert project.identity("mia").noun == "cat"


@pytest.mark.parametrize(("screen", "seen"), [("2", "mia (1 of 2"), ("3", "2 prompts, 5 clips")])
async def test_off_says_how_to_switch_it_on(screen: str, seen: str, describing: Describing) -> None:
    app = describing("")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press(screen)
        await until_text(pilot, seen)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, Complaint), "the complaint")
        await until_text(pilot, "The describer is off; to switch it on")


async def test_a_failure_is_a_complaint_and_the_noun_can_be_typed(describing: Describing, project: Project) -> None:
    with serving(answering(401, b"")) as server:
        app = describing(server.url)
        async with app.run_test(size=(80, 24)) as pilot:
            await until_text(pilot, "mia (1 of 2")
            await pilot.press("d")
            await until_text(pilot, "it refuses the key")
            await pilot.press("enter", "N")
            await until(pilot, lambda: isinstance(app.screen, Form), "the form")
            assert app.screen.query_one("#field-noun", Input).value == "cat"


async def test_leaving_does_not_wait_for_a_silent_server(describing: Describing) -> None:
    end = threading.Event()
    with serving(silent(end)) as server:
        app = describing(server.url, timeout=3600.0)
        async with app.run_test(size=(80, 24)) as pilot:
            await until_text(pilot, "mia (1 of 2")
            await pilot.press("d")
            await until(pilot, lambda: len(server.asked) == 1, "the question")
            asking = [worker for worker in app.workers if worker.group == "describe"]
            await pilot.press("q")
            await until(pilot, lambda: app.return_value == 0, "the end")
        assert [worker.is_finished for worker in asking] == [True]
        end.set()


async def test_drafts_come_to_the_end_of_the_editor_and_can_be_undone(describing: Describing, project: Project) -> None:
    before = project.prompts_path.read_text()
    with serving(knowing()) as server:
        app = describing(server.url)
        async with app.run_test(size=(80, 24)) as pilot:
            await until_text(pilot, "mia (1 of 2")
            await pilot.press("3")
            await until_text(pilot, "2 prompts, 5 clips")
            await pilot.press("d")
            await until(pilot, lambda: isinstance(app.screen, DraftPrompts) and app.screen.focused is not None, "the form")
            await pilot.press("right")
            for key, character in (("tab", "\t"), ("enter", "\r")):  # faster than the focus moves
                app.post_message(events.Key(key, character))
            await until_text(pilot, "5 prompts, 8 clips")
            await until_text(pilot, "not saved (Ctrl+S)")
            await until(pilot, lambda: app.screen.query_one("Expansion").highlighted == 2, "the cursor on the first")  # type: ignore[attr-defined]
            editor = app.screen.query_one("#editor", TextArea)
            drafted = editor.text
            assert drafted.startswith(before)
            assert 'text = "A <rex> dog asleep on the beach, waves behind it"' in drafted
            assert project.prompts_path.read_text() == before
            editor.undo()
            await until_text(pilot, "2 prompts, 5 clips")
            editor.redo()
            await until_text(pilot, "5 prompts, 8 clips")
            await pilot.press("ctrl+s")
            await until_text(pilot, "Saved.")
    assert server.asked[0].words.startswith("Write 25 prompts")
    assert len(PromptList.load(project.prompts_path)) == 5


@pytest.mark.parametrize(("count", "told"), [("many", '"many" is no number of prompts'), ("25", "answered 500")])
async def test_what_is_wrong_with_drafting_stays_in_the_form(count: str, told: str, describing: Describing, project: Project) -> None:
    before = project.prompts_path.read_text()
    with serving(answering(500, b"")) as server:
        app = describing(server.url)
        async with app.run_test(size=(80, 24)) as pilot:
            await until_text(pilot, "mia (1 of 2")
            await pilot.press("3")
            await until_text(pilot, "2 prompts, 5 clips")
            await pilot.press("d")
            await until(pilot, lambda: isinstance(app.screen, DraftPrompts), "the form")
            app.screen.query_one("#field-count", Input).value = count
            await pilot.press("ctrl+s")
            await until_text(pilot, told)
            await pilot.press("escape")
            await until(pilot, lambda: app.screen is app.studio_screen, "the form gone")
            assert app.screen.query_one("#editor", TextArea).text == before


def test_the_variable_alone_switches_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _settings() is None
    monkeypatch.setenv("VCD_DESCRIBER", '{"url": "http://localhost:8000/v1"}')
    settings = _settings()
    assert settings is not None
    assert settings.describer.url == "http://localhost:8000/v1"
