"""Masks corrected by keyboard and mouse: other boxes, other thresholds, the brush, and a mask drawn elsewhere."""

from collections.abc import Callable
from pathlib import Path
from threading import Event, current_thread, main_thread

import numpy as np
import pytest
from conftest import screen_text, until, until_quiet, until_text
from PIL import Image
from textual.pilot import Pilot

from vcd_studio.jobs.store import Store
from vcd_studio.media.mask_canvas import MaskCanvas
from vcd_studio.project.found_boxes import FoundBox, FoundBoxes, write_boxes
from vcd_studio.project.photos import read_mask
from vcd_studio.project.project import Project
from vcd_studio.tui.app import StudioApp
from vcd_studio.tui.commands import all_commands
from vcd_studio.tui.screens.mask_editor import MaskEditor
from vcd_studio.tui.widgets.pictures.picture import Picture
from vcd_studio.tui.widgets.pictures.source import ShownBox, Source

Studio = Callable[..., StudioApp]


@pytest.fixture
def rex(project: Project) -> Project:
    """The identity rex alone, with two boxes found in its first photo."""
    (project.path / "identities" / "mia").rename(project.path / "was-mia")
    best = FoundBox(left=10, top=10, right=60, bottom=60, score=0.91, label="dog")
    boxes = (best, FoundBox(left=60, top=5, right=90, bottom=40, score=0.42))
    write_boxes(
        project.identity("rex").photo("00.png").mask_path,
        FoundBoxes(noun="dog", box_threshold=0.3, text_threshold=0.25, chosen=(0,), warnings=("The mask is small.",), box=boxes),
    )
    return project


async def ready(pilot: Pilot[int]) -> MaskEditor:
    """The editor over the first photo, drawn."""
    await until_text(pilot, "photo 1 of 4")
    await until_text(pilot, "✓1 dog 0.91")
    await pilot.press("e")
    await until(pilot, lambda: isinstance(pilot.app.screen, MaskEditor) and pilot.app.screen.ready, "the editor")
    editor = pilot.app.screen
    assert isinstance(editor, MaskEditor)
    return editor


async def test_another_box_or_several_become_the_mask(studio: Studio, rex: Project, store: Store) -> None:
    app = studio(rex.path)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_text(pilot, "✓1 dog 0.91")
        await until_text(pilot, "! The mask is small.")
        large = app.screen.query_one("#large", Picture)
        assert large.source is not None
        assert [box.words for box in large.source.boxes] == ["1  0.91", "2  0.42"]
        await pilot.press("b", "b", "B")
        await until(pilot, lambda: len(store.jobs()) == 1, "the job")
        assert (store.jobs()[0].settings["photos"], store.jobs()[0].settings["pick"]) == (["00.png"], [1])
        await pilot.press("b", "space", "b", "space", "B")
        await until(pilot, lambda: len(store.jobs()) == 2, "the other job")
        assert store.jobs()[1].settings["pick"] == [0, 1]
        await pilot.press("right", "b")
        await until_text(pilot, "No boxes are known")


