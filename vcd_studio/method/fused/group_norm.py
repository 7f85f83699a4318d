"""Group norms, and the channels' sums that they are made of, which are taken where a picture is made if that is a sum itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu as silu_of

from vcd_studio.method.fused.layers import TILE, WIDTH, channels_last, kernels, on_card, only_run, power_of_two

PART = 512
"""Rows that a program sums up: with fewer of them, putting its warps' sums together takes the longer."""
PIECES = 256
"""Into so many parts rows are cut at most, for their sums."""
GROUP = 32
"""Channels of a group, at most, that share a kernel; there is another for twice as many."""
Sums = tuple[Tensor, Tensor]
"""A picture's first row (n, channels), and for each piece of its rows the sum of what is beyond that, and of its square (2, n, pieces,
channels)."""


def group_norm(
    x: Tensor | Sequence[Tensor], norm: nn.GroupNorm, *, instances: int | None = None, silu: bool = False, shift: Tensor | None = None
) -> Tensor:
    """``norm`` of a picture, or of several one behind the other in their channels; with ``instances`` so many clips' frames are normalised
    together. ``shift`` (n, channels) is added before, SiLU taken after. A gradient goes back through it to a single picture alone."""
    parts = [channels_last(part) for part in ([x] if isinstance(x, Tensor) else x)]
    if not on_card(parts[0]):
        return _group_norm_by_torch(parts[0] if len(parts) == 1 else torch.cat(parts, 1), norm, instances, silu, shift)
    if torch.is_grad_enabled():
        whole = parts[0] if len(parts) == 1 else channels_last(torch.cat(parts, 1))
        learning: Tensor = _LearningGroupNorm.apply(whole, norm, instances, silu, shift)
        return learning
    return _group_norm(parts, norm, instances, silu, shift)[0]


def part_of(rows: int) -> int:
    """Rows that a program sums up: whole blocks, and so many that there are not too many sums."""
    block = TILE // WIDTH
    return max(min(PART, -(-rows // block) * block), -(-rows // PIECES // block) * block)


def _group_norm(
    parts: Sequence[Tensor], norm: nn.GroupNorm, instances: int | None, silu: bool, shift: Tensor | None
) -> tuple[Tensor, Tensor]:
    """And, for the way back, (4, instances, channels): scale, offset, centre and how narrow each is made."""
    frames, _, *size = parts[0].shape
    channels, rows, count = sum(part.shape[1] for part in parts), math.prod(size), instances or frames
    known = [_known_sums(part) or _sum_up(part)[1] for part in parts]
    firsts, sums = known[0] if len(known) == 1 else [torch.cat(each, -1) for each in zip(*known, strict=True)]
    scale, offset, *others = numbers = parts[0].new_empty(4, count, channels, dtype=torch.float32)
    y = torch.empty((frames, channels, *size), dtype=parts[0].dtype, device=parts[0].device, memory_format=torch.channels_last)
    run, wide = kernels(), channels // norm.num_groups
    run.group_scales[count, norm.num_groups](
        firsts, firsts if shift is None else shift, norm.weight, norm.bias, sums[0], sums[1], scale, offset, *others,
        rows, frames // count, channels, wide, sums.shape[2], part_of(rows), norm.eps,
        SHIFTED=shift is not None, WIDTH=power_of_two(wide, GROUP), BLOCK=32,
    )  # fmt: skip
    block, begin, rows = TILE // WIDTH, 0, rows * frames // count
    for picture in parts:
        seen = picture.shape[1]
        grid = (-(-rows // block), -(-seen // WIDTH), count)
        run.scaled[grid](picture, scale, offset, y, rows, seen, begin, channels, SILU=silu, BLOCK=block, WIDTH=WIDTH)
        begin += seen
    return y, numbers


def _sum_up(x: Tensor, residual: Tensor | None = None, bias: Tensor | None = None) -> tuple[Tensor, Sums]:
    """x + residual + bias by channel, or x itself; and its sums."""
    frames, channels, *size = x.shape
    rows = math.prod(size)
    part = part_of(rows)
    sums = x.new_empty(2, frames, -(-rows // part), channels, dtype=torch.float32)
    firsts = x.new_empty(frames, channels, dtype=torch.float32)
    y = x if residual is None else torch.empty_like(x)
    kernels().channel_sums[frames, sums.shape[2], -(-channels // WIDTH)](
        x, x if residual is None else residual, x if bias is None else bias, y, firsts, sums[0], sums[1], rows, channels, part,
        ADDED=residual is not None, BLOCK=TILE // WIDTH, WIDTH=WIDTH,
    )  # fmt: skip
    return y, (firsts, sums)


def _known_sums(x: Tensor) -> Sums | None:
    """What ``add`` has summed up on its way."""
    known: Sums | None = getattr(x, "channel_sums", None)
    return known


class _LearningGroupNorm(torch.autograd.Function):
    """What it is made of is frozen: a gradient goes to the picture, and to nothing else."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: nn.GroupNorm, instances: int | None, silu: bool, shift: Tensor | None) -> Tensor:
        y, numbers = _group_norm([x], norm, instances, silu, shift)
        ctx.save_for_backward(x, numbers)
        ctx.norm, ctx.silu = norm, silu
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, (scale, offset, centre, narrow) = ctx.saved_tensors
        dy, norm, (count, channels) = channels_last(gradients[0]), ctx.norm, scale.shape
        rows, size = x.numel() // channels // count, channels // norm.num_groups
        block, blocks, part = TILE // WIDTH, -(-channels // WIDTH), part_of(rows)
        pieces = -(-rows // part)
        sums, products = x.new_empty(2, count, pieces, channels, dtype=torch.float32)
        by_x, constant = x.new_empty(2, count, channels, dtype=torch.float32)
        dx, run = torch.empty_like(x), kernels()
        run.gradient_sums[count, pieces, blocks](
            x, dy, scale, offset, centre, sums, products, rows, channels, part, SILU=ctx.silu, BLOCK=block, WIDTH=WIDTH
        )
        run.gradient_scales[count, norm.num_groups](
            norm.weight, centre, narrow, sums, products, by_x, constant, rows, channels, size, pieces,
            WIDTH=power_of_two(size, GROUP), BLOCK=32,
        )  # fmt: skip
        grid = (-(-rows // block), blocks, count)
        run.gradient[grid](x, dy, scale, offset, by_x, constant, dx, rows, channels, SILU=ctx.silu, BLOCK=block, WIDTH=WIDTH)
        return dx, None, None, None, None


def _group_norm_by_torch(x: Tensor, norm: nn.GroupNorm, instances: int | None, silu: bool, shift: Tensor | None) -> Tensor:
    x = channels_last(x if shift is None else x + shift[:, :, None, None])
    tall = x.permute(0, 2, 3, 1).reshape(instances or len(x), -1, x.shape[3], x.shape[1]).permute(0, 3, 1, 2)
    normed: Tensor = norm(tall).permute(0, 2, 3, 1).reshape(len(x), *x.shape[2:], x.shape[1]).permute(0, 3, 1, 2)
    return silu_of(normed) if silu else normed


def add(x: Tensor, residual: Tensor, bias: Tensor) -> Tensor:
    """x + residual + bias by channel, of pictures. On a card the answer carries its channels' sums to the norm that it goes to: nobody may
    change it on the way."""
    x, residual = channels_last(x), channels_last(residual)
    if not only_run(x):
        return (x + residual).add_(bias[:, None, None])
    y, sums = _sum_up(x, residual, bias)
    y.channel_sums = sums  # type: ignore[attr-defined]
    return y
