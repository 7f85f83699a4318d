"""A prompt added as text: seen before it is added, written with the file's comments kept, never lost."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import screen_text, until, until_text
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from vcd_studio.project.project import Project
from vcd_studio.project.prompts import NEW_TOML, PromptList
from vcd_studio.tui.app import StudioApp
from vcd_studio.tui.screens.dialogs.add_prompt import READ_AFTER, AddPrompt

Studio = Callable[..., StudioApp]


async def open_prompts(pilot: Pilot[int]) -> None:
    """From the start to the prompts, read."""
    await until_text(pilot, "photo 1 of 4")
    await pilot.press("3")
    await until(pilot, lambda: "prompts, " in str(pilot.app.screen.query_one("#sum").visual), "the prompts read")


async def ask(pilot: Pilot[int]) -> TextArea:
    """Press a; the text field of the form that opens."""
    await pilot.press("a")
    await until(pilot, lambda: isinstance(pilot.app.screen, AddPrompt) and pilot.app.screen.focused is not None, "the form")
    return pilot.app.screen.query_one(TextArea)


async def test_the_first_prompt_needs_no_toml(studio: Studio, project: Project) -> None:
    project.prompts_path.write_text("# mine, all mine\n")
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_prompts(pilot)
        await until_text(pilot, "No prompt yet: a adds one")
        text = await ask(pilot)
        text.insert("a <rex> dog\n  in the {snow|rain}")
        await until_text(pilot, "2 clips:")
        await until_text(pilot, "a <rex> dog in the rain")
        await pilot.press("tab", "5", "-", "6")
        await until_text(pilot, "4 clips:")
        await pilot.press("enter")
        await until_text(pilot, "1 prompts, 4 clips")
        await until_text(pilot, "Added: e enqueues it.")
        assert "[[prompt]]" in app.screen.query_one("#editor", TextArea).text
        await pilot.press("e")
        await until_text(pilot, "Enqueue 4 clips?")
    assert project.prompts_path.read_text().startswith("# mine, all mine\n")
    (prompt,) = PromptList.load(project.prompts_path)
    assert (prompt.text, prompt.overrides) == ("a <rex> dog in the {snow|rain}", {"seeds": (5, 6)})


async def test_it_goes_to_the_end_and_the_cursor_with_it(studio: Studio, project: Project) -> None:
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_prompts(pilot)
        text = await ask(pilot)
        text.insert("a <mia> cat {asleep|awake}")
        await pilot.press("ctrl+s")
        await until_text(pilot, "3 prompts, 7 clips")
        await until(pilot, lambda: app.screen.query_one("Expansion").highlighted == 2, "the cursor on it")  # type: ignore[attr-defined]
        app.screen.query_one("#editor", TextArea).undo()
        await until_text(pilot, "2 prompts, 5 clips")
        await until_text(pilot, "not saved")
    assert "# what rex does" in project.prompts_path.read_text()
    assert PromptList.load(project.prompts_path)[2].text == "a <mia> cat {asleep|awake}"


@pytest.mark.parametrize(
    ("written", "seeds", "told"),
    [
        ("a <max> dog", "", '"<max>"'),
        ("a {2-1$$<rex>} dog {", "", "{"),
        ("a <rex> dog", "one", "'one' is no seed"),
        ("0: a dog 0: a cat", "", "begin at 0 and rise"),
        ("", "", "Write what the clip should show"),
    ],
)
async def test_what_is_wrong_is_said_before_it_closes(studio: Studio, project: Project, written: str, seeds: str, told: str) -> None:
    before = project.prompts_path.read_bytes()
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_prompts(pilot)
        (await ask(pilot)).insert(written)
        app.screen.query_one("#field-seeds", Input).value = seeds
        if written:  # seen while it is typed
            await until(pilot, lambda: told in screen_text(pilot).replace("│\n", " "), told)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: not app.screen._busy and told in screen_text(pilot), told)  # type: ignore[attr-defined]
        assert isinstance(app.screen, AddPrompt)
        assert app.screen.query_one("#problem").has_class("-wrong")
        assert app.screen.query_one(TextArea).text == written
    assert project.prompts_path.read_bytes() == before


async def test_what_is_said_of_the_adding_outlasts_what_is_read_while_one_types(studio: Studio, project: Project) -> None:
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_prompts(pilot)
        await ask(pilot)
        app.screen._soon()  # type: ignore[attr-defined]
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "Write what the clip should show" in screen_text(pilot), "the complaint")
        read = asyncio.Event()
        app.screen.set_timer(2 * READ_AFTER, read.set)
        await read.wait()
        assert "Write what the clip should show" in screen_text(pilot)


async def test_what_was_put_aside_is_there_again_and_not_left_behind_unasked(studio: Studio, project: Project) -> None:
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_prompts(pilot)
        (await ask(pilot)).insert("a <rex> dog\nin a hat")
        await pilot.press("tab", "7", "escape")
        await until_text(pilot, "Put aside, not added")
        text = await ask(pilot)
        assert (text.text, app.screen.query_one("#field-seeds", Input).value) == ("a <rex> dog\nin a hat", "7")
        await until_text(pilot, "1 clip:")
        await pilot.press("escape", "q")
        await until_text(pilot, "A prompt was typed and not added.")
        await pilot.press("n")
        text = await ask(pilot)
        text.clear()
        app.screen.query_one("#field-seeds", Input).clear()
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.studio_screen, "the form gone")
        await pilot.press("q")
        await until(pilot, lambda: app.return_value == 0, "the end")
    assert len(PromptList.load(project.prompts_path)) == 2


async def test_leaving_without_it_is_a_choice(studio: Studio, project: Project) -> None:
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_prompts(pilot)
        (await ask(pilot)).insert("a <rex> dog")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.studio_screen, "the form gone")
        await pilot.press("1", "q")
        await until_text(pilot, "A prompt was typed and not added.")
        await pilot.press("y")
        await until(pilot, lambda: app.return_value == 0, "the end")


async def test_what_the_editor_holds_is_saved_first(studio: Studio, project: Project) -> None:
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_prompts(pilot)
        await pilot.press("i")
        app.screen.query_one("#editor", TextArea).insert("# typed just now\n", (0, 0))
        await pilot.press("escape")
        (await ask(pilot)).insert("a <rex> dog")
        await pilot.press("ctrl+s")
        await until_text(pilot, "3 prompts, 6 clips")
    assert project.prompts_path.read_text().startswith("# typed just now\n# what rex does\n")


async def test_a_plain_list_gets_a_line(studio: Studio, project: Project) -> None:
    project.prompts_path.unlink()
    plain: Path = project.path / "prompts.txt"
    plain.write_text("# what rex does\na <rex> dog --s 20\n")
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_prompts(pilot)
        text = await ask(pilot)
        text.insert("a <rex> dog --s 30")
        await until_text(pilot, "without --flags")
        text.load_text("a <rex> dog\nasleep")
        await pilot.press("tab", "1", "comma", "2", "enter")
        await until_text(pilot, "2 prompts, 3 clips")
    assert plain.read_text() == "# what rex does\na <rex> dog --s 20\na <rex> dog asleep --d 1,2\n"


async def test_a_project_without_a_list_gets_one(studio: Studio, project: Project) -> None:
    project.prompts_path.unlink()
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_prompts(pilot)
        (await ask(pilot)).insert("a <rex> dog")
        await pilot.press("ctrl+s")
        await until_text(pilot, "1 prompts, 1 clips")
    assert project.prompts_path.read_text().startswith(NEW_TOML)


async def test_a_name_that_is_begun_is_completed(studio: Studio, project: Project) -> None:
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_prompts(pilot)
        text = await ask(pilot)
        await pilot.press(*"a <r")
        await until(pilot, lambda: text.suggestion == "ex>", "the rest of <rex>")
        await pilot.press("right", *" dog")
        await until(pilot, lambda: text.text == "a <rex> dog", "the name taken")
