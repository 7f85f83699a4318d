"""Themes from TOML, the loss curve, seeds and prompts as they are read for the screens."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import until, until_text

from vcd_studio.locations import shipped_themes
from vcd_studio.project.errors import InputError
from vcd_studio.project.project import Project
from vcd_studio.tui.app import StudioApp
from vcd_studio.tui.screens.dialogs.dialogs import Complaint
from vcd_studio.tui.themes import ThemeError, load_theme, load_themes
from vcd_studio.tui.widgets.prompts.reading import read_prompts, read_seeds
from vcd_studio.tui.widgets.training.curve import braille, read_curves, smooth


def test_the_shipped_themes_are_a_dark_and_a_light_one() -> None:
    themes, problems = load_themes(shipped_themes())
    assert not problems
    assert {(theme.name, theme.dark) for theme in themes} == {("dark", True), ("light", False)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('primary = "#12345', "cannot be read"),
        ('primry = "#123456"', "primry"),
        ('primary = "no colour"', "is no colour"),
        ("dark = true", "primary"),
        ('primary = "#123456"\ndark = "yes"', "true or false"),
        ('primary = "#123456"\nvariables = 3', "table"),
        ('primary = "#123456"\n[variables]\nborder = "no colour"', "border"),
        ('primary = "#123456"\n[variables]\nblock-cursor-text-style = "boldest"', "text style"),
        ('primary = "#123456"\n[variables]\nborder = "red; } * { color: red"', "border"),
    ],
)
def test_a_wrong_theme_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ThemeError, match=words):
        load_theme(path)


def test_a_users_theme_replaces_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "dark.toml").write_text('primary = "#123456"')
    themes, _ = load_themes(shipped_themes(), tmp_path)
    assert next(theme for theme in themes if theme.name == "dark").primary == "#123456"


async def test_a_theme_that_is_written_is_put_on_and_a_broken_one_is_a_sentence(studio: Callable[..., StudioApp], home: Path) -> None:
    mine = home / "config" / "themes" / "dark.toml"
    mine.parent.mkdir(parents=True)
    app = studio()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "Welcome to VCD Studio")
        mine.write_text('primary = "#123456"\nbackground = "#204060"\n')
        await until(pilot, lambda: app.screen.styles.background.hex == "#204060", "the new background")
        mine.write_text('primary = "#123456"\nbackground = "no colour"\n')
        await until(pilot, lambda: isinstance(app.screen, Complaint), "the complaint")
        assert isinstance(app.screen, Complaint)
        assert app.screen.sentence == f"{mine}: background = 'no colour' is no colour."
        assert app.screen_stack[0].styles.background.hex == "#204060"
        await pilot.press("enter")
        other = mine.with_name("light.toml")
        other.write_text('primary = "#654321"\n')
        await until(pilot, lambda: app.get_theme("light").primary == "#654321", "another theme beside the broken one")
        assert app.screen_stack[0].styles.background.hex == "#204060"
        await until(pilot, lambda: isinstance(app.screen, Complaint), "the complaint once more")
        await pilot.press("enter")
        mine.unlink()
        await until(pilot, lambda: app.screen.styles.background.hex != "#204060", "the shipped background")


def test_a_line_being_written_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "loss.csv"
    path.write_text("step,loss,token_norm\n1,0.5,1\n2,0.25,1.5\n3,nan,1.25\n4")
    assert read_curves(path) == ([(1, 0.5), (2, 0.25)], [(1, 1.0), (2, 1.5), (3, 1.25)])


def test_a_falling_curve_goes_from_the_top_left_to_the_bottom_right() -> None:
    lines = braille([(0, 1.0), (10, 0.0)], 10, 3, 10)
    assert len(lines) == 3
    assert lines[0][0] != " "
    assert lines[-1][-1] != " "
    assert lines[-1][0] == " "


def test_smoothing_keeps_a_flat_line_flat() -> None:
    assert smooth([2.0] * 5) == pytest.approx([2.0] * 5)


def test_seeds_are_numbers_and_ranges() -> None:
    assert read_seeds("1, 3 5-7,5") == (1, 3, 5, 6, 7)
    assert read_seeds("  ") == ()
    with pytest.raises(InputError, match="x"):
        read_seeds("1, x")
    with pytest.raises(InputError, match="8-5"):
        read_seeds("8-5")


def test_a_prompts_problem_names_its_line(project: Project) -> None:
    text = '[[prompt]]\ntext = "a <rex> dog"\n\n[[prompt]]\ntext = "a <max> dog"\n'
    reading = read_prompts(project, text, "prompts.toml", ())
    assert [one.clips for one in reading.prompts] == [1, 0]
    assert "<max>" in reading.prompts[1].problem
    assert reading.prompts[1].prompt.line == 4
    assert read_prompts(project, '[[prompt]]\ntext = "a\n', "prompts.toml", ()).line == 2
