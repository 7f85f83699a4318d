"""Our loop against diffusers' own pipelines, with the same random weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import (
    AnimateDiffPipeline,
    AnimateDiffVideoToVideoControlNetPipeline,
    AnimateDiffVideoToVideoPipeline,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
)
from PIL import Image
from tiny import tiny_networks

from vcd_studio.method.conditioning import condition
from vcd_studio.method.denoise import Control, denoise
from vcd_studio.method.noise_prior import noise_prior
from vcd_studio.method.pictures import decode_latents, encode_frames, to_frames, to_tensor
from vcd_studio.method.protocols import Frames, Networks
from vcd_studio.method.sampling import Sampling
from vcd_studio.method.text_to_video import text_to_video

PROMPT, NEGATIVE = "a dog running in the snow", "blurry"
CLASSES = {
    "ddim": DDIMScheduler, "euler": EulerDiscreteScheduler, "dpm++": DPMSolverMultistepScheduler, "lightning": EulerDiscreteScheduler,
    "lcm": LCMScheduler,
}  # fmt: skip
OPTIONS = {"dpm++": {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True}, "lightning": {"timestep_spacing": "trailing"}}
TOLERANCE = 1e-4
"""Of the largest latent: our attention and feed-forward add up in another order, and guidance makes more of it."""


def theirs(kind: type, networks: Networks, name: str, **extra: object) -> object:
    pipe = kind(
        vae=networks.vae, text_encoder=networks.text_encoder, tokenizer=networks.tokenizer, unet=networks.motion_unet,
        motion_adapter=None, scheduler=CLASSES[name].from_config(networks.scheduler.config, **OPTIONS.get(name, {})), **extra,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def some_clip(frames: int = 4, size: int = 32) -> Frames:
    return np.random.default_rng(0).integers(0, 256, (frames, size, size, 3), np.uint8)


@pytest.mark.parametrize("name", ["ddim", "euler", "dpm++", "lightning"])
@pytest.mark.parametrize("guidance", [7.5, 1.0])
def test_text_to_video_equals_animatediff(networks: Networks, name: str, guidance: float) -> None:
    pipe = theirs(AnimateDiffPipeline, networks, name)
    arguments = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_frames": 4, "num_inference_steps": 5, "guidance_scale": guidance}
    expected = pipe(**arguments, generator=torch.Generator().manual_seed(11), output_type="latent").frames
    sampling = Sampling(steps=5, guidance=guidance, scheduler=name, gamma=0, seed=11)
    plan = sampling.schedule(networks.scheduler.config)
    noise = noise_prior(tuple(expected.shape), 0, sampling.generator("t2v"))
    conditioning = condition(networks, PROMPT, NEGATIVE)
    ours = denoise(networks.motion_unet, plan.start(noise), conditioning, plan, guidance)
    difference = float((ours - expected).abs().max() / expected.abs().max())
    print(f"T2V {name} guidance {guidance}: {difference:.2e}")
    assert difference <= TOLERANCE

    drawn = pipe(**arguments, generator=torch.Generator().manual_seed(11), output_type="pil").frames[0]
    frames = text_to_video(networks, conditioning, sampling, frames=4)
    assert np.abs(frames.astype(int) - np.stack([np.asarray(p) for p in drawn]).astype(int)).max() <= 1


@pytest.mark.parametrize("steps", [1, 4, 8])
def test_lcm_renews_its_noise_from_the_seed_and_equals_animatediff(networks: Networks, steps: int) -> None:
    pipe = theirs(AnimateDiffPipeline, networks, "lcm")
    sampling = Sampling(steps=steps, guidance=1.5, scheduler="lcm", gamma=0.15, seed=11)
    plan = sampling.schedule(networks.scheduler.config)
    noise = noise_prior((1, 4, 4, 8, 8), 0.15, sampling.generator("t2v"))
    arguments = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_frames": 4, "num_inference_steps": steps, "guidance_scale": 1.5}
    expected = pipe(**arguments, latents=noise.clone(), generator=plan.renewal, output_type="latent").frames
    conditioning = condition(networks, PROMPT, NEGATIVE)
    ours = denoise(networks.motion_unet, plan.start(noise), conditioning, plan, 1.5)
    assert torch.allclose(ours, expected, atol=TOLERANCE)
    assert torch.equal(ours, denoise(networks.motion_unet, plan.start(noise), conditioning, plan, 1.5))
    other = Sampling(steps=steps, scheduler="lcm", seed=12).schedule(networks.scheduler.config)
    same = torch.equal(ours, denoise(networks.motion_unet, plan.start(noise), conditioning, other, 1.5))
    assert same == (steps == 1)


def test_lcm_has_so_many_steps_and_no_more(networks: Networks) -> None:
    with pytest.raises(ValueError, match="lcm takes at most 50 steps, not 51"):
        Sampling(steps=51, scheduler="lcm").schedule(networks.scheduler.config)


@pytest.mark.parametrize("name", ["ddim", "euler", "dpm++", "lightning"])
@pytest.mark.parametrize("strength", [0.8, 0.2])
def test_partial_denoise_equals_animatediff_video_to_video(networks: Networks, name: str, strength: float) -> None:
    clip = some_clip()
    pipe = theirs(AnimateDiffVideoToVideoPipeline, networks, name)
    expected = pipe(
        video=[Image.fromarray(frame) for frame in clip], prompt=PROMPT, negative_prompt=NEGATIVE, num_inference_steps=10,
        strength=strength, guidance_scale=7.5, generator=torch.Generator().manual_seed(5), output_type="latent",
        height=32, width=32,
    ).frames  # fmt: skip
    generator = torch.Generator().manual_seed(5)
    latents = encode_frames(to_tensor(clip), networks, generator)
    noise = torch.randn(latents.transpose(1, 2).shape, generator=generator).transpose(1, 2)  # their order of axes
    plan = Sampling(steps=10, scheduler=name).schedule(networks.scheduler.config).tail(strength)
    ours = denoise(networks.motion_unet, plan.renoise(latents, noise), condition(networks, PROMPT, NEGATIVE), plan, 7.5)
    difference = float((ours - expected).abs().max() / expected.abs().max())
    print(f"V2V {name} strength {strength}: {difference:.2e}")
    assert difference <= TOLERANCE


def test_control_equals_animatediff_video_to_video_controlnet() -> None:
    networks = tiny_networks(8, controlnet=True)
    clip = some_clip(size=64)
    pipe = theirs(AnimateDiffVideoToVideoControlNetPipeline, networks, "ddim", controlnet=networks.controlnet)
    images = [Image.fromarray(frame) for frame in clip]
    arguments = {"video": images, "prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": 5, "strength": 0.8}
    size = {"height": 64, "width": 64, "output_type": "latent", "guidance_scale": 7.5}
    expected = pipe(
        **arguments, **size, conditioning_frames=images, controlnet_conditioning_scale=0.7, generator=torch.Generator().manual_seed(5)
    ).frames
    generator = torch.Generator().manual_seed(5)
    pixels = to_tensor(clip)
    latents = encode_frames(pixels, networks, generator)
    noise = torch.randn(latents.transpose(1, 2).shape, generator=generator).transpose(1, 2)
    plan = Sampling(steps=5).schedule(networks.scheduler.config).tail(0.8)
    conditioning = condition(networks, PROMPT, NEGATIVE)
    noisy = plan.renoise(latents, noise)
    control = Control(networks.controlnet, torch.from_numpy(clip).permute(0, 3, 1, 2), 8, 0.7)
    ours = denoise(networks.motion_unet, noisy, conditioning, plan, 7.5, control=control)
    difference = float((ours - expected).abs().max() / expected.abs().max())
    print(f"V2V with ControlNet: {difference:.2e}")
    assert difference <= TOLERANCE
    free = denoise(networks.motion_unet, noisy, conditioning, plan, 7.5)
    assert (free - ours).abs().max() > 1e-3  # the ControlNet does something here


@pytest.mark.parametrize("vae_scale", [4, 8])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_nothing_about_the_networks_is_assumed(vae_scale: int, prediction_type: str) -> None:
    networks = tiny_networks(vae_scale, prediction_type=prediction_type, latent_channels=6, beta_end=0.02, scaling_factor=0.4)
    assert (networks.size, networks.vae_scale, networks.latent_channels) == (8 * vae_scale, vae_scale, 6)
    pipe = theirs(AnimateDiffPipeline, networks, "ddim")
    expected = pipe(
        PROMPT, num_frames=3, num_inference_steps=3, generator=torch.Generator().manual_seed(2), guidance_scale=7.5, output_type="pil"
    ).frames[0]
    ours = text_to_video(networks, condition(networks, PROMPT), Sampling(steps=3, gamma=0, seed=2), frames=3)
    assert ours.shape == (3, 8 * vae_scale, 8 * vae_scale, 3)
    assert np.abs(ours.astype(int) - np.stack([np.asarray(p) for p in expected]).astype(int)).max() <= 1


def test_a_shift_factor_is_honoured_both_ways() -> None:
    plain, shifted = tiny_networks(), tiny_networks(shift_factor=0.5)
    pixels = to_tensor(some_clip())
    latents = encode_frames(pixels, shifted)
    assert torch.allclose(latents, encode_frames(pixels, plain) - 0.5 * 0.18215, atol=1e-6)
    round_trip = to_frames(decode_latents(latents, shifted)).astype(int)
    assert np.abs(round_trip - to_frames(decode_latents(encode_frames(pixels, plain), plain))).max() <= 1


def test_the_draw_of_latents_does_not_depend_on_how_many_frames_the_vae_sees_at_once(networks: Networks) -> None:
    pixels = to_tensor(some_clip(5))
    whole = encode_frames(pixels, networks, torch.Generator().manual_seed(1))
    in_slices = replace(networks, pixels_at_once=2 * 32 * 32)
    assert torch.allclose(encode_frames(pixels, in_slices, torch.Generator().manual_seed(1)), whole, atol=1e-5)
    assert torch.allclose(encode_frames(pixels, networks), encode_frames(pixels, networks), atol=0)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_slices_give_the_same_pictures_but_for_rounding(networks: Networks, frames: int) -> None:
    latents = encode_frames(to_tensor(some_clip(5)), networks)
    whole, sliced = decode_latents(latents, networks), decode_latents(latents, replace(networks, pixels_at_once=frames * 32 * 32))
    assert torch.allclose(sliced, whole, atol=1e-4)
    assert np.abs(to_frames(sliced).astype(int) - to_frames(whole)).max() <= 1
