"""LoRA that prompts and projects name: how they are written, and where they are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcd_studio.locations import loras_dir, packs_dir
from vcd_studio.project.errors import InputError, ProjectError
from vcd_studio.project.loras import LoraChoice, find_lora
from vcd_studio.project.project import Project
from vcd_studio.project.settings import GenerationSettings, override_from_text


@pytest.mark.parametrize(
    ("text", "name", "strength"),
    [
        ("film-look", "film-look", 1.0),
        ("film-look:0.8", "film-look", 0.8),
        (" sub/zoom.ckpt:-1.5 ", "sub/zoom.ckpt", -1.5),
        ("film look v2:.5", "film look v2", 0.5),
        ("a:b.safetensors:2", "a:b.safetensors", 2.0),
    ],
)
def test_a_name_and_a_strength(text: str, name: str, strength: float) -> None:
    assert LoraChoice.read(text) == LoraChoice(name, strength)


@given(st.text(max_size=40))
def test_any_text_is_a_choice_or_one_sentence(text: str) -> None:
    choice, sentence = None, ""
    try:
        choice = LoraChoice.read(text)
    except ValueError as error:
        sentence = str(error)
    if choice is None:
        assert sentence
        assert "\n" not in sentence
    else:
        assert choice.name
        assert -4 <= choice.strength <= 4


@pytest.mark.parametrize(("loras", "said"), [(["x:9"], "lies from -4 to 4"), (["x:1", "x:2"], "named twice"), ([""], "is no LoRA")])
def test_settings_refuse_what_cannot_be_worn(loras: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        GenerationSettings().with_overrides({"loras": loras})


@pytest.mark.parametrize(("text", "loras"), [("loras=film:0.8", ["film:0.8"]), ("loras=a,b:2", ["a", "b:2"]), ("loras=", [])])
def test_on_the_command_line(text: str, loras: list[str]) -> None:
    assert override_from_text(text) == ("loras", loras)


def test_the_projects_own_goes_before_the_users(tmp_path: Path) -> None:
    loras_dir().mkdir(parents=True)
    (loras_dir() / "film.safetensors").touch()
    (loras_dir() / "zoom.ckpt").touch()
    (tmp_path / "loras").mkdir()
    own = tmp_path / "loras" / "film.safetensors"
    own.touch()
    assert find_lora(LoraChoice("film"), tmp_path, "pocket") == own
    assert find_lora(LoraChoice("zoom"), tmp_path, "pocket") == loras_dir() / "zoom.ckpt"
    with pytest.raises(InputError, match=r'There is no LoRA "none"; put its file into .*loras or .*loras\.'):
        find_lora(LoraChoice("none"), tmp_path, "pocket")


def test_a_pack_may_bring_some(tmp_path: Path) -> None:
    brought = packs_dir() / "mine" / "loras" / "quick.safetensors"
    brought.parent.mkdir(parents=True)
    brought.touch()
    assert find_lora(LoraChoice("quick"), tmp_path, "mine") == brought
    with pytest.raises(InputError, match='no LoRA "quick"'):
        find_lora(LoraChoice("quick"), tmp_path, "pocket")
    (tmp_path / "loras").mkdir()
    own = tmp_path / "loras" / "quick.safetensors"
    own.touch()
    assert find_lora(LoraChoice("quick"), tmp_path, "mine") == own


def test_a_project_of_others_names_nothing_outside(tmp_path: Path) -> None:
    outside = tmp_path / "secret.safetensors"
    outside.touch()
    project = tmp_path / "film"
    (project / "loras").mkdir(parents=True)
    for name in (str(outside), "../secret", "~/secret"):
        with pytest.raises(InputError, match=r"outside of the project.*--set loras="):
            find_lora(LoraChoice(name), project, "pocket")
    (project / "loras" / "link.safetensors").symlink_to(outside)
    with pytest.raises(ProjectError, match="leads out of the project folder"):
        find_lora(LoraChoice("link.safetensors"), project, "pocket")
    assert find_lora(LoraChoice(str(outside)), project, "pocket", by_hand=True) == outside


def test_check_tells_of_a_lora_that_is_not_there(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "film")
    project.prompt_list().append("a dog", loras=["film-look:0.8"])
    (problem,) = project.check()
    assert problem.line is not None
    assert 'There is no LoRA "film-look"' in problem.message
