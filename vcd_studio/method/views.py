"""Views of a latent clip: context windows in time and tiles in space. Cut, predict, fuse: their weights sum to one everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

LARGER = 0.25
"""The share by which a tile may be larger than the size at which a network has learnt."""


@dataclass(frozen=True)
class View:
    """A box of a latent clip, and along each of its axes the share that it has in what it covers."""

    frames: slice
    rows: slice
    columns: slice
    shares: tuple[Tensor, Tensor, Tensor]

    @property
    def weight(self) -> Tensor:
        """Of each of its cells, (frames, height, width)."""
        in_time, down, across = self.shares
        return in_time[:, None, None] * down[:, None] * across

    def to(self, device: torch.device) -> View:
        """The same, for clips that lie on ``device``."""
        in_time, down, across = (share.to(device) for share in self.shares)
        return replace(self, shares=(in_time, down, across))

    def cut(self, clip: Tensor) -> Tensor:
        """(b, c, f, h, w) to the view's part of it."""
        return clip[:, :, self.frames, self.rows, self.columns]


def windows(length: int, size: int, overlap: int) -> list[slice]:
    """Evenly spread windows that cover 0..length, neighbours sharing at least ``overlap``; one when everything fits."""
    if not 0 <= overlap < size:
        raise ValueError(f"Windows of {size} cannot overlap by {overlap}.")
    if length <= size:
        return [slice(0, length)]
    count = -(-(length - overlap) // (size - overlap))
    starts = [round(i * (length - size) / (count - 1)) for i in range(count)]
    return [slice(start, start + size) for start in starts]


def tile_size(shape: Sequence[int], size: int, overlap: float, multiple: int = 1, larger: float = LARGER) -> int:
    """The side of the tiles that cover (height, width) at the least cost: ``size``, at which a network has learnt, or more by a share of up
    to ``larger`` where fewer of them will then do, in steps of ``multiple``. ``overlap``: the least share of a tile that neighbours have in
    common."""

    def cost(side: int) -> int:
        counts = [len(windows(length, side, overlapping(side, overlap))) for length in shape]
        return math.prod(counts) * math.prod(min(side, length) for length in shape)

    return min(range(size, int(size * (1 + larger)) + 1, multiple), key=cost)


def overlapping(side: int, overlap: float) -> int:
    """Cells of a tile that a neighbour has in common with it."""
    return min(round(overlap * side), side - 1)


def window_weights(parts: list[slice], length: int) -> list[Tensor]:
    """One smooth bump per window, normalised so that they sum to one at every place."""
    bumps = []
    for part in parts:
        size = part.stop - part.start
        place = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        bumps.append(torch.sin(torch.pi * place) ** 2)
    total = torch.zeros(length, dtype=torch.float64)
    for part, bump in zip(parts, bumps, strict=True):
        total[part] += bump
    return [(bump / total[part]).float() for part, bump in zip(parts, bumps, strict=True)]


def views_of(shape: Sequence[int], *, context: int, context_overlap: int = 0, tile: int | None = None, tile_overlap: int = 0) -> list[View]:
    """The views of a latent clip (frames, height, width): windows of ``context`` frames × tiles of ``tile`` cells (None: no tiles)."""
    sizes = (context, tile or shape[1], tile or shape[2])
    overlaps = (context_overlap, *((tile_overlap, tile_overlap) if tile else (0, 0)))
    axes = []
    for length, size, overlap in zip(shape, sizes, overlaps, strict=True):
        parts = windows(length, size, overlap)
        axes.append(list(zip(parts, window_weights(parts, length), strict=True)))
    return [
        View(frames, rows, columns, (in_time, down, across))
        for (frames, in_time), (rows, down), (columns, across) in product(*axes)
    ]
