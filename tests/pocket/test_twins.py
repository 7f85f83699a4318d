"""Twins differ in one thing, their captions in the word for it, and both see the same noise."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vcd_studio.pocket.train import architectures
from vcd_studio.pocket.train.banks import CAPTIONS, TwinBank
from vcd_studio.pocket.train.denoisers import NoiseLoss
from vcd_studio.pocket.train.twins import twin, twin_captions
from vcd_studio.pocket.world import Identity, Shot, is_held_out, sample_shot, sample_training_identity

ONE_THING = {
    "kind": {"kind", "names", "hair_style", "beard"},
    "pattern": {"pattern", "names"},
    "collar": {"collar", "bright", "names"},
    "bright": {"bright", "names"},  # a collar of another colour
    "hat": {"hat", "hat_colour", "names"},
    "glasses": {"glasses", "names"},
    "second": {"second", "names"},  # hair of another colour
}


def some_twins(rng: np.random.Generator) -> tuple[tuple[Identity, Shot], tuple[Identity, Shot]]:
    who = sample_training_identity(rng)
    one = (who, sample_shot(rng, who))
    return one, twin(rng, *one)


def changed(one: Identity | Shot, other: Identity | Shot) -> set[str]:
    return {field.name for field in fields(one) if getattr(one, field.name) != getattr(other, field.name)}


@settings(max_examples=200)
@given(seed=st.integers(0, 2**31))
def test_one_thing_differs_and_nobody_held_out_is_drawn(seed: int) -> None:
    (who, shot), (other, seen) = some_twins(np.random.default_rng(seed))
    assert not is_held_out(other)
    if of_shot := changed(shot, seen):
        assert (of_shot, changed(who, other)) == ({"action"}, set())
    else:
        assert any(thing in changed(who, other) <= allowed for thing, allowed in ONE_THING.items())


ORDER = ("fur", "spots", "stripes", "patch", "collar", "shirt", "trousers", "skirt", "hair", "cap", "top hat", "beanie", "glasses", "beard")


@settings(max_examples=200)
@given(seed=st.integers(0, 2**31))
def test_names_stand_in_the_order_that_tells_who_is_held_out(seed: int) -> None:
    _, (other, _) = some_twins(np.random.default_rng(seed))
    assert [part for part, _ in other.names] == sorted((part for part, _ in other.names), key=ORDER.index)


@settings(max_examples=100)
@given(seed=st.integers(0, 2**31))
def test_captions_of_two_who_do_something_else_differ_in_that_word_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = some_twins(rng)
    assume(one[0] == other[0])
    first, second = twin_captions(rng, one, other)
    assert first.replace(one[1].action, other[1].action) == second


def test_the_halves_of_a_batch_of_twins_belong_together_and_get_the_same_noise() -> None:
    pairs, cells = 5, torch.arange(5.0)
    latents = torch.stack([cells, cells + 100], 1)[:, :, None, None, None].expand(pairs, 2, 4, 2, 2)
    ids = torch.stack([cells, cells + 100], 1)[:, :, None, None].expand(pairs, 2, CAPTIONS, 3)
    bank = TwinBank(latents, ids)
    z, words, places = bank.draw(np.random.default_rng(0), 8, torch.device("cpu"))
    assert (z[4:] - z[:4] == 100).all()
    assert (words[:, 0] == z[:, 0, 0, 0]).all()
    assert (places == 1).all()  # these differ everywhere alike
    noisy, noise, t = NoiseLoss(architectures.scheduler(), torch.zeros(3)).noised(np.random.default_rng(1), z, twins=True)
    assert (noise[:4] == noise[4:]).all()
    assert (t[:4] == t[4:]).all()
    assert noisy.shape == z.shape
    assert len(set(t[:4].tolist())) == 4


def test_twins_are_looked_at_where_they_differ() -> None:
    latents = torch.zeros(1, 2, 4, 4, 4)
    latents[0, 1, :, 0, 0] = 2.0
    _, _, places = TwinBank(latents, torch.zeros(1, 2, CAPTIONS, 3)).draw(np.random.default_rng(0), 2, torch.device("cpu"))
    assert (places[:, 0, 0] == 16).all()
    assert places.sum() == 32
    same = TwinBank(torch.zeros(1, 2, 4, 4, 4), torch.zeros(1, 2, CAPTIONS, 3)).draw(np.random.default_rng(0), 2, torch.device("cpu"))
    assert (same[2] == 0).all()


def test_clips_of_twins_are_looked_at_where_and_when_they_differ_at_their_own_timesteps() -> None:
    frames = 3
    latents = torch.zeros(1, 2, 4, frames, 4, 4)
    latents[0, 1, :, 1, 0, 0] = 2.0
    z, _, places = TwinBank(latents, torch.zeros(1, 2, CAPTIONS, 3)).draw(np.random.default_rng(0), 2, torch.device("cpu"))
    assert z.shape == (2, 4, frames, 4, 4)
    assert places.shape == (2, frames, 4, 4)
    assert (places[:, 1, 0, 0] == 48).all()
    assert places.sum() == 96
    loss = NoiseLoss(architectures.scheduler(), torch.zeros(3), decided=(900, 1000))
    noisy, noise, t = loss.noised(np.random.default_rng(1), z, twins=True)
    assert (t >= 900).all()
    assert noisy.shape == z.shape
    seen, elsewhere = noise.clone(), noise.clone()
    seen[:, :, 1, 0, 0] += 1
    elsewhere[:, :, 2, 3, 3] += 1
    early = torch.full_like(t, 300)
    assert loss(seen, noise, early, places) > 20 * loss(elsewhere, noise, early, places) > 0
