"""What the method asks of the networks that are handed to it. Loaders satisfy these; nothing here imports a loader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

Frames: TypeAlias = NDArray[np.uint8]
"""A clip as pictures: (frames, height, width, 3), 0..255."""


class MethodError(Exception):
    """One clear sentence about what the method cannot do with what it was given."""


class UnknownNoun(MethodError):
    """A detector with a fixed vocabulary does not know this noun."""

    def __init__(self, noun: str, known: list[str]) -> None:
        super().__init__(f'The detector does not know "{noun}"; it knows {", ".join(known)}.')
        self.noun = noun
        self.known = known


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels; right and bottom are exclusive."""

    left: float
    top: float
    right: float
    bottom: float
    score: float = 1.0
    label: str = ""

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y)"""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


class Grounding(Protocol):
    def ground(self, image: Image.Image, noun: str, box_threshold: float, text_threshold: float) -> list[Box]:
        """Boxes of what the noun names. Raises UnknownNoun."""
        ...


class Segmenter(Protocol):
    def segment(self, image: Image.Image, box: Box) -> NDArray[np.float32]:
        """(height, width), 0..1: how surely each pixel belongs to the subject in the box."""
        ...


class FaceDetector(Protocol):
    def detect(self, image: NDArray[np.uint8], noun: str) -> list[Box]:
        """Faces (or heads) in one picture (height, width, 3)."""
        ...


class Upscaler(Protocol):
    scale: int

    def upscale(self, frames: torch.Tensor) -> torch.Tensor:
        """(f, 3, h, w) in -1..1 to (f, 3, h·scale, w·scale)."""
        ...


@dataclass(frozen=True)
class LowRank:
    """A difference of low rank, scale · up · down: (out, r) and (r, in), for a convolution with its kernel behind them."""

    down: torch.Tensor
    up: torch.Tensor
    scale: float = 1.0

    def full(self, device: torch.device | str = "cpu") -> torch.Tensor:
        """(out, in · kernel), fp32, on ``device``."""
        up, down = (half.to(device).float().flatten(1) for half in (self.up, self.down))
        return self.scale * (up @ down)


Changes: TypeAlias = Mapping[str, torch.Tensor | LowRank]
"""Names of a network's parameters, and by what each changes: a full tensor's worth, or one of low rank."""


@dataclass
class Networks:
    """One pack, loaded. Every size, factor and prediction type below is read from these, never assumed."""

    tokenizer: Any
    """CLIPTokenizer"""
    text_encoder: Any
    """CLIPTextModel"""
    vae: Any
    """AutoencoderKL"""
    unet: Any
    """UNet2DConditionModel: for training and its previews."""
    motion_unet: Any
    """UNetMotionModel: for clips."""
    scheduler: Any
    """Any diffusers scheduler; only its config is read."""
    controlnet: Any = None
    """ControlNetModel (Tile), or None."""
    upscaler: Upscaler | None = None
    grounding: Grounding | None = None
    segmenter: Segmenter | None = None
    faces: FaceDetector | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    pixels_at_once: int = 4 * 512 * 512
    """The VAE sees as many frames at a time as fit in this many pixels, but always one."""

    @property
    def vae_scale(self) -> int:
        """Pixels per latent cell."""
        return int(2 ** (len(self.vae.config["block_out_channels"]) - 1))

    @property
    def size(self) -> int:
        """The model's own picture size in pixels."""
        return int(self.unet.config["sample_size"]) * self.vae_scale

    @property
    def latent_channels(self) -> int:
        return int(self.motion_unet.config["in_channels"])

    @property
    def motion_range(self) -> int:
        """The longest run of frames that the motion module has positions for."""
        return int(self.motion_unet.config["motion_max_seq_length"])
