"""A study on the shipped pack: broken off at any step it goes on, ends as an unbroken one, and its report says what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig, ViTConfig, ViTModel

from vcd_studio.evaluation.encoders import ImageEncoder, ImageTextEncoder, Preprocessing
from vcd_studio.evaluation.following import judge, prompts
from vcd_studio.evaluation.metrics import Encoders
from vcd_studio.evaluation.plan import PROMPTS, STAGE_SWEEPS, STAGE_USUAL, SWEEPS, TABLE, VCD, Arm, Learning, Plan
from vcd_studio.evaluation.reading import likelihood, recognised
from vcd_studio.evaluation.report import cells, write_report
from vcd_studio.evaluation.study import Study, Unit
from vcd_studio.evaluation.subjects import pocket_subjects
from vcd_studio.method.face import face
from vcd_studio.method.protocols import MethodError, Networks
from vcd_studio.method.tiled import tiled
from vcd_studio.models import load_pack
from vcd_studio.models.oracle import Oracle
from vcd_studio.pocket.questions import MEASURES, QUESTIONS, answers
from vcd_studio.pocket.world import Shot, is_held_out


class Broken(Exception):
    """What a pause or a kill is to a study."""


@pytest.fixture(scope="module")
def networks() -> Networks:
    torch.set_num_threads(1)
    return load_pack("pocket")


@pytest.fixture(scope="module")
def judges(networks: Networks) -> tuple[Oracle, Encoders]:
    """Untrained judges: what they say is noise, but the same noise each time."""
    torch.manual_seed(0)
    text = CLIPTextConfig(
        vocab_size=len(networks.tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=40, eos_token_id=networks.tokenizer.eos_token_id,
    )  # fmt: skip
    seen = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32, "patch_size": 16,
    }  # fmt: skip
    clip = CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=CLIPVisionConfig(**seen).to_dict(), projection_dim=8))
    dino = ViTModel(ViTConfig(**seen), add_pooling_layer=False)
    look = Preprocessing((32, 32), None, (0.5,) * 3, (0.5,) * 3)
    encoders = Encoders(ImageTextEncoder(clip, look, "clip", networks.tokenizer), ImageEncoder(dino, look, "dino"))
    return Oracle(list(QUESTIONS.items()), MEASURES, widths=(8, 8, 8, 8)).eval(), encoders


PLAN = Plan(subjects=1, seeds=1, picture_seeds=2, steps=1, following=2, sweeps=("tokens",), stages=False, only=("vcd", "tokens-1"))


@pytest.fixture
def study(networks: Networks, judges: tuple[Oracle, Encoders], monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Plan], Study]:
    short = tuple(Arm(arm.name, Learning(options={**arm.learning.options, "steps": 2, "bank": 2})) for arm in TABLE if arm.slug == "vcd")
    monkeypatch.setattr("vcd_studio.evaluation.plan.TABLE", short)
    one = Arm("tokens 1", Learning(options={"tokens": 1, "steps": 2, "bank": 2}), pictures=True, axis="tokens", value=1)
    monkeypatch.setitem(SWEEPS, "tokens", (one,))
    return lambda folder, plan: Study(folder, plan, networks, *judges)


def break_after(calls: int) -> Callable[[], None]:
    left = iter(range(calls))

    def step() -> None:
        if next(left, None) is None:
            raise Broken

    return step


@pytest.mark.slow
def test_a_study_that_is_broken_off_again_and_again_ends_as_an_unbroken_one(study: Callable[[Path, Plan], Study], tmp_path: Path) -> None:
    whole = study(tmp_path / "whole", PLAN)
    seen: list[int] = []
    whole.run(lambda done, total, text: seen.append(done))
    assert seen == list(range(len(whole.units()) + 1))
    breaks, left = 0, [len(whole.units())]
    while True:
        broken = study(tmp_path / "broken", PLAN)
        try:
            broken.run(lambda done, total, text: None, break_after(7))
            break
        except Broken:
            breaks += 1
            left.append(len(broken.pending()))
    assert breaks >= 2
    assert all(a > b for a, b in pairwise(left))  # every attempt finished something
    assert list(broken.rows()) == list(whole.rows())
    assert list(broken.followed()) == list(whole.followed())
    assert not broken.pending()

    report = write_report(broken, tmp_path / "report").read_text()
    told = cells(list(broken.rows()), "vcd", "identity")
    assert f"{sum(told.values()) / len(told):.3f} [" in report
    assert "still to be made" not in report
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"README.md", "identities.png", "tokens.svg"}


@pytest.mark.slow
def test_what_is_judged_in_half_a_study_is_drawn_in_16_bits_and_judged_in_32(
    study: Callable[[Path, Plan], Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, judged = [], []
    learnt, read = Study._learn, Oracle.read
    monkeypatch.setattr(Study, "_learn", lambda *given: drawn.append(torch.is_autocast_enabled("cpu")) or learnt(*given))
    monkeypatch.setattr(Oracle, "read", lambda *given: judged.append(torch.is_autocast_enabled("cpu")) or read(*given))
    study(tmp_path, replace(PLAN, half=True, following=1, only=("vcd",))).run(lambda done, total, text: None)
    assert drawn
    assert all(drawn)
    assert len(judged) == 2 + len(PROMPTS)  # a caption's true clip, too
    assert not any(judged)


def test_a_folder_holds_one_packs_rows_made_one_way(study: Callable[[Path, Plan], Study], tmp_path: Path) -> None:
    def run(plan: Plan, weights: str) -> None:
        begun = study(tmp_path, plan)
        begun.basis["weights"] = weights
        begun.run(lambda done, total, text: None)

    nothing = replace(PLAN, following=0, only=("none",))
    run(nothing, "one")
    run(replace(nothing, subjects=3, seeds=2), "one")
    with pytest.raises(MethodError, match="was begun with other weights; choose another folder with --out"):
        run(nothing, "another")
    with pytest.raises(MethodError, match="was begun with steps 1, not 25;"):
        run(replace(nothing, steps=25), "one")
    (tmp_path / "study.json").unlink()
    (tmp_path / "rows").mkdir()
    with pytest.raises(MethodError, match="does not say what it was made with"):
        run(nothing, "one")


def test_what_no_true_clip_shows_is_not_asked(networks: Networks, judges: tuple[Oracle, Encoders], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = next(each for each in prompts(50) if {"fur", "scene"} <= set(each.told))
    true = asked.true_clip()
    assert true.shape == (16, 64, 64, 3)
    answers = {True: {**asked.told, "fur": "not to be seen"}, False: {**asked.told, "scene": "not to be seen"}}
    monkeypatch.setattr(Oracle, "answers", lambda self, frames: answers[np.array_equal(frames, true)])
    read = judge(np.zeros_like(true), asked, judges[0])
    assert (read.pop("fur"), read.pop("scene")) == (None, False)
    assert all(read.values())


def test_everything_is_asked_once_and_has_its_own_place() -> None:
    plan = Plan()
    slugs = [arm.slug for arm in plan.arms]
    assert len(set(slugs)) == len(slugs)
    assert len({arm.learning.key for arm in plan.arms}) < len(slugs)  # the gamma sweep shares VCD's trainings
    assert all(prompt.text.count("{}") == 1 for prompt in PROMPTS)


def test_subjects_are_held_out_and_always_the_same() -> None:
    subjects = list(pocket_subjects(4, photo_count=2))
    assert [subject.noun for subject in subjects] == ["dog", "cat", "man", "woman"]
    assert all(is_held_out(subject.truth) for subject in subjects)
    again = list(pocket_subjects(4, photo_count=2))
    assert all((a.references[0] == b.references[0]).all() for a, b in zip(subjects, again, strict=True))


def test_a_subject_is_recognised_among_the_others_where_the_oracle_sees_its_answers() -> None:
    subjects = list(pocket_subjects(4, photo_count=2))

    known = answers(subjects[2].truth, Shot("snow", "walking", "medium"))
    told = {question: torch.full((2, len(choices)), -9.0) for question, choices in QUESTIONS.items()}
    for question, answer in zip(QUESTIONS, known, strict=True):
        told[question][:, answer] = -0.1
    everyone = [subject.truth for subject in subjects]
    assert [recognised(told, identity, everyone) for identity in everyone] == [False, False, True, False]
    assert likelihood(told, everyone[2]) == pytest.approx(-0.1)


def test_what_a_sweep_does_not_do_over_again_is_what_the_stages_do_unasked() -> None:
    for axis, usual in STAGE_USUAL.items():
        assert usual in STAGE_SWEEPS[axis]
        stage, _, option = axis.partition(" ")
        if option != "prompt":
            assert signature({"face": face, "tile": tiled}[stage]).parameters[option].default == usual


def test_the_same_pictures_are_drawn_once_whatever_sweeps_they_are_on(
    networks: Networks, judges: tuple[Oracle, Encoders], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = {axis: tuple(arm for arm in SWEEPS[axis] if arm.learning == VCD) for axis in ("steps", "photos")}
    monkeypatch.setattr("vcd_studio.evaluation.plan.SWEEPS", arms)
    monkeypatch.setattr("vcd_studio.evaluation.plan.TABLE", ())
    study = Study(tmp_path, Plan(subjects=1, sweeps=("steps", "photos"), stages=False, following=0), networks, *judges)
    row = [{"arm": "steps-200", "name": "steps 200", "axis": "steps", "value": 200, "identity": 0.5}]
    monkeypatch.setattr(Study, "_learn", lambda *_: pytest.fail("learnt and drawn again"))
    (first, second) = [unit for unit in study.units() if isinstance(unit, Unit) and unit.prompt == 0]
    assert (first.arm.slug, second.arm.slug) == ("steps-200", "photos-6")
    path = tmp_path / "rows" / f"{first.path}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(row))
    (tmp_path / "study.json").write_text(json.dumps(study.basis))
    monkeypatch.setattr(Study, "units", lambda self: [first, second])
    study.run(lambda done, total, text: None)
    assert list(study.rows())[1] == {"arm": "photos-6", "name": "photos 6", "axis": "photos", "value": 6, "identity": 0.5}


def test_sweeps_are_about_fewer_identities_than_the_tables() -> None:
    plan = Plan(subjects=8, sweep_subjects=4)
    counts = {arm.slug: plan.subjects_of(arm) for arm in plan.arms}
    assert counts["vcd"] == counts["lora"] == 8
    assert counts["tokens-1"] == counts["gamma-0-5"] == counts["dreambooth"] == counts["stages"] == 4
    assert Plan(subjects=2).subjects_of(SWEEPS["tokens"][0]) == 2
