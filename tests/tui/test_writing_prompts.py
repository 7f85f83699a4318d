"""The prompts' editor: names completed as they are written, unknown ones underlined, and what the clips will cost."""

from collections.abc import Callable

import pytest
from conftest import until, until_text
from rich.text import Text

from vcd_studio.jobs.model import WorkerId
from vcd_studio.jobs.store import Store
from vcd_studio.project.project import Project
from vcd_studio.tui.app import StudioApp
from vcd_studio.tui.screens.prompts import Editor
from vcd_studio.tui.widgets.prompts.reading import completion, read_prompts, unknown_names

Studio = Callable[..., StudioApp]
KNOWN = ("<rex>", "<rexina>", "__place__", "__old/place__")


@pytest.mark.parametrize(
    ("before", "rest"),
    [
        ("a <r", "ex>"), ("<", "rex>"), ("a <rex>", ""), ("a <rexi", "na>"), ("at __pl", "ace__"), ("__old/", "place__"),
        ("a <m", ""), ("a dog", ""), ("", ""),
    ],
)  # fmt: skip
def test_a_name_that_is_begun_is_completed(before: str, rest: str) -> None:
    assert completion(before, KNOWN) == rest


def test_unknown_names_are_found_where_they_stand() -> None:
    assert unknown_names("<rex> and <max> at __place__, __plce__", KNOWN) == [(10, 15), (30, 38)]
    assert unknown_names("# a <max> in a comment", KNOWN) == []


def underlined(line: Text) -> list[str]:
    return [line.plain[span.start : span.end] for span in line.spans if "underline" in str(span.style)]


async def test_the_editor_completes_and_underlines(studio: Studio, project: Project) -> None:
    project.wildcard_dir.mkdir()
    (project.wildcard_dir / "place.txt").write_text("beach\npark\n")
    project.prompts_path.write_text('[[prompt]]\ntext = "a <max> cat"\n')
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("3")
        await until_text(pilot, "1 wrong")
        editor = app.screen.query_one(Editor)
        assert underlined(editor.get_line(1)) == ["<max>"]
        await pilot.press("i")
        editor.move_cursor((1, 8))
        await pilot.press(*["delete"] * 7, *"a <re")
        await until(pilot, lambda: editor.suggestion == "x>", "the rest of the name")
        await pilot.press("right", *" at __", "right")
        assert editor.document.get_line(1) == 'text = "a <rex> at __place__ cat"'
        assert underlined(editor.get_line(1)) == []
        await until_text(pilot, "1 prompts, 2 clips")


def test_the_cost_is_that_of_clips_like_these(project: Project, store: Store) -> None:
    text = '[[prompt]]\ntext = "a <rex> {dog|cat}"\nseeds = [1, 2, 3]\nframes = 16\n'
    unknown = read_prompts(project, text, "prompts.toml", (), ("t2v",), store).prompts[0]
    assert (unknown.clips, unknown.seconds) == (6, None)
    assert unknown.bytes > 0
    generation = project.defaults.model_dump(mode="json")
    job = store.enqueue("generate", project.path, "like these", ["t2v", "save"], {"pack": project.pack, "generation": generation})
    store.claim(WorkerId(1, "1", "boot"), "cpu")
    for stage in store.stages(job.id):
        store.begin_stage(stage.id, 1)
        store.finish_stage(stage.id, "there")
    store.finish(job.id)
    known = read_prompts(project, text, "prompts.toml", (), ("t2v",), store).prompts[0]
    assert known.seconds is not None
    assert read_prompts(project, text, "prompts.toml", (), ("t2v", "face"), store).prompts[0].seconds is None
    assert known.seconds >= 0
