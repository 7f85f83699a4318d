"""RRDBNet, the ESRGAN generator (Wang et al. 2018) in Real-ESRGAN's key layout, so that its files load unchanged."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn


class DenseBlock(nn.Module):
    """Five convolutions, each seeing all before it; the sum is scaled by 0.2."""

    slope = share = 0.2
    """Of the leaky ReLU below 0; and of what is added to the block's input."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        for index in range(4):
            setattr(self, f"conv{index + 1}", nn.Conv2d(features + index * growth, growth, 3, 1, 1))
        self.conv5 = nn.Conv2d(features + 4 * growth, features, 3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = [x]
        for index in range(4):
            seen.append(F.leaky_relu(getattr(self, f"conv{index + 1}")(torch.cat(seen, 1)), self.slope))
        y: torch.Tensor = self.conv5(torch.cat(seen, 1))
        return x + self.share * y


class RRDB(nn.Module):
    """Residual in residual: three dense blocks."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(features, growth) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.rdb3(self.rdb2(self.rdb1(x)))
        return x + 0.2 * y


class RRDBNet(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """(n, 3, h, w) in 0..1 → (n, 3, scale·h, scale·w). ``scale`` 2 folds 2 × 2 pixels into channels first, then grows four times."""

    config_name = "config.json"

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, scale: int = 4, num_feat: int = 64, num_block: int = 23, num_grow_ch: int = 32) -> None:
        super().__init__()
        self.fold = {1: 4, 2: 2, 4: 1}[scale]
        self.conv_first = nn.Conv2d(3 * self.fold**2, num_feat, 3, 1, 1)
        self.body = nn.Sequential(*(RRDB(num_feat, num_grow_ch) for _ in range(num_block)))
        self.conv_body = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.conv_up1 = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.conv_up2 = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.conv_hr = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.conv_last = nn.Conv2d(num_feat, 3, 3, 1, 1)

    @property
    def scale(self) -> int:
        return int(self.config["scale"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv_first(F.pixel_unshuffle(x, self.fold) if self.fold > 1 else x)
        y = y + self.conv_body(self.body(y))
        y = F.leaky_relu(self.conv_up1(F.interpolate(y, scale_factor=2, mode="nearest")), 0.2)
        y = F.leaky_relu(self.conv_up2(F.interpolate(y, scale_factor=2, mode="nearest")), 0.2)
        return self.conv_last(F.leaky_relu(self.conv_hr(y), 0.2))  # type: ignore[no-any-return]

    @torch.inference_mode()
    def upscale(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames (f, 3, h, w) in −1..1 → (f, 3, scale·h, scale·w) in −1..1, all at a time."""
        grown: torch.Tensor = self((frames.to(self.device, self.dtype) + 1) / 2)
        return (grown.float() * 2 - 1).clamp(-1, 1)
