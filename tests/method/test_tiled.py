"""The tiled stage: no seams, right sizes, ControlNet per tile; and the preview."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_networks

from vcd_studio.method.conditioning import condition
from vcd_studio.method.denoise import Control, denoise
from vcd_studio.method.pictures import encode_frames, to_tensor
from vcd_studio.method.preview import LatentPreview
from vcd_studio.method.protocols import Frames, Networks
from vcd_studio.method.sampling import Sampling
from vcd_studio.method.savers import Savers
from vcd_studio.method.tiled import seam_score, tile_borders, tiled, upscale

SAMPLING = Sampling(steps=5)


def smooth_clip(frames: int = 3, size: int = 32) -> Frames:
    y, x = np.mgrid[:size, :size] / size
    pictures = [np.stack([128 + 100 * np.sin(4 * x + i), 128 + 100 * np.cos(3 * y), 80 + 90 * x * y], -1) for i in range(frames)]
    return np.stack(pictures).astype(np.uint8)


class Doubler:
    """An upscaler of another factor, by repeating pixels."""

    def __init__(self, scale: int) -> None:
        self.scale = scale

    def upscale(self, frames: torch.Tensor) -> torch.Tensor:
        return frames.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)


class LinearVAE:
    """Latents that are mixed colours, so that the best linear guess is exact."""

    dtype = torch.float32

    def __init__(self, vae_scale: int) -> None:
        self.config = {"block_out_channels": [1] * {4: 3, 8: 4}[vae_scale], "scaling_factor": 0.3}
        self.scale = vae_scale
        self.mix = torch.randn((5, 3), generator=torch.Generator().manual_seed(0))

    def encode(self, pictures: torch.Tensor) -> Any:
        small = torch.nn.functional.avg_pool2d(pictures, self.scale)
        latents = torch.einsum("kc,fchw->fkhw", self.mix, small) + 0.7
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=latents, std=torch.zeros_like(latents)))


def test_the_seam_score_is_one_on_smooth_content_and_more_on_a_seam() -> None:
    rows, columns = [32, 64, 96], [32, 64, 96]
    clip = smooth_clip(size=128)
    noise = np.random.default_rng(0).integers(0, 256, (4, 128, 128, 3), np.uint8)
    assert seam_score(clip, rows, columns) == pytest.approx(1, abs=0.05)
    assert seam_score(noise, rows, columns) == pytest.approx(1, abs=0.05)
    pasted = clip.astype(int)
    pasted[:, 32:64] += 12
    assert seam_score(pasted.clip(0, 255).astype(np.uint8), rows, columns) > 1.5
    assert seam_score(clip, [], []) == 1
    assert seam_score(np.full_like(clip, 9), rows, columns) == 1


@pytest.mark.parametrize("vae_scale", [4, 8])
@pytest.mark.parametrize("scheduler", ["ddim", "euler", "dpm++"])
@pytest.mark.parametrize(("overlap", "tiles"), [(0.2, 4), (0.5, 9)])
def test_twice_the_size_in_overlapping_tiles(vae_scale: int, scheduler: str, overlap: float, tiles: int) -> None:
    networks = tiny_networks(vae_scale, controlnet=True)
    clip = smooth_clip(size=networks.size)
    steps: list[tuple[int, int]] = []
    result, report = tiled(
        networks, clip, condition(networks, "a dog"), replace(SAMPLING, scheduler=scheduler), strength=0.4,
        overlap=overlap, on_step=lambda step, of, clean: steps.append((step, of)),
    )  # fmt: skip
    assert result.shape == (3, 2 * networks.size, 2 * networks.size, 3)
    assert result.dtype == np.uint8
    assert (report.tiles, report.controlled, report.size) == (tiles, True, result.shape[1:3])
    assert steps == [(1, 2), (2, 2)]
    assert np.isfinite(report.seam_score)


def test_odd_sizes_come_out_exactly_and_without_a_controlnet(networks: Networks) -> None:
    clip = smooth_clip()[:, :27, :31]
    result, report = tiled(networks, clip, condition(networks, "a dog"), SAMPLING)
    assert result.shape == (3, 54, 62, 3)
    assert not report.controlled


def test_tiles_that_disagree_leave_no_seam_because_they_are_fused_at_every_step() -> None:
    def score(side: int, tile: int, overlap: int) -> float:
        """The seam score where every tile, at every step, is predicted with an error of its own."""
        errors = iter(torch.randn(200, generator=torch.Generator().manual_seed(4)).tolist())

        def moody(noisy: torch.Tensor, t: torch.Tensor, **rest: Any) -> Any:
            return SimpleNamespace(sample=torch.full_like(noisy, next(errors)))

        y, x = torch.meshgrid(torch.linspace(0, 6, side), torch.linspace(0, 6, side), indexing="ij")
        start = (torch.sin(x) + torch.cos(y)).expand(1, 4, 2, side, side)
        views = SAMPLING.views((2, side, side), 16, tile=tile, tile_overlap=overlap)
        plan = SAMPLING.schedule({"beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012}).tail(0.8)
        clean = denoise(moody, start, condition(tiny_networks(), "a dog"), plan, 1, views=views)
        frames = ((clean[0, :3] - clean.min()) / (clean.max() - clean.min()) * 255).to(torch.uint8).movedim(0, -1).numpy()
        return seam_score(frames, *tile_borders(views, 1))

    assert score(64, tile=16, overlap=0) > 1.5
    assert score(64, tile=16, overlap=8) < 1.05
    assert score(128, tile=72, overlap=14) < 1.05, "the usual four of them"


def test_upscalers_of_any_factor_end_at_the_wanted_size(networks: Networks) -> None:
    clip = smooth_clip()
    for scale in (2, 4):
        large = upscale(clip, replace(networks, upscaler=Doubler(scale)))
        assert large.shape == (3, 3, 64, 64)
        assert torch.allclose(torch.nn.functional.avg_pool2d(large, 2), to_tensor(clip), atol=0.12)
    assert upscale(clip, networks).shape == (3, 3, 64, 64)


def test_every_tile_sees_its_own_part_of_the_condition() -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def control_network(pictures: torch.Tensor, t: torch.Tensor, controlnet_cond: torch.Tensor, **rest: Any) -> Any:
        seen.append((pictures, controlnet_cond))
        return (), torch.zeros(1)

    def unet(noisy: torch.Tensor, t: torch.Tensor, **rest: Any) -> Any:
        return SimpleNamespace(sample=torch.zeros_like(noisy))

    networks = tiny_networks()
    place = torch.arange(16 * 12.0).reshape(1, 1, 1, 16, 12).expand(1, 4, 2, 16, 12)
    pictures = place[0].transpose(0, 1)[:, :3].repeat_interleave(4, 2).repeat_interleave(4, 3).to(torch.uint8)
    sampling = Sampling(steps=1)
    views = sampling.views((2, 16, 12), 16, tile=8, tile_overlap=4)
    plan = sampling.schedule(networks.scheduler.config)
    denoise(unet, place, condition(networks, "a dog"), plan, 7.5, views=views, control=Control(control_network, pictures, 4))
    assert len(seen) == len(views) == 6
    for latents, cond in seen:
        assert latents.shape == (4, 4, 8, 8)
        assert cond.shape == (4, 3, 32, 32)
        assert torch.equal(latents[:, :3] / 255, cond[:, :, ::4, ::4])


@pytest.mark.parametrize(("may", "calls"), [(1 << 20, 4), (0, 12)])
def test_what_a_controlnet_sees_at_full_size_it_sees_once(may: int, calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By four tiles, in three steps, the last two of which are guided."""
    networks = tiny_networks(controlnet=True)
    with torch.no_grad():  # a new one's zeros would hide what it sees
        for parameter in networks.controlnet.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
    clip, words = smooth_clip(size=networks.size), condition(networks, "a dog", "blurry")
    sampling = Sampling(steps=6, savers=Savers(guidance_from=0.8))
    plain, _ = tiled(networks, clip, words, sampling, strength=0.5)
    seen: list[int] = []
    networks.controlnet.controlnet_cond_embedding.conv_in.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    monkeypatch.setattr("vcd_studio.method.denoise.REMEMBERED", may)
    ours, report = tiled(networks, clip, words, sampling, strength=0.5)
    assert (report.tiles, seen) == (4, [len(clip)] * calls)
    assert np.array_equal(ours, plain)


