"""Token merging (ToMe for Stable Diffusion, Bolya and Hoffman 2023, arXiv 2303.17604): cells that are much alike attend as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vcd_studio.method.replaced import replaced_forwards

MOST = 0.75
"""The share that can be merged: one cell of every two by two is always what others are merged into."""


@contextmanager
def merged_tokens(unet: Any, share: float, seed: int = 0) -> Iterator[None]:
    """While open, ``share`` (0..0.75) of every frame's cells are merged for the self-attention at the highest resolution that has one.

    Which cell of two by two others may be merged into is drawn anew at each call, the same for all frames and both sides of guidance
    (section 4.2); ``seed`` decides it.
    """
    if not share:
        yield
        return
    generator = torch.Generator("cpu").manual_seed(seed)
    forwards: dict[Any, Callable[..., Any]] = {}
    for transformer in _highest(unet):
        grid = _Grid()
        forwards[transformer] = grid.seen_by(transformer.forward)
        for attention in (block.attn1 for block in transformer.transformer_blocks):
            forwards[attention] = _attending_merged(attention.forward, grid, share, generator)
    with replaced_forwards(forwards):
        yield


def _highest(unet: Any) -> list[Any]:
    """The spatial transformers of the outermost pair of blocks that has some."""
    pairs = zip(unet.down_blocks, reversed(unet.up_blocks), strict=True)
    found = ([transformer for block in pair for transformer in getattr(block, "attentions", ())] for pair in pairs)
    return next((transformers for transformers in found if transformers), [])


class _Grid:
    """How many rows and columns the cells stand in: attention itself sees but a list of them."""

    size = (0, 0)

    def seen_by(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(hidden_states: Tensor, *rest: Any, **named: Any) -> Any:
            self.size = (hidden_states.shape[-2], hidden_states.shape[-1])
            return forward(hidden_states, *rest, **named)

        return run


def _attending_merged(forward: Callable[..., Tensor], grid: _Grid, share: float, generator: torch.Generator) -> Callable[..., Tensor]:
    def run(hidden_states: Tensor, *rest: Any, **named: Any) -> Tensor:
        if min(grid.size) < 2:
            return forward(hidden_states, *rest, **named)
        merging = match(hidden_states, grid.size, share, generator)
        return merging.unmerge(forward(merging.merge(hidden_states), *rest, **named))

    return run


def match(cells: Tensor, size: tuple[int, int], share: float, generator: torch.Generator) -> Merging:
    """Who of ``cells`` (b, rows · columns, channels) is merged into whom: the ``share`` that is most like some cell of those drawn."""
    targets, sources = draw(size, generator)
    directions = normalize(cells, dim=-1)
    likeness, into = (directions[:, sources] @ directions[:, targets].mT).max(-1)
    order = likeness.argsort(stable=True, descending=True)
    merged, kept = order.tensor_split([min(int(share * cells.shape[1]), len(sources))], 1)
    places = sources.to(cells.device)
    return Merging(targets.to(cells.device), places[kept], places[merged], into.gather(1, merged))


def draw(size: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One cell of every two by two, and all the others, as places in a grid of ``size`` (rows, columns). Both must be at least 2."""
    rows, columns = size
    corner = torch.randint(4, (rows // 2, columns // 2), generator=generator)
    down = 2 * torch.arange(rows // 2)[:, None] + corner // 2
    across = 2 * torch.arange(columns // 2) + corner % 2
    drawn = torch.zeros(size, dtype=torch.bool)
    drawn[down, across] = True
    return drawn.flatten().nonzero()[:, 0], (~drawn).flatten().nonzero()[:, 0]


@dataclass(frozen=True)
class Merging:
    """Places in a grid: ``targets`` (m,), ``kept`` and ``merged`` (b, ·); and ``into`` which of the targets each merged cell goes."""

    targets: Tensor
    kept: Tensor
    merged: Tensor
    into: Tensor

    def merge(self, cells: Tensor) -> Tensor:
        """(b, n, channels) to (b, n - merged, channels): the kept ones, then each target as the mean of itself and what goes into it."""
        coming = _rows(cells, self.merged)
        targets = cells[:, self.targets].scatter_reduce(1, _wide(self.into, cells), coming, "mean")
        return torch.cat([_rows(cells, self.kept), targets], 1)

    def unmerge(self, fewer: Tensor) -> Tensor:
        """The way back: a merged cell is given what its target has."""
        kept, targets = fewer.tensor_split([self.kept.shape[1]], 1)
        cells = fewer.new_empty(len(fewer), fewer.shape[1] + self.merged.shape[1], fewer.shape[2])
        cells[:, self.targets] = targets
        cells.scatter_(1, _wide(self.kept, fewer), kept)
        return cells.scatter_(1, _wide(self.merged, fewer), _rows(targets, self.into))


def _wide(places: Tensor, cells: Tensor) -> Tensor:
    return places[..., None].expand(-1, -1, cells.shape[-1])


def _rows(cells: Tensor, places: Tensor) -> Tensor:
    return cells.gather(1, _wide(places, cells))
