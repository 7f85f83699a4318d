"""A small detector of objects as centres (Zhou et al. 2019, "Objects as Points"): pocket's grounding and pocket's faces.

One fully convolutional network; each class has a heat map whose peaks are centres, and each cell tells its box's four sides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from vcd_studio.method.protocols import Box, UnknownNoun

STRIDE = 4


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.GroupNorm(8, outputs), nn.SiLU())


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(channels, channels), conv(channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.body(x)
        return x + y


class CentreDetector(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """(n, 3, height, width) in −1..1 → heat logits (n, classes, height/4, width/4) and sides (n, 4, height/4, width/4).

    Sides are left, top, right, bottom distances from the cell's centre in units of ``size`` pixels, the size it was trained on.
    """

    config_name = "config.json"

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, classes: Sequence[str] = ("object",), widths: Sequence[int] = (24, 48, 96, 128), size: int = 64) -> None:
        super().__init__()
        a, b, c, d = widths
        self.fine = nn.Sequential(conv(3, a), conv(a, a, 2), Residual(a), conv(a, b, 2), Residual(b))
        self.middle = nn.Sequential(conv(b, c, 2), Residual(c))
        self.coarse = nn.Sequential(conv(c, d, 2), Residual(d), Residual(d), conv(d, c))
        self.join = conv(c, b)
        self.out = nn.Sequential(Residual(b), conv(b, b))
        self.heat = nn.Conv2d(b, len(classes), 1)
        self.sides = nn.Conv2d(b, 4, 1)
        nn.init.constant_(self.heat.bias, -4.0)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fine = self.fine(x)
        middle = self.middle(fine)
        middle = middle + F.interpolate(self.coarse(middle), size=middle.shape[-2:], mode="nearest")
        y = self.out(fine + F.interpolate(self.join(middle), size=fine.shape[-2:], mode="nearest"))
        return self.heat(y), F.softplus(self.sides(y))

    @torch.inference_mode()
    def detect(self, image: NDArray[np.uint8], threshold: float, overlap: float = 0.5) -> list[Box]:
        """Boxes in ``image``'s pixels (uint8, height × width × 3), best first, overlapping ones (IoU > ``overlap``) left out."""
        height, width = image.shape[:2]
        size = int(self.config["size"])
        scale = size / max(height, width)
        small = Image.fromarray(image).resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BOX)
        canvas = np.full((size, size, 3), 127, np.uint8)
        canvas[: small.height, : small.width] = np.asarray(small)
        x = torch.from_numpy(canvas).permute(2, 0, 1)[None].to(self.device, self.dtype) / 127.5 - 1
        heat, sides = self(x)
        heat = heat[0].float().sigmoid()
        peaks = heat * (heat == F.max_pool2d(heat[None], 3, 1, 1)[0])
        boxes = []
        for label, row, column in zip(*(v.tolist() for v in torch.nonzero(peaks >= threshold, as_tuple=True)), strict=True):
            left, top, right, bottom = (sides[0, :, row, column].float() * size).tolist()
            x0, y0 = (column + 0.5) * STRIDE, (row + 0.5) * STRIDE
            boxes.append(
                Box(
                    max(0.0, (x0 - left) / scale), max(0.0, (y0 - top) / scale),
                    min(float(width), (x0 + right) / scale), min(float(height), (y0 + bottom) / scale),
                    float(heat[label, row, column]), self.config["classes"][label],
                )
            )  # fmt: skip
        return _without_overlaps(sorted(boxes, key=lambda box: -box.score), overlap)


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a.right - a.left) * (a.bottom - a.top) + (b.right - b.left) * (b.bottom - b.top) - shared)


def _without_overlaps(boxes: list[Box], overlap: float) -> list[Box]:
    kept: list[Box] = []
    for box in boxes:
        if all(iou(box, other) <= overlap for other in kept):
            kept.append(box)
    return kept


GENERAL = {"person": ("man", "woman"), "animal": ("dog", "cat"), "pet": ("dog", "cat")}


class CentreGrounding:
    """Grounding with a closed vocabulary: the noun must be one of the network's classes, or a general word for some."""

    def __init__(self, network: CentreDetector) -> None:
        self.network = network

    def ground(self, image: Image.Image, noun: str, box_threshold: float = 0.3, text_threshold: float = 0.25) -> list[Box]:
        """Boxes of ``noun`` in ``image``, best first. Raises :class:`UnknownNoun` with the nouns it knows."""
        wanted = labels_of(noun, self.network.config["classes"])
        boxes = self.network.detect(np.asarray(image.convert("RGB")), box_threshold)
        return [box for box in boxes if box.label in wanted]


class CentreFaces:
    """Faces (of people and of pets) of the noun's kind."""

    def __init__(self, network: CentreDetector, threshold: float = 0.3) -> None:
        self.network, self.threshold = network, threshold

    def detect(self, image: NDArray[np.uint8], noun: str) -> list[Box]:
        wanted = labels_of(noun, self.network.config["classes"])
        return [box for box in self.network.detect(image, self.threshold) if box.label in wanted]


def labels_of(noun: str, classes: Sequence[str]) -> tuple[str, ...]:
    """The classes a noun phrase stands for: its last word that is a class or a general word."""
    for word in reversed(noun.lower().replace(".", " ").split()):
        if word in classes:
            return (word,)
        if word in GENERAL:
            return GENERAL[word]
    raise UnknownNoun(noun, [*classes, *GENERAL])
