"""TinyViT (Wu et al. 2022) as MobileSAM's image encoder (Zhang et al. 2023, "Faster Segment Anything"), in its published keys.

segment-anything brings the rest of MobileSAM, prompt encoder and mask decoder; this encoder is what it lacks.
"""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import nn

WIDTHS, DEPTHS, HEADS, WINDOWS = (64, 128, 160, 320), (2, 2, 6, 2), (2, 4, 5, 10), (7, 7, 14, 7)
GRID = 64
"""Cells a side of the embedding of a 1024 × 1024 picture."""


class ConvNorm(nn.Sequential):
    def __init__(self, into: int, out: int, size: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.add_module("c", nn.Conv2d(into, out, size, stride, size // 2, groups=groups, bias=False))
        self.add_module("bn", nn.BatchNorm2d(out))


class InvertedBottleneck(nn.Module):
    """(n, width, h, w) → the same; MobileNet's block, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(width, 4 * width)
        self.conv2 = ConvNorm(4 * width, 4 * width, 3, groups=4 * width)
        self.conv3 = ConvNorm(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class Merging(nn.Module):
    """(n, into, h, w) → (n, out, h/stride, w/stride)"""

    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(into, out)
        self.conv2 = ConvNorm(out, out, 3, stride, groups=out)
        self.conv3 = ConvNorm(out, out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return y


class WindowAttention(nn.Module):
    """(windows, window², width) → the same, with a learnt bias for every distance."""

    bias_index: torch.Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        cells = list(product(range(window), range(window)))
        kinds: dict[tuple[int, int], int] = {}
        index = [kinds.setdefault((abs(a[0] - b[0]), abs(a[1] - b[1])), len(kinds)) for a in cells for b in cells]
        self.attention_biases = nn.Parameter(torch.zeros(heads, len(kinds)))
        self.register_buffer("bias_index", torch.tensor(index).view(len(cells), len(cells)), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count, cells, width = x.shape
        q, k, v = self.qkv(self.norm(x)).view(count, cells, self.heads, 3, -1).permute(3, 0, 2, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=self.attention_biases[:, self.bias_index].to(q))
        mixed: torch.Tensor = self.proj(seen.transpose(1, 2).reshape(count, cells, width))
        return mixed


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.fc2(F.gelu(self.fc1(self.norm(x))))
        return y


class Block(nn.Module):
    """Attention in windows (zeros fill the last ones up), a convolution across their borders, an MLP. (n, width, h, w) → the same."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = WindowAttention(width, heads, window)
        self.local_conv = ConvNorm(width, width, 3, groups=width)
        self.mlp = Mlp(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.local_conv(x + self._attended(x))
        cells = x.permute(0, 2, 3, 1)
        y: torch.Tensor = cells + self.mlp(cells)
        return y.permute(0, 3, 1, 2)

    def _attended(self, x: torch.Tensor) -> torch.Tensor:
        n, width, height, across = x.shape
        side = self.window
        padded = F.pad(x, (0, -across % side, 0, -height % side))
        rows, columns = padded.shape[2] // side, padded.shape[3] // side
        windows = padded.view(n, width, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1).reshape(-1, side * side, width)
        mixed = self.attn(windows).view(n, rows, columns, side, side, width).permute(0, 5, 1, 3, 2, 4)
        whole: torch.Tensor = mixed.reshape(n, width, rows * side, columns * side)[:, :, :height, :across]
        return whole


class Level(nn.Module):
    def __init__(self, blocks: list[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        y: torch.Tensor = x if self.downsample is None else self.downsample(x)
        return y


class ChannelNorm(nn.Module):
    """LayerNorm over channels of (n, channels, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, 1e-6)
        return normed.permute(0, 3, 1, 2)


class PatchEmbed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvNorm(3, WIDTHS[0] // 2, 3, 2), nn.GELU(), ConvNorm(WIDTHS[0] // 2, WIDTHS[0], 3, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.seq(x)
        return y


class TinyViT(nn.Module):
    """(n, 3, 1024, 1024), normalised as SAM does → (n, 256, 64, 64)"""

    img_size = 1024

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed()
        levels = []
        for level, (width, depth, heads, window) in enumerate(zip(WIDTHS, DEPTHS, HEADS, WINDOWS, strict=True)):
            blocks: list[nn.Module] = [InvertedBottleneck(width) if level == 0 else Block(width, heads, window) for _ in range(depth)]
            last = level == len(WIDTHS) - 1
            levels.append(Level(blocks, None if last else Merging(width, WIDTHS[level + 1], 2 if level < 2 else 1)))
        self.layers = nn.ModuleList(levels)
        self.neck = nn.Sequential(
            nn.Conv2d(WIDTHS[-1], 256, 1, bias=False), ChannelNorm(256), nn.Conv2d(256, 256, 3, padding=1, bias=False), ChannelNorm(256)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch_embed(x)
        for level in self.layers:
            x = level(x)
        y: torch.Tensor = self.neck(x)
        return y