async def test_one_photo_or_all_are_segmented(studio: Studio, rex: Project, store: Store) -> None:
    app = studio(rex.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("right", "s")
        await until(pilot, lambda: len(store.jobs()) == 1, "the job of one")
        await pilot.press("S")
        await until(pilot, lambda: len(store.jobs()) == 2, "the job of all")
        assert [job.settings["photos"] for job in store.jobs()] == [["01.png"], ["00.png", "01.png", "02.png"]]
        await pilot.press("w")
        await until(pilot, lambda: rex.identity("rex").photo("01.png").state == "whole", "the state")
        await pilot.press("s")
        await until_text(pilot, "set it to automatic first")
        assert len(store.jobs()) == 2


async def test_noun_and_thresholds_are_kept_and_used(studio: Studio, rex: Project, store: Store) -> None:
    app = studio(rex.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("f")
        await until_text(pilot, "Box threshold")
        await pilot.press("tab", *["backspace"] * 3, *"7", "ctrl+s")
        await until_text(pilot, "box_threshold")
        await pilot.press("backspace", *"0.15", "ctrl+s")
        await until(pilot, lambda: len(store.jobs()) == 1, "the job")
        assert store.jobs()[0].settings["segmentation"]["box_threshold"] == 0.15
        assert store.jobs()[0].settings["photos"] == ["00.png"]
        assert rex.identity("rex").segmentation.box_threshold == 0.15


@pytest.mark.parametrize("graphics", ["halfcell", "sixel"])
async def test_the_brush_paints_erases_and_undoes(graphics: str, studio: Studio, rex: Project) -> None:
    photo = rex.identity("rex").photo("00.png")
    before, picture = read_mask(photo.mask_path) > 127, photo.path.read_bytes()
    app = studio(rex.path, graphics)
    async with app.run_test(size=(80, 24)) as pilot:
        editor = await ready(pilot)
        encoded = editor.query_one("#drawing", Picture).encoded
        assert encoded is not None
        assert bool(encoded.data) == (graphics == "sixel")
        canvas = editor.canvas
        assert canvas is not None
        await pilot.press(*["shift+left"] * 8, *["shift+up"] * 6)
        assert (editor.x, editor.y) == (0, 0)
        await pilot.press("d", *["shift+right"] * 3, "d", "right")
        assert canvas.mask[0, : editor.x].all()
        drawn = canvas.mask.copy()
        assert drawn.sum() > before.sum()
        await pilot.press("u")
        assert np.array_equal(canvas.mask, before)
        await pilot.press("r")
        assert np.array_equal(canvas.mask, drawn)
        await pilot.press("f", "plus", "minus", "e", "right_square_bracket", "space", "s")
        await until_text(pilot, "Saved")
        assert np.array_equal(read_mask(photo.mask_path) > 127, canvas.mask)
        assert not canvas.mask[0, editor.x]
        await pilot.press("escape")
        await until_text(pilot, "mask corrected by hand")
    assert rex.identity("rex").photo("00.png").state == "corrected"
    assert photo.path.read_bytes() == picture


async def test_zoom_follows_the_brush_and_the_mouse_draws_where_it_is(studio: Studio, rex: Project) -> None:
    app = studio(rex.path)
    async with app.run_test(size=(80, 24)) as pilot:
        editor = await ready(pilot)
        await pilot.press("z", "z", *["shift+right"] * 9)
        await until(pilot, lambda: editor.ready, "the drawing")
        view = editor._view
        assert view is not None
        assert view.width == 24
        assert view.left <= editor.x < view.left + view.width
        picture = editor.query_one("#drawing", Picture)
        await pilot.mouse_down(picture, offset=(picture.size.width // 2, picture.size.height // 2))
        await pilot.pause()
        assert editor.canvas is not None
        assert abs(editor.x - (view.left + view.width / 2)) < 2
        assert abs(editor.y - (view.top + view.height / 2)) < 2
        assert editor.canvas.mask[editor.y, editor.x]
        await pilot.mouse_up(picture)
        await pilot.pause()
        assert not editor.pen_down


async def test_unsaved_strokes_are_not_lost_without_a_word(studio: Studio, rex: Project) -> None:
    mask = rex.identity("rex").photo("00.png").mask_path.read_bytes()
    app = studio(rex.path)
    async with app.run_test(size=(80, 24)) as pilot:
        editor = await ready(pilot)
        await pilot.press("e", "space", "4")
        await until_text(pilot, "Escape closes this editor first")
        await pilot.press("q")
        await until_text(pilot, "changes that are not saved")
        await pilot.press("n", "question_mark")
        await until_text(pilot, "makes a dab")
        assert {command.title.split(":")[0] for command in all_commands(app)} == {"Mask"}
        await pilot.press("escape", "escape", "y")
        await until(pilot, lambda: app.screen is not editor, "the identity again")
        assert "photo 1 of 4" in screen_text(pilot)
    assert rex.identity("rex").photo("00.png").mask_path.read_bytes() == mask
    assert rex.identity("rex").photo("00.png").state == "automatic"


async def test_a_mask_drawn_elsewhere_is_taken_or_refused_in_a_sentence(studio: Studio, rex: Project, tmp_path: Path) -> None:
    Image.new("L", (10, 10)).save(tmp_path / "small.png")
    drawn = Image.new("L", (96, 72), 255)
    drawn.save(tmp_path / "drawn.png")
    app = studio(rex.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("M")
        await until_text(pilot, "Mask file")
        app.screen.focused.insert_text_at_cursor(str(tmp_path / "small.png"))  # type: ignore[union-attr]
        await pilot.press("enter")
        await until_text(pilot, "10 x 10 pixels")
        app.screen.focused.value = str(tmp_path / "drawn.png")  # type: ignore[union-attr]
        await pilot.press("enter")
        await until_text(pilot, "mask corrected by hand")
    assert (read_mask(rex.identity("rex").photo("00.png").mask_path) > 127).all()


async def test_without_pictures_the_editor_says_what_to_do(studio: Studio, rex: Project) -> None:
    app = studio(rex.path, "off")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await until_quiet(pilot)
        await pilot.press("e")
        await until_text(pilot, "M takes it")


def test_boxes_are_drawn_where_they_are_whatever_the_size(tmp_path: Path) -> None:
    Image.new("RGB", (400, 300)).save(tmp_path / "a.png")
    box = ShownBox(200, 150, 400, 300, "1", (255, 0, 0), strong=True)
    shown = Source(tmp_path / "a.png", boxes=(box,)).load((200, 200))
    assert shown.size == (200, 150)
    pixels = np.asarray(shown)
    assert pixels[149, 150].tolist() == [255, 0, 0]
    assert pixels[120, 100].tolist() == [255, 0, 0]
    assert not pixels[:74].any()


async def test_growing_is_not_done_on_the_ui_thread_and_what_is_typed_meanwhile_follows(
    studio: Studio, rex: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, done = Event(), []

    def slow(name: str) -> Callable[..., None]:
        original = getattr(MaskCanvas, name)

        def wrapped(*args: object) -> None:
            if name == "grow":
                assert go_on.wait(30)
            done.append((name, current_thread() is main_thread()))
            original(*args)

        return wrapped

    for name in ("grow", "fill", "dab"):
        monkeypatch.setattr(MaskCanvas, name, slow(name))
    async with studio(rex.path).run_test(size=(80, 24)) as pilot:
        editor = await ready(pilot)
        await pilot.press("plus", "space", "f")
        await until_text(pilot, "at work …")
        assert done == []
        go_on.set()
        await until(pilot, lambda: len(done) == 3 and editor.ready, "all three")
        assert done == [("grow", False), ("dab", True), ("fill", False)]
        await pilot.press("u", "u", "u")
        await until(pilot, lambda: editor.canvas is not None and not editor.canvas.changed, "all of it taken back")
