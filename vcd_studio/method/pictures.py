"""Pictures to latents and back, with the VAE's own factors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from vcd_studio.method.fused.running import quickly
from vcd_studio.method.protocols import Frames, Networks

NEAR = 128 << 20
"""Bytes of a clip's frames that may lie on the card beside what makes them: 40 frames of 1024²."""


def to_tensor(frames: Frames | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """(f, h, w, 3) 0..255 to (f, 3, h, w) -1..1."""
    bytes_of = frames if isinstance(frames, Tensor) else torch.from_numpy(np.array(frames))
    return bytes_of.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_frames(pictures: Tensor) -> Frames:
    """(f, 3, h, w) -1..1 to (f, h, w, 3) 0..255."""
    frames: Frames = to_bytes(pictures).cpu().numpy()
    return frames


def to_bytes(pictures: Tensor) -> Tensor:
    """``to_frames``, but that they stay where the pictures are."""
    return ((pictures.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)


def blank_frames(count: int, height: int, width: int, networks: Networks) -> Tensor:
    """(f, h, w, 3) bytes, to be filled: on the networks' device where they are few, else in the machine's memory. A card that hands over
    each picture when it is made has nothing to do until it is told of the next."""
    size = (count, height, width, 3)
    return torch.empty(size, dtype=torch.uint8, device=networks.device if math.prod(size) <= NEAR else "cpu")


def near(frames: Frames, networks: Networks) -> Tensor:
    """The frames, where ``blank_frames`` has theirs."""
    count, height, width = frames.shape[:3]
    return blank_frames(count, height, width, networks).copy_(torch.from_numpy(np.array(frames)))


def _together(pictures: Iterable[Tensor], networks: Networks) -> Iterator[Tensor]:
    """Pictures (3, h, w) in batches of as many as the VAE may see at a time."""
    batch: list[Tensor] = []
    for picture in pictures:
        batch.append(picture)
        if len(batch) >= networks.pixels_at_once // (picture.shape[-1] * picture.shape[-2]):
            yield torch.stack(batch)
            batch = []
    if batch:
        yield torch.stack(batch)


@torch.inference_mode()
def encode_frames(frames: Iterable[Tensor], networks: Networks, generator: torch.Generator | None = None) -> Tensor:
    """Pictures (3, h, w) in -1..1 to a latent clip (1, c, f, h', w'): a draw from the posterior, or its mean without a generator.

    A tensor (f, 3, h, w), or pictures as they come: then no more of them are in memory than the VAE sees at a time. The draw is one for
    all frames, so it does not depend on how many that are.
    """
    return drawn(*posterior(frames, networks), networks, generator)


@torch.inference_mode()
def posterior(frames: Iterable[Tensor], networks: Networks) -> tuple[Tensor, Tensor]:
    """What the VAE sees in pictures (3, h, w) in -1..1, in its own numbers: the mean (f, c, h', w') and the standard deviation."""
    vae = networks.vae
    means, spreads = [], []
    with quickly(vae):
        for pictures in _together(frames, networks):
            seen = vae.encode(pictures.to(networks.device, vae.dtype)).latent_dist
            means.append(seen.mean)
            spreads.append(seen.std)
    return torch.cat(means), torch.cat(spreads)


@torch.inference_mode()
def drawn(mean: Tensor, spread: Tensor, networks: Networks, generator: torch.Generator | None = None) -> Tensor:
    """A latent clip (1, c, f, h', w') out of a posterior: a draw from it, or its mean without a generator."""
    config, latents = networks.vae.config, mean
    if generator:
        noise = torch.randn(mean.shape, generator=generator, device=generator.device, dtype=mean.dtype)
        latents = mean + spread * noise.to(mean.device)
    latents = (latents - (config.get("shift_factor") or 0)) * config["scaling_factor"]
    clip: Tensor = latents.to(networks.dtype).transpose(0, 1)[None]
    return clip


@torch.inference_mode()
def decode_latents(latents: Tensor, networks: Networks) -> Tensor:
    """A latent clip (1, c, f, h', w') to pictures (f, 3, h, w), about -1..1, fp32."""
    return torch.cat(list(_decoded(latents, networks)))


@torch.inference_mode()
def decode_frames(latents: Tensor, networks: Networks) -> Frames:
    """A latent clip (1, c, f, h', w') to frames (f, h, w, 3). No more of them are in memory in fp32 than the VAE makes at a time."""
    frames: Frames = decode_near(latents, networks).cpu().numpy()
    return frames


@torch.inference_mode()
def decode_near(latents: Tensor, networks: Networks) -> Tensor:
    """``decode_frames``, but that they stay where ``blank_frames`` has them."""
    count, height, width = latents.shape[2:]
    frames, done = blank_frames(count, height * networks.vae_scale, width * networks.vae_scale, networks), 0
    for pictures in _decoded(latents, networks):
        frames[done : done + len(pictures)] = to_bytes(pictures)
        done += len(pictures)
    return frames


def _decoded(latents: Tensor, networks: Networks) -> Iterator[Tensor]:
    """Pictures (n, 3, h, w), so many as the VAE may make at a time."""
    vae = networks.vae
    frames = latents[0].transpose(0, 1) / vae.config["scaling_factor"] + (vae.config.get("shift_factor") or 0)
    pixels = frames.shape[-1] * frames.shape[-2] * networks.vae_scale**2
    with quickly(vae):
        for chunk in torch.split(frames, max(1, networks.pixels_at_once // pixels)):
            yield vae.decode(chunk.to(vae.dtype)).sample.float()
