"""The methods of training: each with its own defaults, which are those of its trainer."""

from pathlib import Path

import pytest

from vcd_studio.method.finetuning import OPTIONS
from vcd_studio.project.errors import InputError, ProjectError
from vcd_studio.project.identity import RUN_FILE, TOKENS_FILE, WEIGHTS_FILE
from vcd_studio.project.project import Project
from vcd_studio.project.settings import METHOD_DEFAULTS, TRAINING_PRESETS, TrainingSettings

METHODS = list(METHOD_DEFAULTS)


@pytest.mark.parametrize("method", METHODS)
def test_the_defaults_of_a_method_are_those_of_its_trainer(method: str) -> None:
    settings = TrainingSettings(method=method).model_dump()
    trainer = vars(OPTIONS[method]())
    assert {name: settings[name] for name in trainer} == trainer
    assert set(METHOD_DEFAULTS[method]) <= set(trainer)


def test_another_method_brings_its_own_numbers_and_keeps_what_was_chosen() -> None:
    chosen = TrainingSettings(seed=7, bank=16, learning_rate=2e-3)
    lora = chosen.with_overrides({"method": "lora", "rank": 8})
    assert (lora.method, lora.rank, lora.steps, lora.learning_rate, lora.seed, lora.bank) == ("lora", 8, 500, 2e-3, 7, 16)
    back = lora.with_overrides({"method": "tokens"})
    assert (back.steps, back.tokens, back.unmasked_share, back.rank, back.learning_rate) == (200, 4, 0.0, 8, 2e-3)
    assert lora.with_overrides({"steps": 20}).learning_rate == 2e-3
    assert TrainingSettings(method="dreambooth", steps=3).learning_rate == 5e-6


@pytest.mark.parametrize("name", list(TRAINING_PRESETS))
def test_every_training_preset_is_valid_from_every_method(name: str) -> None:
    for method in METHODS:
        made = TrainingSettings(method=method).with_overrides(TRAINING_PRESETS[name])
        if name in METHODS:
            assert made == TrainingSettings(method=name)
    one = TrainingSettings().with_overrides(TRAINING_PRESETS["textual-inversion"])
    assert (one.tokens, one.unmasked_share, one.steps) == (1, 1.0, 200)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"method": "hypernetwork"}, "\"hypernetwork\" is not right for \"method\": it must be 'tokens', 'lora', 'dreambooth'"),
        ({"method": "lora", "rank": 0}, '"0" is not right for "rank"'),
        ({"method": "lora", "with_tokens": "yes"}, '"yes" is not right for "with_tokens"'),
        ({"with_tokens": True}, "Only weights learn beside tokens; choose the method lora"),
        ({"prior_pictures": 0}, "prior_pictures"),
        ({"prior": 1}, 'Unknown key "prior"'),
    ],
)
def test_what_is_no_setting_of_a_training_is_said(overrides: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        TrainingSettings().with_overrides(overrides)
    assert "\n" not in str(caught.value)


def test_a_method_stands_in_identity_toml(project: Project) -> None:
    rex = project.identity("rex")
    rex.set_section("training", method="lora", rank=2)
    assert "learning_rate" not in rex.file.read_text()
    assert (project.identity("rex").training.learning_rate, rex.training.rank) == (1e-4, 2)
    rex.file.write_text(rex.file.read_text().replace("lora", "loar"))
    with pytest.raises(ProjectError, match=r'"loar" is not right for "training\.method"') as caught:
        project.identity("rex")
    assert caught.value.line == 1 + rex.file.read_text().split("\n").index('method = "loar"')


def test_a_run_is_finished_with_all_it_will_hold(project: Project) -> None:
    rex = project.identity("rex")

    def finished() -> list[bool]:
        return [run.finished for run in rex.runs()]

    tokens, weights = rex.new_run(), rex.new_run()
    (tokens / TOKENS_FILE).write_bytes(b"tokens")
    (weights / RUN_FILE).write_text("steps = 5\n")
    (weights / WEIGHTS_FILE).write_bytes(b"weights")
    assert finished() == [True, False]  # its tokens are still to come
    (weights / TOKENS_FILE).write_bytes(b"a rare token")
    assert finished() == [True, True]
    by_hand = rex.new_run()
    (by_hand / WEIGHTS_FILE).write_bytes(b"a LoRA from elsewhere")
    runs = rex.runs()
    assert [(run.has_tokens, run.has_weights, run.finished) for run in runs] == [
        (True, False, True),
        (True, True, True),
        (False, True, True),
    ]
    newest, newest_tokens = rex.latest_run(), rex.latest_tokens()
    assert newest is not None
    assert newest_tokens is not None
    assert (newest.name, newest_tokens.name) == ("run-003", "run-001")
    assert newest.weights_path == Path(by_hand, WEIGHTS_FILE)