def test_two_clips_see_the_same_condition_in_each_step() -> None:
    networks = tiny_networks(controlnet=True)
    seen: list[int] = []
    networks.controlnet.controlnet_cond_embedding.register_forward_hook(lambda _, given, made: seen.append(len(made)))
    sampling, side = Sampling(steps=2), networks.size // networks.vae_scale
    control = Control(networks.controlnet, torch.zeros(3, 3, networks.size, networks.size, dtype=torch.uint8), networks.vae_scale)
    noise = torch.randn(2, networks.latent_channels, 3, side, side)
    denoise(networks.motion_unet, noise, condition(networks, "a dog"), sampling.schedule(networks.scheduler.config), 7.5, control=control)
    assert seen == [2 * 2 * 3] * 2


def test_tile_borders_are_inside_the_picture() -> None:
    views = SAMPLING.views((2, 16, 8), 16, tile=8, tile_overlap=4)
    assert tile_borders(views, 4) == ([16, 32, 48], [])


def test_long_clips_are_windowed_and_tiled_at_once() -> None:
    networks = tiny_networks(motion_range=4)
    result, report = tiled(networks, smooth_clip(frames=6), condition(networks, "a dog"), replace(SAMPLING, context_overlap=2))
    assert result.shape[0] == 6
    assert report.tiles == 4


@pytest.mark.parametrize("vae_scale", [4, 8])
def test_a_preview_is_the_best_linear_guess_at_the_colours(vae_scale: int) -> None:
    networks = replace(tiny_networks(), vae=LinearVAE(vae_scale))
    clip = smooth_clip(size=8 * vae_scale)
    small = LatentPreview(networks).frames(encode_frames(to_tensor(clip), networks))
    assert small.shape == (3, 8, 8, 3)
    assert small.dtype == np.uint8
    truth = clip.reshape(3, 8, vae_scale, 8, vae_scale, 3).mean((2, 4))
    assert np.abs(small - truth).max() <= 1


def test_a_preview_of_a_real_vae_is_a_picture(networks: Networks) -> None:
    small = LatentPreview(networks).frames(torch.zeros(1, 4, 2, 8, 8))
    assert small.shape == (2, 8, 8, 3)
