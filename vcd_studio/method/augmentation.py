"""Views of a photo to learn from: as it is, or flipped, turned a little, far away on grey, close up; and a caption that says so."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

Kind = Literal["plain", "turned", "far", "close"]
SHARES: dict[Kind, float] = {"plain": 0.4, "turned": 0.2, "far": 0.2, "close": 0.2}
GREY = (127, 127, 127)
CLOSE_UP = 0.28
"""Share of the picture from which on a subject that the lower edge cuts off is seen close up. Between pocket's portraits (from 0.30 on) and
its other photos (to 0.26; of 100 identities, 9 in 10 lie within)."""
PLAIN = ("a photo of a {}", "a {}", "the {}", "a photo of the {}", "a video of a {}")
CAPTIONS: dict[Kind, tuple[str, ...]] = {
    "plain": PLAIN,
    "turned": PLAIN,
    "far": ("a far away photo of a {}", "a photo of a {} far away", "a photo of a very small {}", "a {} in the distance"),
    "close": ("a close up photo of a {}", "a close up of a {}", "a zoomed in photo of a {}", "a photo of a {} zoomed in"),
}


@dataclass(frozen=True)
class TrainingPhoto:
    """A photo, upright RGB, and its mask (height, width) 0..255 of the same size; None counts the whole picture."""

    image: Image.Image
    mask: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class PhotoView:
    """A square picture, its soft mask ('L', same size) and which captions fit it."""

    picture: Image.Image
    mask: Image.Image
    kind: Kind


def augment(photo: TrainingPhoto, size: int, generator: torch.Generator) -> PhotoView:
    """One random view of ``size`` pixels."""

    def between(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    shares = torch.tensor(list(SHARES.values()))
    kind = list(SHARES)[int(torch.multinomial(shares, 1, generator=generator))]
    flip = between(0, 1) < 0.5
    angle = between(-12, 12) if kind == "turned" else 0.0
    zoom = {"far": between(1.6, 3.0), "close": between(0.5, 0.75)}.get(kind, 1.0)
    return view(photo, size, kind=kind, flip=flip, angle=angle, zoom=zoom)


def view(photo: TrainingPhoto, size: int, *, kind: Kind = "plain", flip: bool = False, angle: float = 0, zoom: float = 1) -> PhotoView:
    """A square around the subject, ``zoom`` times the photo's own square, turned by ``angle`` degrees. Beyond the photo: grey, unmasked."""
    image = photo.image.convert("RGB")
    mask = Image.new("L", image.size, 255) if photo.mask is None else Image.fromarray(photo.mask, "L")
    (x, y), side = frame_subject(image.size, mask.getbbox())
    side *= zoom
    shrink = min(1.0, 1.5 * size / side)  # shrink large photos first: the transform below does not average
    if shrink < 1:
        small = (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
        x, y, side = x * small[0] / image.width, y * small[1] / image.height, side * small[0] / image.width
        image, mask = image.resize(small, Image.Resampling.LANCZOS), mask.resize(small, Image.Resampling.BOX)
    step = side / size
    cos, sin = step * math.cos(math.radians(angle)), step * math.sin(math.radians(angle))
    mirror = -1 if flip else 1
    half = size / 2
    a, b, d, e = mirror * cos, -sin, mirror * sin, cos
    where = (a, b, x - half * (a + b), d, e, y - half * (d + e))
    picture = image.transform((size, size), Image.Transform.AFFINE, where, Image.Resampling.BICUBIC, fillcolor=GREY)
    soft = mask.transform((size, size), Image.Transform.AFFINE, where, Image.Resampling.BILINEAR, fillcolor=0)
    return PhotoView(picture, soft, kind)


def is_close_up(mask: Image.Image) -> bool:
    """Whether a subject's mask ('L') is that of a portrait: it fills much of the picture, and goes on below it."""
    covered = np.asarray(mask) > 127
    lowest = covered[-max(1, len(covered) // 16) :]  # masks may end a few pixels short of the edge
    return bool(lowest.any() and covered.mean() >= CLOSE_UP)


def frame_subject(size: tuple[int, int], subject: tuple[int, int, int, int] | None) -> tuple[tuple[float, float], float]:
    """Centre and side of the square to learn from: the photo's short side, moved to the subject, and wider where that is cut off."""
    width, height = size
    left, top, right, bottom = subject or (0, 0, width, height)
    side = float(min(width, height))
    if subject and subject != (0, 0, width, height):
        side = max(side, float(right - left), float(bottom - top))
    centre = []
    for low, high, length in ((left, right, width), (top, bottom, height)):
        middle = (low + high) / 2
        centre.append(min(max(middle, side / 2), length - side / 2) if side <= length else length / 2)
    return (centre[0], centre[1]), side
