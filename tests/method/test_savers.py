"""Savers of time: off they change nothing, on they leave out just the work that they say, and the network is left as it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_networks

from vcd_studio.method.conditioning import condition
from vcd_studio.method.denoise import Control, denoise
from vcd_studio.method.protocols import Networks
from vcd_studio.method.sampling import Sampling
from vcd_studio.method.savers import NOTHING_SAVED, Savers
from vcd_studio.method.step_cache import cached_steps
from vcd_studio.method.token_merging import draw, match, merged_tokens
from vcd_studio.method.views import View, views_of

STEPS = 6
NOISE = torch.randn((1, 4, 4, 8, 8), generator=torch.Generator().manual_seed(0))


def made(networks: Networks, savers: Savers = NOTHING_SAVED, noise: torch.Tensor = NOISE, **named: Any) -> torch.Tensor:
    plan = Sampling(steps=STEPS).schedule(networks.scheduler.config)
    return denoise(networks.motion_unet, noise, condition(networks, "a dog", "blurry"), plan, 7.5, savers=savers, **named)


@contextmanager
def counted(**modules: torch.nn.Module) -> Iterator[Counter[str]]:
    """How many rows (clips or frames) each module has seen, by its name here."""
    seen: Counter[str] = Counter()

    def count(name: str) -> Callable[..., None]:
        return lambda _, rest, named: seen.update({name: len([*rest, *named.values()][0])})

    handles = [module.register_forward_pre_hook(count(name), with_kwargs=True) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def forwards(unet: torch.nn.Module) -> list[Any]:
    return [vars(module).get("forward") for module in unet.modules()]


@pytest.mark.parametrize("off", [Savers(0.0, 1.0), Savers(cache_every=1), Savers(merge_tokens=0.0)])
def test_what_is_off_changes_no_bit(networks: Networks, off: Savers) -> None:
    plan = Sampling(steps=STEPS).schedule(networks.scheduler.config)
    plain = denoise(networks.motion_unet, NOISE, condition(networks, "a dog", "blurry"), plan, 7.5)
    assert torch.equal(made(networks, off), plain)


@pytest.mark.parametrize("on", [Savers(0.2, 0.8), Savers(cache_every=3), Savers(merge_tokens=0.5), Savers(0.2, 0.8, 2, 0.5)])
def test_what_is_on_makes_another_clip_the_same_each_time_and_leaves_the_network_as_it_was(networks: Networks, on: Savers) -> None:
    before = forwards(networks.motion_unet)
    once = made(networks, on)
    assert once.isfinite().all()
    assert not torch.equal(once, made(networks))
    assert torch.equal(once, made(networks, on))
    assert forwards(networks.motion_unet) == before


def test_a_network_is_as_it_was_when_a_clip_is_broken_off(networks: Networks) -> None:
    before = forwards(networks.motion_unet)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(networks, Savers(cache_every=2, merge_tokens=0.5), on_step=stop)
    assert forwards(networks.motion_unet) == before


def test_a_job_of_an_older_release_knows_no_savers() -> None:
    older = {"steps": 12, "scheduler": "euler", "fps": 8}
    assert Sampling.told(older, seed=3) == Sampling(steps=12, scheduler="euler", seed=3)
    told = Sampling.told({**older, "cache_every": 2, "merge_tokens": 0.0}, seed=3)
    assert told.savers.on == {"cache_every": 2}


# ── Guidance on part of the way ─────────────────────────────────────────────────────────────────────────────────────


def test_guidance_is_left_out_outside_of_its_part_of_the_way(networks: Networks) -> None:
    with counted(unet=networks.motion_unet) as seen:
        made(networks, Savers(guidance_from=0.5))
    assert seen["unet"] == 3 * 1 + 3 * 2


def test_without_a_part_that_is_guided_a_clip_is_one_without_guidance(networks: Networks) -> None:
    plan = Sampling(steps=STEPS).schedule(networks.scheduler.config)
    unguided = denoise(networks.motion_unet, NOISE, condition(networks, "a dog", "blurry"), plan, 1.0)
    assert torch.equal(made(networks, Savers(guidance_until=0.0)), unguided)


def test_a_tail_stands_at_the_end_of_the_whole_way(networks: Networks) -> None:
    tail = Sampling(steps=10).schedule(networks.scheduler.config).tail(0.2)
    assert tail.places == [0.8, 0.9]
    assert Savers(guidance_from=0.1, guidance_until=0.9).guidances(7.5, tail.fresh().places) == [7.5, 1.0]


# ── Step caching ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("every", "whole"), [(1, 6), (2, 3), (4, 2), (9, 1)])
def test_the_inner_blocks_run_at_every_so_manyth_step(networks: Networks, every: int, whole: int) -> None:
    unet = networks.motion_unet
    outer = {"down": unet.down_blocks[0].resnets[0], "up": unet.up_blocks[1].resnets[0]}
    inner = {"deep down": unet.down_blocks[1].resnets[0], "middle": unet.mid_block.resnets[0], "deep up": unet.up_blocks[0].resnets[0]}
    with counted(**outer, **inner) as seen:
        made(networks, Savers(cache_every=every))
    frames = 2 * NOISE.shape[2]
    assert seen == dict.fromkeys(outer, frames * STEPS) | dict.fromkeys(inner, frames * whole)


def test_a_step_on_what_was_just_seen_is_the_whole_step_again(networks: Networks) -> None:
    unet, t = networks.motion_unet, torch.tensor(500)
    text = condition(networks, "a dog").batch(slice(0, 4), guided=False)
    with torch.inference_mode(), cached_steps(unet, 2):
        whole, cached = (unet(NOISE, t, encoder_hidden_states=text).sample for _ in range(2))
    assert torch.equal(whole, cached)


def test_views_are_not_taken_for_one_another(networks: Networks) -> None:
    """Two windows that are one and the same clip, and a third that is another."""
    unet, t = networks.motion_unet, torch.tensor(500)
    text = condition(networks, "a dog").batch(slice(0, 4), guided=False)
    views = [NOISE, NOISE.flip(-1)]
    with torch.inference_mode(), cached_steps(unet, 2, views=2):
        whole, cached = ([unet(view, t, encoder_hidden_states=text).sample for view in views] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(whole, cached, strict=True))


def test_tiles_and_windows_are_cached_each_for_itself(networks: Networks) -> None:
    noise = torch.randn((1, 4, 4, 12, 8), generator=torch.Generator().manual_seed(0))
    views: list[View] = views_of(noise.shape[2:], context=4, tile=8, tile_overlap=4)
    unet = networks.motion_unet
    with counted(deep=unet.mid_block.resnets[0]) as seen:
        made(networks, Savers(cache_every=3), noise, views=views)
    assert len(views) == 2
    assert seen["deep"] == 2 * (2 * 4) * 2


def test_when_guidance_begins_the_step_is_a_whole_one(networks: Networks) -> None:
    unet = networks.motion_unet
    with counted(deep=unet.mid_block.resnets[0]) as seen:
        made(networks, Savers(guidance_from=0.5, cache_every=9))
    assert seen["deep"] == 4 + 2 * 4  # one side of four frames at the first step, both at the fourth


def test_a_controlnet_reaches_the_outer_skips_of_a_cached_step() -> None:
    networks = tiny_networks(controlnet=True)
    unet, t = networks.motion_unet, torch.tensor(500)
    text = condition(networks, "a dog").batch(slice(0, 4), guided=False)
    white, black = (Control(networks.controlnet, torch.full((4, 3, 32, 32), colour), 4).residuals(NOISE, t, text) for colour in (1.0, 0.0))
    with torch.inference_mode(), cached_steps(unet, 3):
        whole, cached, other = (unet(NOISE, t, encoder_hidden_states=text, **control).sample for control in (white, white, black))
    assert torch.equal(whole, cached)
    assert not torch.allclose(cached, other)
    clip = made(networks, Savers(cache_every=2), control=Control(networks.controlnet, torch.rand(4, 3, 32, 32), 4))
    assert clip.isfinite().all()


# ── Token merging ───────────────────────────────────────────────────────────────────────────────────────────────────


@given(rows=st.integers(2, 9), columns=st.integers(2, 9), seed=st.integers(0, 9))
def test_one_cell_of_two_by_two_is_drawn(rows: int, columns: int, seed: int) -> None:
    targets, sources = draw((rows, columns), torch.Generator().manual_seed(seed))
    assert sorted([*targets.tolist(), *sources.tolist()]) == list(range(rows * columns))
    squares = {(place // columns // 2, place % columns // 2) for place in targets.tolist()}
    assert len(squares) == len(targets) == (rows // 2) * (columns // 2)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_cells_that_are_alike_are_given_back_as_they_were(share: float) -> None:
    """Four colours in stripes of which each square of two by two has but one: whoever is merged, nothing is lost."""
    colours = torch.randn((1, 4, 3), generator=torch.Generator().manual_seed(1)).repeat_interleave(16, 1)
    merging = match(colours, (8, 8), share, torch.Generator().manual_seed(0))
    fewer = merging.merge(colours)
    assert fewer.shape == (1, 64 - int(64 * share), 3)
    assert torch.allclose(merging.unmerge(fewer), colours, atol=1e-6)


def test_the_most_alike_are_merged_into_their_mean() -> None:
    cells = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [3.0, 0.0], [-1.0, 0.0]]])  # the target drawn is any of them: all are tried
    for seed in range(8):
        merging = match(cells, (2, 2), 0.25, torch.Generator().manual_seed(seed))
        (target,), (merged,) = merging.targets.tolist(), merging.merged[0].tolist()
        back = merging.unmerge(merging.merge(cells))
        assert torch.equal(back[0, target], (cells[0, target] + cells[0, merged]) / 2)
        assert torch.equal(back[0, merged], back[0, target])
        assert {target, merged} == {0, 2} or target not in (0, 2)
        assert all(torch.equal(back[0, place], cells[0, place]) for place in merging.kept[0].tolist())


def test_the_outermost_attention_is_the_only_one_that_sees_fewer_cells(networks: Networks) -> None:
    unet = networks.motion_unet
    outer, inner = unet.down_blocks[0].attentions[0], unet.mid_block.attentions[0]
    cells: dict[str, int] = {}
    handles = [
        layer.register_forward_pre_hook(lambda _, rest, name=name: cells.update({name: rest[0].shape[1]}))
        for name, layer in (("outer", outer.transformer_blocks[0].attn1.to_q), ("inner", inner.transformer_blocks[0].attn1.to_q))
    ]
    try:
        with torch.inference_mode(), merged_tokens(unet, 0.5):
            unet(NOISE, torch.tensor(500), encoder_hidden_states=condition(networks, "a dog").batch(slice(0, 4), guided=False))
    finally:
        for handle in handles:
            handle.remove()
    assert cells == {"outer": 32, "inner": 16}


def test_a_clip_of_one_row_has_nothing_to_merge(networks: Networks) -> None:
    unet, noise = networks.motion_unet, NOISE[..., :1]
    text = condition(networks, "a dog").batch(slice(0, 4), guided=False)
    with torch.inference_mode():
        plain = unet(noise, torch.tensor(500), encoder_hidden_states=text).sample
        with merged_tokens(unet, 0.5):
            assert torch.equal(unet(noise, torch.tensor(500), encoder_hidden_states=text).sample, plain)


