"""Pictures to latents and back, with the VAE's own factors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vcd_studio.method.protocols import Frames, Networks


def to_tensor(frames: Frames, device: torch.device | str = "cpu") -> Tensor:
    """(f, h, w, 3) 0..255 to (f, 3, h, w) -1..1."""
    return torch.from_numpy(np.array(frames)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_frames(pictures: Tensor) -> Frames:
    """(f, 3, h, w) -1..1 to (f, h, w, 3) 0..255."""
    frames: Frames = ((pictures.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return frames


def _chunks(frames: Tensor, pixels: int, networks: Networks) -> tuple[Tensor, ...]:
    return torch.split(frames, max(1, networks.pixels_at_once // pixels))


@torch.inference_mode()
def encode_frames(frames: Tensor, networks: Networks, generator: torch.Generator | None = None) -> Tensor:
    """Pictures (f, 3, h, w) in -1..1 to a latent clip (1, c, f, h', w'): a draw from the posterior, or its mean without a generator.

    The draw is one for all frames, so it does not depend on how many of them the VAE sees at a time.
    """
    vae = networks.vae
    chunks = _chunks(frames, frames.shape[-1] * frames.shape[-2], networks)
    posteriors = [vae.encode(chunk.to(networks.device, vae.dtype)).latent_dist for chunk in chunks]
    latents = torch.cat([posterior.mean for posterior in posteriors])
    if generator:
        spread = torch.cat([posterior.std for posterior in posteriors])
        noise = torch.randn(latents.shape, generator=generator, device=generator.device, dtype=latents.dtype)
        latents = latents + spread * noise.to(latents.device)
    latents = (latents - (vae.config.get("shift_factor") or 0)) * vae.config["scaling_factor"]
    clip: Tensor = latents.to(networks.dtype).transpose(0, 1)[None]
    return clip


@torch.inference_mode()
def decode_latents(latents: Tensor, networks: Networks) -> Tensor:
    """A latent clip (1, c, f, h', w') to pictures (f, 3, h, w), about -1..1, fp32."""
    vae = networks.vae
    frames = latents[0].transpose(0, 1) / vae.config["scaling_factor"] + (vae.config.get("shift_factor") or 0)
    pixels = frames.shape[-1] * frames.shape[-2] * networks.vae_scale**2
    return torch.cat([vae.decode(chunk.to(vae.dtype)).sample.float() for chunk in _chunks(frames, pixels, networks)])
