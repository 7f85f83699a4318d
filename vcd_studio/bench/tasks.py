"""The tasks that both sides are given: a prompt, a clip, a few photos, all of the pocket world; and what they are done with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vcd_studio.locations import shipped_projects

PACK = "pocket"
PROMPT, NEGATIVE, NOUN = "a dog running in the snow", "", "dog"
FRAMES, SIZE, GUIDANCE, SEED = 16, 64, 7.5, 3
STRENGTH = 0.8
TOKEN, TOKENS, BATCH, RATE = "<rex>", 4, 4, 1e-3


@dataclass(frozen=True)
class Setup:
    """``pack`` at its own ``size`` in pixels, on ``device``; clips in ``dtype``, torch's name of it (learning is in float32).
    ``optimised``: diffusers with what its documentation has to make it quicker; ours has no such choice."""

    pack: str = PACK
    size: int = SIZE
    device: str = "cpu"
    dtype: str = "float32"
    optimised: bool = False


def clip(size: int = SIZE) -> NDArray[np.uint8]:
    """(frames, size, size, 3): what is denoised part of the way. A smooth picture that moves."""
    across = np.linspace(0, 2 * np.pi, size)
    frames = [np.stack([np.sin(across + t / 3)[:, None] * np.cos(across + t / 5 + c) for c in range(3)], -1) for t in range(FRAMES)]
    return (127.5 * (np.stack(frames) + 1)).astype(np.uint8)


def photos() -> list[Image.Image]:
    """Of the example identity."""
    folder: Path = shipped_projects() / "pocket-park" / "identities" / "rex" / "photos"
    return [Image.open(path).convert("RGB") for path in sorted(folder.glob("*.png"))]
