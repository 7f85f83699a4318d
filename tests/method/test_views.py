"""Context windows and tiles: cut, predict, fuse."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vcd_studio.method.conditioning import Conditioning, condition
from vcd_studio.method.denoise import Cancelled, denoise
from vcd_studio.method.protocols import Networks
from vcd_studio.method.sampling import Sampling
from vcd_studio.method.views import overlapping, tile_size, views_of, window_weights, windows

NOTHING = Conditioning(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3))


@settings(max_examples=60)
@given(length=st.integers(1, 90), size=st.integers(1, 24), data=st.data())
def test_windows_cover_everything_and_weigh_one(length: int, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, size - 1))
    parts = windows(length, size, overlap)
    assert parts[0].start == 0
    assert parts[-1].stop == length
    assert all(part.stop - part.start == min(size, length) for part in parts)
    assert all(a.stop - b.start >= overlap for a, b in pairwise(parts))
    total = torch.zeros(length)
    for part, weight in zip(parts, window_weights(parts, length), strict=True):
        assert (weight > 0).all()
        total[part] += weight
    assert torch.allclose(total, torch.ones(length), atol=1e-6)


def test_an_overlap_as_wide_as_a_window_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        windows(20, 8, 8)


def test_views_of_a_long_wide_clip_weigh_one_everywhere() -> None:
    shape = (40, 24, 16)
    total = torch.zeros(1, 1, *shape)
    views = views_of(shape, context=16, context_overlap=4, tile=8, tile_overlap=4)
    for view in views:
        view.cut(total).add_(view.weight)
    assert len(views) == 3 * 5 * 3
    assert torch.allclose(total, torch.ones_like(total), atol=1e-6)


def test_one_tile_that_covers_everything_is_no_tiling(networks: Networks) -> None:
    conditioning = condition(networks, "a dog", "blurry")
    plan = Sampling(steps=3).schedule(networks.scheduler.config)
    noise = torch.randn((1, 4, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    whole = denoise(networks.motion_unet, noise, conditioning, plan, 7.5)
    views = views_of((4, 8, 8), context=16, context_overlap=4, tile=8, tile_overlap=4)
    assert torch.equal(denoise(networks.motion_unet, noise, conditioning, plan, 7.5, views=views), whole)


def test_tiles_of_a_constant_predictor_give_no_seam() -> None:
    def constant(noisy: torch.Tensor, t: torch.Tensor, encoder_hidden_states: torch.Tensor) -> Any:
        return SimpleNamespace(sample=torch.full_like(noisy, 0.3))

    plan = Sampling(steps=4).schedule({"beta_schedule": "linear"})
    start = torch.ones(1, 4, 20, 8, 12)
    views = views_of((20, 8, 12), context=16, context_overlap=4, tile=8, tile_overlap=4)
    tiled = denoise(constant, start, NOTHING, plan, 7.5, views=views)
    assert len(views) == 4
    assert torch.allclose(tiled, tiled[:, :, :1, :1, :1].expand_as(tiled), atol=1e-5)
    assert torch.allclose(tiled, denoise(constant, start, NOTHING, plan, 7.5), atol=1e-5)


def test_a_clip_longer_than_the_motion_range_is_seen_whole_and_in_pieces_it_can_take(networks: Networks) -> None:
    seen: list[int] = []

    def watching(noisy: torch.Tensor, t: torch.Tensor, **rest: Any) -> Any:
        seen.append(noisy.shape[2])
        return networks.motion_unet(noisy, t, **rest)

    sampling = Sampling(steps=2, context_frames=0)
    views = sampling.views((21, 8, 8), networks.motion_range)
    plan = sampling.schedule(networks.scheduler.config)
    noise = torch.randn((1, 4, 21, 8, 8), generator=torch.Generator().manual_seed(0))
    clean = denoise(watching, noise, condition(networks, "a dog"), plan, 7.5, views=views)
    assert clean.isfinite().all()
    assert (clean - noise).abs().amin((0, 1, 3, 4)).shape == (21,)
    assert seen == [16] * 4  # two windows, two steps
    assert {i for view in views for i in range(view.frames.start, view.frames.stop)} == set(range(21))


def test_conditioning_may_differ_from_frame_to_frame(networks: Networks) -> None:
    dog, cat = condition(networks, "a dog"), condition(networks, "a cat")
    travel = Conditioning(torch.cat([dog.positive, dog.positive, cat.positive]), dog.negative)
    rows = travel.batch(slice(1, 3), guided=True)
    assert torch.equal(rows, torch.cat([dog.negative, dog.negative, dog.positive, cat.positive]))


def test_the_prompts_keys_are_computed_once_per_clip_and_the_network_is_left_as_it_was(networks: Networks) -> None:
    conditioning = condition(networks, "a dog", "blurry")
    plan = Sampling(steps=3).schedule(networks.scheduler.config)
    noise = torch.randn((1, 4, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    unet = networks.motion_unet
    before = unet.attn_processors
    cross = [module for name, module in unet.named_modules() if name.endswith("attn2") and module.to_k.in_features == 32]
    calls: list[int] = []
    handles = [module.to_k.register_forward_hook(lambda *_: calls.append(1)) for module in cross if "motion" not in str(type(module))]
    remembered = denoise(unet, noise, conditioning, plan, 7.5)
    once = len(calls)
    assert unet.attn_processors == before

    def plain(noisy: torch.Tensor, t: torch.Tensor, **rest: Any) -> Any:
        return unet(noisy, t, **rest)

    calls.clear()
    slowly = denoise(plain, noise, conditioning, plan, 7.5)
    assert (slowly - remembered).abs().max() <= 1e-5 * slowly.abs().max()  # added up in another order
    for handle in handles:
        handle.remove()
    assert 0 < once < len(calls)


def test_a_callback_sees_every_step_and_cancels_between_two(networks: Networks) -> None:
    steps: list[tuple[int, int]] = []

    def stop_at_two(step: int, of: int, clean: torch.Tensor) -> None:
        steps.append((step, of))
        assert clean.shape == (1, 4, 2, 8, 8)
        if step == 2:
            raise Cancelled

    plan = Sampling(steps=5).schedule(networks.scheduler.config)
    processors = networks.motion_unet.attn_processors
    with pytest.raises(Cancelled):
        denoise(networks.motion_unet, torch.zeros(1, 4, 2, 8, 8), condition(networks, "a dog"), plan, on_step=stop_at_two)
    assert steps == [(1, 5), (2, 5)]
    assert networks.motion_unet.attn_processors == processors


@pytest.mark.parametrize("name", ["ddim", "euler", "dpm++", "lightning", "lcm"])
def test_a_schedule_can_be_walked_twice_and_its_estimate_ends_clean(networks: Networks, name: str) -> None:
    plan = Sampling(steps=4, scheduler=name).schedule(networks.scheduler.config)
    noise = plan.start(torch.randn((1, 4, 2, 8, 8), generator=torch.Generator().manual_seed(0)))
    conditioning = condition(networks, "a dog")
    estimates: list[torch.Tensor] = []
    first = denoise(networks.motion_unet, noise, conditioning, plan, on_step=lambda *event: estimates.append(event[2]))
    assert torch.equal(first, denoise(networks.motion_unet, noise, conditioning, plan))
    assert len(estimates) == 4
    assert all(e.isfinite().all() for e in estimates)
    if name != "ddim":  # DDIM's last step keeps the first alpha of the training
        assert torch.allclose(estimates[-1], first, atol=1e-4)


def test_tails(networks: Networks) -> None:
    plan = Sampling(steps=25).schedule(networks.scheduler.config)
    assert [len(plan.tail(s)) for s in (0, 0.01, 0.2, 0.8, 1)] == [0, 1, 5, 20, 25]
    clean = torch.ones(1, 4, 2, 8, 8)
    assert torch.equal(plan.tail(0).renoise(clean, torch.zeros_like(clean)), clean)
    with pytest.raises(ValueError, match="strength"):
        plan.tail(1.2)


@pytest.mark.parametrize("name", ["ddim", "euler", "dpm++", "lightning", "lcm"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_shortest_ways_work_too(networks: Networks, name: str, steps: int) -> None:
    plan = Sampling(steps=steps, scheduler=name).schedule(networks.scheduler.config)
    clean = torch.randn((1, 4, 2, 8, 8), generator=torch.Generator().manual_seed(0))
    for strength in (0.0, 0.1, 1.0):
        tail = plan.tail(strength)
        out = denoise(networks.motion_unet, tail.renoise(clean, torch.ones_like(clean)), condition(networks, "a dog"), tail)
        assert out.isfinite().all()
    with pytest.raises(ValueError, match="step"):
        Sampling(steps=0).schedule(networks.scheduler.config)
    with pytest.raises(ValueError, match="ddim, euler, dpm"):
        Sampling(scheduler="lms").schedule(networks.scheduler.config)


@pytest.mark.parametrize(
    ("shape", "overlap", "larger", "side"),
    [
        ((128, 128), 0.2, 0.25, 72),  # 2 × 2 tiles, and not 3 × 3
        ((128, 128), 0.5, 0.25, 64),  # there would be 3 × 3 of the larger ones too
        ((128, 128), 0.0, 0.25, 64),
        ((128, 128), 0.2, 0.0, 64),
        ((128, 192), 0.2, 0.25, 80),
        ((64, 64), 0.2, 0.25, 64),
        ((40, 24), 0.2, 0.25, 64),
    ],
)
def test_tiles_are_larger_where_fewer_will_then_do(shape: tuple[int, int], overlap: float, larger: float, side: int) -> None:
    assert tile_size(shape, 64, overlap, 8, larger) == side


@given(st.tuples(st.integers(1, 120), st.integers(1, 120)), st.integers(8, 64), st.floats(0, 0.9))
def test_larger_tiles_never_cost_more_and_overlap_as_they_are_to(shape: tuple[int, int], size: int, overlap: float) -> None:
    def cost(side: int) -> int:
        views = views_of((1, *shape), context=1, tile=side, tile_overlap=overlapping(side, overlap))
        return sum((v.rows.stop - v.rows.start) * (v.columns.stop - v.columns.start) for v in views)

    side = tile_size(shape, size, overlap)
    assert size <= side <= 1.25 * size
    assert cost(side) <= cost(size)
