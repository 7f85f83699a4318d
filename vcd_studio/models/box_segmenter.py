"""A small U-Net that turns a picture and a box into the mask of what is in the box: pocket's stand-in for SAM."""

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

from vcd_studio.method.protocols import Box
from vcd_studio.models.centre_detector import Residual, conv

MARGIN = 1.25  # the crop is a square this many times the box's longer side


class BoxSegmenter(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """(n, 4, size, size): a square crop in −1..1 and the box painted as 1 on −1 → mask logits (n, 1, size, size)."""

    config_name = "config.json"

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, widths: Sequence[int] = (16, 32, 64, 96), size: int = 64) -> None:
        super().__init__()
        a, b, c, d = widths
        self.stem = nn.Sequential(conv(4, a), conv(a, a))
        self.down = nn.ModuleList([nn.Sequential(conv(i, o, 2), Residual(o)) for i, o in ((a, b), (b, c), (c, d))])
        self.bottom = Residual(d)
        self.up = nn.ModuleList([conv(i + o, o) for i, o in ((d, c), (c, b), (b, a))])
        self.out = nn.Conv2d(a, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        levels = [self.stem(x)]
        for down in self.down:
            levels.append(down(levels[-1]))
        y = self.bottom(levels.pop())
        for up in self.up:
            level = levels.pop()
            y = up(torch.cat([F.interpolate(y, size=level.shape[-2:], mode="nearest"), level], 1))
        return self.out(y)  # type: ignore[no-any-return]

    @torch.inference_mode()
    def segment(self, image: Image.Image, box: Box) -> NDArray[np.float32]:
        """The mask of ``box``'s subject as coverage 0..1, at the picture's size."""
        size = int(self.config["size"])
        left, top, side = crop_of((box.left, box.top, box.right, box.bottom))
        whole, factor = image.convert("RGB"), 1.0
        if side > 2 * size:  # Pillow's transform does not average: shrink first where the crop is much larger
            factor = size / side
            whole = whole.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))), Image.Resampling.BOX)
        extent = (left * factor, top * factor, (left + side) * factor, (top + side) * factor)
        crop = whole.transform((size, size), Image.Transform.EXTENT, extent, Image.Resampling.BILINEAR)
        picture = torch.from_numpy(np.array(crop)).permute(2, 0, 1).float() / 127.5 - 1
        painted = torch.from_numpy(paint_box((box.left, box.top, box.right, box.bottom), left, top, side, size))[None]
        logits = self(torch.cat([picture, painted])[None].to(self.device, self.dtype))
        coverage = Image.fromarray(logits[0, 0].float().sigmoid().cpu().numpy())
        inverse = (size / side, 0.0, -left * size / side, 0.0, size / side, -top * size / side)
        return np.array(coverage.transform(image.size, Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR), np.float32)


def crop_of(box: tuple[float, float, float, float]) -> tuple[float, float, float]:
    """Left, top and side of the square crop around ``box``."""
    side = MARGIN * max(box[2] - box[0], box[3] - box[1], 4.0)
    return (box[0] + box[2] - side) / 2, (box[1] + box[3] - side) / 2, side


def paint_box(box: tuple[float, float, float, float], left: float, top: float, side: float, size: int) -> NDArray[np.float32]:
    """(size, size): 1 inside the box, −1 outside."""
    centres = (np.arange(size) + 0.5) / size * side
    across = (centres + left >= box[0]) & (centres + left <= box[2])
    down = (centres + top >= box[1]) & (centres + top <= box[3])
    return np.where(down[:, None] & across[None, :], 1.0, -1.0).astype(np.float32)
