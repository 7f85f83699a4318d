"""The studio by keyboard alone: what a person does, and what is then on disk and in the queue."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import screen_text, until, until_quiet, until_text
from studio_fixtures import FakeWorkers, make_clip, make_queue, photo_folder, subject
from textual import events
from textual.command import CommandList
from textual.widgets import Input, OptionList, TextArea

from vcd_studio.jobs.store import Store
from vcd_studio.project.project import Project
from vcd_studio.tui.app import StudioApp
from vcd_studio.tui.commands import all_commands
from vcd_studio.tui.screens.dialogs.dialogs import Complaint, Confirm
from vcd_studio.tui.screens.dialogs.form import Form
from vcd_studio.tui.screens.identity import IdentityScreen
from vcd_studio.tui.widgets.pictures.grid import PictureGrid
from vcd_studio.tui.widgets.pictures.picture import Picture
from vcd_studio.tui.widgets.prompts.expansion import Expansion

Studio = Callable[..., StudioApp]


async def write(pilot, text: str) -> None:  # type: ignore[no-untyped-def]
    """Write into the focused input, as a paste does."""
    pilot.app.screen.focused.insert_text_at_cursor(text)
    await pilot.pause()


async def test_from_nothing_to_a_trained_identity(studio: Studio, tmp_path: Path, workers: FakeWorkers, store: Store) -> None:
    photos = photo_folder(tmp_path / "photos")
    app = studio()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "Welcome to VCD Studio")
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, Form), "the form")
        await write(pilot, "My film")
        await pilot.press("enter", "enter", "enter")
        await until_text(pilot, "No identity yet")
        assert app.project is not None
        assert app.project.name == "My film"
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, Form), "the form")
        await write(pilot, str(photos))
        await pilot.press("enter")
        await write(pilot, "rex")
        await pilot.press("enter")
        await write(pilot, "dog")
        await pilot.press("enter")
        await until_text(pilot, "photo 1 of 4")
        assert [photo.name for photo in app.project.identity("rex").photos()] == ["00.png", "01.png", "02.png", "03.png"]
        await pilot.press("s")
        await until(pilot, lambda: len(store.jobs()) == 1, "the segmenting job")
        await pilot.press("t")
        await until(pilot, lambda: len(store.jobs()) == 2, "the training job")
        assert {job.kind for job in store.jobs()} == {"segment", "train"}
        await until(pilot, lambda: workers.asked.count("ensure auto") == 2, "a worker asked for")


async def test_a_person_needs_an_answer_about_consent(studio: Studio, project: Project, tmp_path: Path) -> None:
    photos = photo_folder(tmp_path / "faces")
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, Form), "the form")
        for line in (str(photos), "ada", "woman"):
            await write(pilot, line)
            await pilot.press("tab")
        await until_text(pilot, "did he or she agree")
        await pilot.press("enter")
        await until_text(pilot, "is a person")
        await pilot.press("right", "enter")
        await until(pilot, lambda: "ada" in project.identity_names(), "the identity")
        assert project.identity("ada").consent is True


async def test_keys_typed_faster_than_the_focus_moves_go_where_they_were_meant(studio: Studio) -> None:
    app = studio()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "Welcome to VCD Studio")
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, Form), "the form")
        for letter in ("a", "\r", "b", "c", "\r", "d"):
            key, character = ("enter", letter) if letter == "\r" else (letter, letter)
            app.post_message(events.Key(key, character))
        await until(pilot, lambda: app.screen.query_one("#field-pack", Input).value == "pocketd", "the last letter")
        assert app.screen.query_one("#field-name", Input).value == "a"
        assert app.screen.query_one("#field-folder", Input).value == "bc"


async def test_a_photo_that_is_no_picture_stays_a_sentence_in_the_form(studio: Studio, project: Project, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "note.jpg").write_text("no picture")
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, Form), "the form")
        for line in (str(tmp_path / "bad"), "bad", "dog"):
            await write(pilot, line)
            await pilot.press("enter")
        await until_text(pilot, "not a picture")
        assert app.screen.query_one("#field-name", Input).value == "bad"
        assert "bad" not in project.identity_names()


async def test_mask_states_by_key(studio: Studio, project: Project) -> None:
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "mia (1 of 2")
        await pilot.press("right_square_bracket")
        await until_text(pilot, "rex (2 of 2")
        for key, state in (("w", "whole"), ("x", "left-out"), ("u", "automatic")):
            await pilot.press(key)
            await until(pilot, lambda state=state: project.identity("rex").photo("00.png").state == state, state)  # type: ignore[misc]


async def test_prompts_are_written_read_and_enqueued(studio: Studio, project: Project, store: Store, workers: FakeWorkers) -> None:
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("3")
        await until_text(pilot, "2 prompts, 5 clips")
        await pilot.press("i", "ctrl+end")
        app.screen.query_one(TextArea).insert('\n[[prompt]]\ntext = "a <max> dog"\n')
        await until_text(pilot, "3 prompts, 5 clips, 1 wrong")
        await until_text(pilot, "<max>")
        app.screen.query_one(TextArea).undo()
        await until_text(pilot, "2 prompts, 5 clips")
        await pilot.press("escape", "home", "e")
        await until_text(pilot, "Enqueue 4 clips?")
        await pilot.press("n")
        assert store.jobs() == []
        await pilot.press("down", "space", "e")
        await until_text(pilot, "Enqueue 1 clip?")
        await pilot.press("y")
        await until(pilot, lambda: len(store.jobs()) == 1, "the job")
        await until(pilot, lambda: workers.asked == ["ensure auto"], "a worker asked for")
        assert store.jobs()[0].title.startswith("a <rex> dog sleeping on the beach")


async def test_seeds_and_stages_of_the_line_below_win(studio: Studio, project: Project, store: Store) -> None:
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("3")
        await until_text(pilot, "2 prompts, 5 clips")
        await pilot.press("tab")
        await write(pilot, "5-7")
        await until_text(pilot, "2 prompts, 9 clips")
        await pilot.press("tab", "right", "E")
        await until_text(pilot, "Enqueue 9 clips?")
        await pilot.press("y")
        await until(pilot, lambda: len(store.jobs()) == 9, "nine jobs")
        assert [stage.name for stage in store.stages(store.jobs()[0].id)] == ["t2v", "save"]


async def test_what_another_program_wrote_is_not_written_over(studio: Studio, project: Project) -> None:
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("3")
        await until_text(pilot, "2 prompts")
        await pilot.press("i", "x")
        project.prompts_path.write_text("# other\n")
        await pilot.press("ctrl+s")
        await until_text(pilot, "was changed by another program")
        await pilot.press("n")
        assert project.prompts_path.read_text() == "# other\n"


async def test_leaving_with_unsaved_prompts_asks(studio: Studio, project: Project) -> None:
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("3")
        await until_text(pilot, "2 prompts")
        await pilot.press("i", "number_sign", "escape", "q")
        await until_text(pilot, "not saved")
        await pilot.press("y")
        await until(pilot, lambda: app.return_value == 0, "the end")
    assert project.prompts_path.read_text().startswith("#")


async def test_the_queue_shows_stages_log_and_obeys(studio: Studio, project: Project, store: Store, workers: FakeWorkers) -> None:
    make_queue(store, project)
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("4")
        await until_text(pilot, "no face in frames 3 to 5")
        await until_text(pilot, "✓ t2v")
        running, waiting, failed = store.jobs()
        stage = store.stages(running.id)[1]
        store.progress(stage.id, 7, 20)
        store.log(running.id, "info", "a new line")
        await until_text(pilot, "7/20")
        await until_text(pilot, "a new line")
        await pilot.press("end")
        await until_text(pilot, "The pack has no face detector")
        await pilot.press("r")
        await until(pilot, lambda: store.job(failed.id).state == "queued", "the retry")
        await pilot.press("home", "c")
        await until_text(pilot, "Cancel #")
        await pilot.press("y")
        await until(pilot, lambda: store.cancel_requested(running.id), "the request")
        assert store.job(waiting.id).state == "queued"


async def test_waiting_jobs_move_and_pause(studio: Studio, project: Project, store: Store) -> None:
    for title in ("first", "second"):
        store.enqueue("generate", project.path, title, ["t2v"], {})
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("4")
        await until_text(pilot, "#2 second")
        await pilot.press("end", "K")
        await until(pilot, lambda: [job.title for job in store.jobs()] == ["second", "first"], "the move")
        await until(pilot, lambda: [job.title for job in app.snapshot.jobs] == ["second", "first"], "the move seen")
        await until(pilot, lambda: app.screen.job is not None and app.screen.job.title == "second", "the cursor on the moved job")  # type: ignore[attr-defined]
        await pilot.press("p")
        await until(pilot, lambda: store.job(2).state == "paused", "the pause")
        await until(pilot, lambda: app.screen.job is not None and app.screen.job.state == "paused", "the pause seen")  # type: ignore[attr-defined]
        await pilot.press("p")
        await until(pilot, lambda: store.job(2).state == "queued", "going on")


async def test_a_clip_is_opened_scrubbed_and_played(studio: Studio, project: Project) -> None:
    make_clip(project, "running")
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("5")
        await until_text(pilot, "clip 1 of 1")
        await pilot.press("enter")
        await until_text(pilot, "1/6")
        await pilot.press("right", "right")
        await until_text(pilot, "3/6")
        await pilot.press("left", "left", "left")
        await until_text(pilot, "6/6")
        await pilot.press("b")
        await until(
            pilot, lambda: sum(bool(picture.encoded) for picture in app.screen.query("#films Picture").results(Picture)) == 2, "both stages"
        )
        await pilot.press("b", "p")
        await until_text(pilot, "▶")
        await until(pilot, lambda: app.screen.query("Film").first().prepared == 6, "all frames ready")  # type: ignore[attr-defined]
        await until_text(pilot, "2/6")
        await pilot.press("p", "i")
        await until_text(pilot, "seed = 7")
        await pilot.press("escape", "escape")
        await until_text(pilot, "clip 1 of 1")


async def test_no_picture_stands_under_a_modal(studio: Studio, project: Project) -> None:
    app = studio(project.path, "sixel")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await until_quiet(pilot)
        screen = app.studio_screen
        assert screen is not None
        pictures = [picture for picture in screen.query(Picture) if picture.encoded]
        assert len(pictures) == 5
        region = pictures[0].region.reset_offset
        assert any("\x1bP" in segment.text for strip in pictures[0].render_lines(region) for segment in strip)
        await pilot.press("question_mark")
        await until(pilot, lambda: app.screen is not screen, "the help page")
        assert not any("\x1bP" in segment.text for picture in pictures for strip in picture.render_lines(region) for segment in strip)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen, "the screen again")
        assert any("\x1bP" in segment.text for strip in pictures[0].render_lines(region) for segment in strip)


async def test_a_file_rewritten_in_place_is_seen(studio: Studio, project: Project) -> None:
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await until_quiet(pilot)
        picture = app.screen.query_one("#large", Picture)
        before = picture.encoded
        subject(9).save(project.identity("mia").photos()[0].path)
        await until(pilot, lambda: picture.encoded is not None and picture.encoded != before, "the new picture")


async def test_a_broken_project_is_one_sentence(studio: Studio, project: Project) -> None:
    project.file.write_text('name = "x"\npak = "pocket"\n')
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, Complaint), "the complaint")
        assert isinstance(app.screen, Complaint)
        assert "project.toml, line 2" in app.screen.sentence
        await pilot.press("enter")
        await until_text(pilot, "cannot be opened")


async def test_escape_sequences_in_names_are_shown_not_obeyed(studio: Studio, project: Project, store: Store) -> None:
    store.enqueue("generate", project.path, "[red]bold[/] \x1b[2J\x1b]0;title\x07", ["t2v"], {})
    store.log(1, "info", "\x1b[31m [b]red[/b]")
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("4")
        await until_text(pilot, "[red]bold[/]")
        await until_text(pilot, "[b]red[/b]")
        assert "\x1b" not in screen_text(pilot)


async def test_every_binding_has_an_id_and_a_tooltip(studio: Studio, project: Project) -> None:
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        commands = list(all_commands(app))
        assert len({command.id for command in commands}) == len(commands)
        assert all(command.help for command in commands)
        assert {command.mode for command in commands} == {"", "projects", "identity", "prompts", "queue", "clips", "models", "doctor"}


async def test_keys_can_be_changed(project: Project, workers: FakeWorkers) -> None:
    from vcd_studio.settings import Settings
    from vcd_studio.tui.watch import Queue

    app = StudioApp(project.path, queue=Queue(workers=workers), settings=Settings(keymap={"app.queue": "z"}, theme="light"))
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        assert app.theme == "light"
        await pilot.press("z")
        await until_text(pilot, "The queue is empty")


async def test_the_example_is_one_key_away(studio: Studio, project: Project, home: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    shipped = home / "shipped"
    shutil.copytree(project.path, shipped / "pocket-park")
    monkeypatch.setattr("vcd_studio.locations.shipped_projects", lambda: shipped)
    (home / "state" / "recent-projects.txt").unlink()
    app = studio()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "Welcome to VCD Studio")
        await pilot.press("e")
        await until_text(pilot, "photo 1 of 4")
        assert app.project is not None
        assert app.project.path == home / "data" / "projects" / "pocket-park"


async def test_the_list_of_projects_names_them_before_it_has_read_them(
    studio: Studio, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vcd_studio.tui.screens import projects

    go_on, read = threading.Event(), projects.entry
    monkeypatch.setattr(projects, "entry", lambda path: (go_on.wait(60), read(path))[1])
    app = studio()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, project.name)
        assert "identity" not in screen_text(pilot)
        assert app.screen.query_one("#list").has_focus
        assert app.screen.to_copy() == str(project.path)
        go_on.set()
        await until_text(pilot, "2 identities")
        assert app.screen.to_copy() == str(project.path)


async def test_a_project_that_opens_late_leaves_the_screen_that_was_chosen_meanwhile(
    studio: Studio, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, read = threading.Event(), Project.open
    monkeypatch.setattr(Project, "open", lambda path: (go_on.wait(60), read(path))[1])
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.current_mode == "projects", "the first screen")
        await pilot.press("4")
        await until(pilot, lambda: app.current_mode == "queue", "the queue")
        go_on.set()
        await until(pilot, lambda: app.project is not None, "the project")
        await until_text(pilot, project.name)
        assert app.current_mode == "queue"


async def test_pages_turn_and_never_scroll(studio: Studio, project: Project) -> None:
    for at in range(14):
        make_clip(project, f"clip {at:02}", frames=1)
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("5")
        await until_text(pilot, "page 1 of 2")
        await pilot.press("pagedown")
        await until_text(pilot, "page 2 of 2")
        await pilot.press("end")
        await until_text(pilot, "clip 14 of 14")
        assert app.screen.query_one(PictureGrid).cursor == 13


async def test_without_graphics_all_words_are_there(studio: Studio, project: Project) -> None:
    app = studio(project.path, "off")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        assert "▀" not in screen_text(pilot)
        await pilot.press("3")
        await until(pilot, lambda: len(app.screen.query_one(Expansion).reading.prompts) == 2, "the prompts")


async def test_a_project_that_opens_under_the_palette_waits_for_it(studio: Studio, project: Project) -> None:
    app = studio()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "Park")
        await pilot.press("ctrl+p")
        app.use_project(project, "identity")
        await until(pilot, lambda: len(app.screen_stack) == 2, "the palette")
        assert app.current_mode == "projects"
        await pilot.press("escape")
        await until_text(pilot, "photo 1 of 4")
        assert app.current_mode == "identity"


async def test_chosen_twice_in_the_palette_a_command_runs_once(studio: Studio) -> None:
    app = studio()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "Welcome to VCD Studio")
        await pilot.press("ctrl+p", *"Projects: new")
        await until_text(pilot, "Begin a new project")
        await pilot.press("down")
        palette = app.screen
        chosen = palette.query_one(CommandList)
        for _ in range(3):
            chosen.action_select()
        for _ in range(2):
            palette.post_message(Input.Submitted(palette.query_one(Input), "Projects: new"))
        await until(pilot, lambda: len(app.screen_stack) == 2 and isinstance(app.screen, Form), "the form")
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1, "no other form under it")


@pytest.mark.parametrize("screen", ["1", "3", "6", "7", "ctrl+p"])
async def test_a_page_turned_where_a_list_has_no_room_breaks_nothing(studio: Studio, project: Project, screen: str) -> None:
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press(screen)
        await until(pilot, lambda: any(found.option_count for found in app.screen.query(OptionList)), "something to choose from")
        await pilot.resize_terminal(20, 3)
        await pilot.press("pagedown", "pageup", "end", "pagedown", "home", "pageup")
        await pilot.resize_terminal(80, 24)
        assert app.is_running


async def test_a_dialog_left_twice_takes_no_screen_with_it(studio: Studio) -> None:
    app = studio()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "Welcome to VCD Studio")
        answers: list[bool | None] = []
        dialog = Confirm("Really?")
        app.push_screen(dialog, answers.append)
        await until(pilot, lambda: app.screen is dialog, "the question")
        dialog.dismiss(True)
        dialog.dismiss(False)
        await until(pilot, lambda: bool(answers), "the answer")
        assert answers == [True]
        assert len(app.screen_stack) == 1


async def test_a_page_turned_in_the_empty_palette_breaks_nothing(studio: Studio) -> None:
    app = studio()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "Welcome to VCD Studio")
        for _ in range(3):
            await pilot.press("ctrl+p", "pageup", *"zzzz", "pageup", "pagedown", "escape")
            await until(pilot, lambda: len(app.screen_stack) == 1, "the screen again")
        await pilot.press("ctrl+p")
        await until_text(pilot, "Projects: new")


async def test_a_key_may_come_before_its_screen_is_built(studio: Studio) -> None:
    app = studio()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "Welcome to VCD Studio")
        unbuilt = IdentityScreen()
        unbuilt.action_pause()
        unbuilt.on_key()
        assert app.is_running
