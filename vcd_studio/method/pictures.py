"""Pictures to latents and back, with the VAE's own factors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vcd_studio.method.protocols import Frames, Networks

PIXELS_AT_ONCE = 16 * 512 * 512
"""The VAE sees as many frames at a time as fit in this many pixels (a clip of the paper's size in one go)."""


def to_tensor(frames: Frames, device: torch.device | str = "cpu") -> Tensor:
    """(f, h, w, 3) 0..255 to (f, 3, h, w) -1..1."""
    return torch.from_numpy(np.array(frames)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_frames(pictures: Tensor) -> Frames:
    """(f, 3, h, w) -1..1 to (f, h, w, 3) 0..255."""
    frames: Frames = ((pictures.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return frames


def _chunks(frames: Tensor, pixels: int) -> tuple[Tensor, ...]:
    return frames.split(max(1, PIXELS_AT_ONCE // pixels))


@torch.inference_mode()
def encode_frames(frames: Tensor, networks: Networks, generator: torch.Generator | None = None) -> Tensor:
    """Pictures (f, 3, h, w) in -1..1 to a latent clip (1, c, f, h', w'): a draw from the posterior, or its mode without a generator."""
    vae = networks.vae
    parts = []
    for chunk in _chunks(frames, frames.shape[-1] * frames.shape[-2]):
        posterior = vae.encode(chunk.to(networks.device, vae.dtype)).latent_dist
        parts.append(posterior.sample(generator) if generator else posterior.mode())
    latents = (torch.cat(parts) - (vae.config.get("shift_factor") or 0)) * vae.config["scaling_factor"]
    return latents.to(networks.dtype).transpose(0, 1)[None]


@torch.inference_mode()
def decode_latents(latents: Tensor, networks: Networks) -> Tensor:
    """A latent clip (1, c, f, h', w') to pictures (f, 3, h, w), about -1..1, fp32."""
    vae = networks.vae
    frames = latents[0].transpose(0, 1) / vae.config["scaling_factor"] + (vae.config.get("shift_factor") or 0)
    pixels = frames.shape[-1] * frames.shape[-2] * networks.vae_scale**2
    return torch.cat([vae.decode(chunk.to(vae.dtype)).sample.float() for chunk in _chunks(frames, pixels)])
