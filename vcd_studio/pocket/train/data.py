"""Training pictures, drawn as they are needed."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from vcd_studio.pocket.world import Framing, Identity, Picture, Shot, render, sample_shot, sample_training_identity


def sample(rng: np.random.Generator, size: int = 64, framing: Framing | None = None) -> tuple[Identity, Shot, Picture]:
    """A training identity in a random shot at a random moment."""
    identity = sample_training_identity(rng)
    shot = sample_shot(rng, identity, framing)
    return identity, shot, render(identity, shot, float(rng.uniform(0, 2)), size)


def pictures(rng: np.random.Generator, count: int, size: int = 64) -> list[Picture]:
    return [sample(rng, size)[2] for _ in range(count)]


def to_tensor(images: list[NDArray[np.uint8]]) -> torch.Tensor:
    """uint8 (height, width, 3) pictures → float (n, 3, height, width) in −1..1."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def to_pictures(x: torch.Tensor) -> NDArray[np.uint8]:
    """The inverse of :func:`to_tensor`, clamped."""
    return (x.detach().float().clamp(-1, 1).add(1).mul(127.5).round()).permute(0, 2, 3, 1).cpu().numpy().astype(np.uint8)
