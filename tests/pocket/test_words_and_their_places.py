"""Where words are to be seen in a picture, and how large they are in the text encoder: what the pocket pack's training leans on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from vcd_studio.catalog.packs import POCKET
from vcd_studio.pocket.train.text import resized
from vcd_studio.pocket.train.words import counterparts, places
from vcd_studio.pocket.world import KINDS, Identity, Kind, Shot, render, sample_identity

SHOT = Shot("grass", "walking", "medium")


def somebody(kind: Kind, **changed: object) -> Identity:
    return replace(sample_identity(np.random.default_rng(3), kind), **changed)  # type: ignore[arg-type]


def shares(identity: Identity, shot: Shot = SHOT) -> np.ndarray:
    return places(identity, shot, 0.0, render(identity, shot))


@pytest.mark.parametrize("kind", KINDS)
def test_attention_goes_to_the_subject_and_is_about_one_on_average(kind: Kind) -> None:
    who = somebody(kind)
    weights, mask = shares(who), render(who, SHOT).mask.reshape(16, 4, 16, 4).mean((1, 3)) / 255
    assert weights.shape == (16, 16)
    assert weights.min() >= 0
    assert 0.7 < weights.mean() < 1.01
    assert weights[mask > 0.9].mean() > 20 * weights[mask == 0].mean()


def test_a_collar_counts_as_much_as_the_coat_though_it_is_small() -> None:
    who = somebody("dog", collar=True, bright=(0.9, 0.1, 0.1), main=(0.5, 0.5, 0.5), pattern="plain")
    changed = np.abs(render(who, SHOT).image.astype(int) - render(replace(who, collar=False), SHOT).image).max(-1) > 24
    collar = changed.reshape(16, 4, 16, 4).mean((1, 3)) > 0.15
    assert 0 < collar.sum() < 12
    weights = shares(who)
    assert weights[collar].mean() > 3 * np.median(weights[weights > 0.5])


@pytest.mark.parametrize("kind", KINDS)
def test_every_nameable_attribute_has_a_counterpart_that_looks_different(kind: Kind) -> None:
    who = somebody(kind)
    for other in counterparts(who):
        assert other != who
    assert sum((render(other, SHOT).image != render(who, SHOT).image).any() for other in counterparts(who)) == len(list(counterparts(who)))


def test_where_a_hat_would_be_counts_too() -> None:
    bare = somebody("woman", hat="none")
    hatted = render(replace(bare, hat="cap"), SHOT).image != render(bare, SHOT).image
    where = hatted.any(-1).reshape(16, 4, 16, 4).mean((1, 3)) > 0.5
    assert shares(bare)[where].min() > 1


def test_nothing_to_be_seen_weighs_everything_alike() -> None:
    away = replace(SHOT, x=-3.0)
    assert (shares(somebody("cat"), away) == 1).all()


def test_smaller_words_say_the_same() -> None:
    from transformers import CLIPTextModel, CLIPTokenizer

    text = CLIPTextModel.from_pretrained(POCKET / "text_encoder").float().eval()
    ids = CLIPTokenizer.from_pretrained(POCKET / "tokenizer")(
        ["a gray dog with a red collar running in the snow"], padding="max_length", max_length=40, return_tensors="pt"
    ).input_ids
    with torch.inference_mode():
        said = text(ids).last_hidden_state.clone()
    size = float(text.get_input_embeddings().weight.norm())
    resized(text, 0.3)
    with torch.inference_mode():
        assert torch.allclose(text(ids).last_hidden_state, said, atol=1e-4)
    assert float(text.get_input_embeddings().weight.norm()) == pytest.approx(0.3 * size, rel=1e-5)
