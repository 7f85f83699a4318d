"""Captions that differ in one word are kept apart in the prompt embeds, and only those."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import CLIPTextModel, CLIPTokenizer

from vcd_studio.catalog.packs import POCKET
from vcd_studio.pocket.train.banks import tokenise
from vcd_studio.pocket.train.text import ALTERNATIVES, LEAST_APART, Alternatives, too_near
from vcd_studio.pocket.world import caption, sample_identity, sample_shot


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(POCKET / "tokenizer")


@pytest.fixture(scope="module")
def alternatives(tokenizer: CLIPTokenizer) -> Alternatives:
    return Alternatives(tokenizer)


def test_every_word_of_a_group_is_one_token_of_the_pack(tokenizer: CLIPTokenizer) -> None:
    for group in ALTERNATIVES:
        for word in group:
            assert tokenizer.convert_ids_to_tokens(tokenizer(word).input_ids)[1:-1] == [f"{word}</w>"]


@given(seed=st.integers(0, 2**31))
def test_one_word_is_exchanged_for_another_of_its_group(seed: int, tokenizer: CLIPTokenizer, alternatives: Alternatives) -> None:
    rng = np.random.default_rng(seed)
    identity = sample_identity(rng)
    ids = tokenise(tokenizer, [caption(identity, sample_shot(rng, identity), rng), ""])
    changed, exchanged = alternatives.exchanged(rng, ids)
    assert exchanged.tolist() == [True, False]
    assert (changed[1] == ids[1]).all()
    (place,) = torch.nonzero(changed[0] != ids[0])[:, 0].tolist()
    before, after = (tokenizer.convert_ids_to_tokens(int(line[0, place])).removesuffix("</w>") for line in (ids, changed))
    assert any(before in group and after in group for group in ALTERNATIVES)


def test_what_is_far_enough_costs_nothing_and_what_is_nearer_the_more() -> None:
    embeds = torch.zeros(1, 2, 2)
    embeds[0, 0, 0] = 1.0

    def cost(apart: float) -> float:
        others = embeds.clone()
        others[0, 1, 1] = apart
        return float(too_near(embeds, others))

    assert cost(LEAST_APART + 0.01) == 0
    assert 0 < cost(LEAST_APART - 0.1) < cost(0.1)
    assert cost(0.0) == pytest.approx(LEAST_APART**2, rel=1e-2)
    assert float(too_near(embeds[:0], embeds[:0])) == 0


def test_the_cost_moves_two_equal_captions_apart() -> None:
    """At no distance at all the way apart has no direction: it must be a number all the same."""
    embeds, others = torch.ones(1, 2, 2, requires_grad=True), torch.ones(1, 2, 2)
    (slope,) = torch.autograd.grad(too_near(embeds, others), embeds)
    assert torch.isfinite(slope).all()


def test_the_packs_text_encoder_tells_apart_what_pack_4_mistook(tokenizer: CLIPTokenizer) -> None:
    """What was 0.04 in pack 4 (running, walking) could not be drawn."""
    text = CLIPTextModel.from_pretrained(POCKET / "text_encoder").float().eval()
    sentences = {"running": "a man {} in the snow", "cap": "a man with a red {} in the snow", "dog": "a {} in the snow"}
    others = {"running": "walking", "cap": "beanie", "dog": "cat"}
    with torch.inference_mode():
        for word, sentence in sentences.items():
            one, other = text(tokenise(tokenizer, [sentence.format(word), sentence.format(others[word])])).last_hidden_state
            assert (one - other).norm() / one.norm() > 0.25, word
