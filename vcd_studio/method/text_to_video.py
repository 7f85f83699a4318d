"""T2V: from pure noise to a clip (paper section 4.1)."""

from __future__ import annotations

import torch

from vcd_studio.method.conditioning import Conditioning
from vcd_studio.method.denoise import FrameByFrame, OnStep, denoise
from vcd_studio.method.noise_prior import noise_prior
from vcd_studio.method.pictures import decode_frames
from vcd_studio.method.protocols import Frames, MethodError, Networks
from vcd_studio.method.sampling import Sampling


def text_to_video(
    networks: Networks,
    conditioning: Conditioning,
    sampling: Sampling,
    *,
    frames: int = 16,
    height: int | None = None,
    width: int | None = None,
    on_step: OnStep | None = None,
) -> Frames:
    """A clip (frames, height, width, 3); the size defaults to the model's own. Raises MethodError for a size the VAE cannot make."""
    height, width = height or networks.size, width or networks.size
    if height % networks.vae_scale or width % networks.vae_scale:
        raise MethodError(f"The size {width}×{height} must be a multiple of {networks.vae_scale} pixels.")
    shape = (frames, height // networks.vae_scale, width // networks.vae_scale)
    schedule = sampling.schedule(networks.scheduler.config)
    noise = noise_prior((1, networks.latent_channels, *shape), sampling.gamma, sampling.generator("t2v"), networks.device, networks.dtype)
    views = sampling.views(shape, networks.motion_range)
    clip = denoise(
        networks.motion_unet,
        schedule.start(noise),
        conditioning,
        schedule,
        sampling.guidance,
        views=views,
        savers=sampling.savers,
        on_step=on_step,
    )
    return decode_frames(clip, networks)


def text_to_pictures(
    networks: Networks, conditioning: Conditioning, sampling: Sampling, *, count: int = 1, on_step: OnStep | None = None
) -> Frames:
    """``count`` pictures (count, h, w, 3), each from noise of its own, by the picture UNet: one with motion, which learnt on clips,
    burns single frames."""
    side = networks.size // networks.vae_scale
    schedule = sampling.schedule(networks.scheduler.config)
    shape = (1, networks.latent_channels, count, side, side)
    noise = torch.randn(shape, generator=sampling.generator("t2v")).to(networks.device, networks.dtype)
    pictures = denoise(FrameByFrame(networks.unet), schedule.start(noise), conditioning, schedule, sampling.guidance, on_step=on_step)
    return decode_frames(pictures, networks)
