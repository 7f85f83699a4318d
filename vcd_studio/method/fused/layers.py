"""Norms, sums, gates and attention through time, for networks that are run, not learnt: in one or two passes over a card's memory, and by
torch where there is no card. Pictures are (n, channels, height, width) with channels last in memory; tokens (n, length, channels)."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, gelu
from torch.nn.functional import silu as silu_of

from vcd_studio.method.attention import attend

WIDTH = 64
"""Channels that a program of the kernels over rows sees: 128 bytes of a row in 16 bits."""
PART = 512
"""Rows that a program sums up: with fewer of them, putting its warps' sums together takes the longer."""
PIECES = 256
"""Into so many parts rows are cut at most, for their sums."""
TILE = 4096
"""Numbers that a program holds at a time."""
GROUP = 32
"""Channels of a group, at most, that share a kernel; there is another for twice as many."""
Sums = tuple[Tensor, Tensor]
"""A picture's first row (n, channels), and for each piece of its rows the sum of what is beyond that, and of its square (2, n, pieces,
channels)."""


@cache
def kernels() -> Any:
    """Imported when they are first used; ImportError without Triton."""
    return importlib.import_module("vcd_studio.method.fused.kernels")


def on_card(x: Tensor) -> bool:
    """Whether the kernels may be had for it."""
    return x.is_cuda and refusal(x.device) is None


def only_run(x: Tensor) -> bool:
    """Whether those may be had through which no gradient goes."""
    return on_card(x) and not torch.is_grad_enabled()


@cache
def refusal(device: torch.device) -> str | None:
    """Why this card is to do without the kernels; None where a first one was made, run and found right."""
    if torch.version.cuda is None or not torch.cuda.is_available() or torch.cuda.get_device_capability(device) < (8, 0):
        return "they are for NVIDIA cards since Ampere"
    x = torch.linspace(-3, 3, 64, device=device).reshape(2, 32)
    try:
        right = torch.allclose(_gated(x), _gated_by_torch(x), atol=1e-5)
    except Exception as error:  # Triton, a C compiler or Python's headers can be missing or broken in every way there is
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return lines[0] if lines else type(error).__name__
    return None if right else "the first one reckoned wrongly"


def power_of_two(number: int, least: int = 1) -> int:
    """The smallest that is not below ``number``, nor ``least``."""
    return max(least, 1 << (number - 1).bit_length())


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def tokens_of(x: Tensor) -> Tensor:
    """A picture's cells, seen as tokens."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def picture_of(tokens: Tensor, like: Tensor) -> Tensor:
    """The way back, to ``like``'s height and width."""
    picture: Tensor = tokens.unflatten(1, like.shape[-2:]).permute(0, 3, 1, 2)
    return picture


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
    firsts, sums = (known[0] if len(known) == 1 else [torch.cat(each, -1) for each in zip(*known, strict=True)])
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


def layer_norm(
    x: Tensor,
    norm: nn.LayerNorm,
    residual: Tensor | None = None,
    *,
    places: Tensor | None = None,
    cells: int = 1,
    more: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """x + residual of tokens, and its layer norm.

    To that, ``places`` (frames, channels) is added by the frame that a token is of, where there are ``cells`` of them to a frame; and to
    the sum itself ``more`` (channels).
    """
    if not only_run(x):
        total = x if residual is None else x + residual
        y = norm(total)
        y = y if places is None else y + places.repeat_interleave(cells, 0).repeat(x.numel() // places.numel() // cells, 1).view_as(x)
        return total if more is None or residual is None else total + more, y
    x = x.contiguous()
    channels = x.shape[-1]
    rows, wide = x.numel() // channels, power_of_two(channels)
    block = max(1, TILE // wide)
    total = x if residual is None else torch.empty_like(x)
    y = torch.empty_like(x)
    kernels().layer_norm[-(-rows // block),](
        x, x if residual is None else residual.contiguous(), norm.weight, norm.bias, x if places is None else places,
        norm.bias if more is None else more, total, y, rows, channels, cells, 1 if places is None else len(places), norm.eps,
        ADDED=residual is not None, PLACED=places is not None, MORE=more is not None, BLOCK=block, WIDTH=wide,
    )  # fmt: skip
    return total, y


def gated(x: Tensor) -> Tensor:
    """(…, 2 · width) to (…, width): the first half, times GELU of the second."""
    return _gated(x) if only_run(x) else _gated_by_torch(x)


def _gated_by_torch(x: Tensor) -> Tensor:
    value, gate = x.chunk(2, -1)
    return value * gelu(gate)


def _gated(x: Tensor) -> Tensor:
    width = x.shape[-1] // 2
    x = x.contiguous()
    y = x.new_empty(*x.shape[:-1], width)
    rows, wide = y.numel() // width, 2 * WIDTH
    block = TILE // wide
    kernels().gated[-(-rows // block), -(-width // wide)](x, y, rows, width, BLOCK=block, WIDTH=wide)
    return y


def frame_attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """(clips, frames, cells, channels) each, rows equally far apart: every cell of a clip attends through its frames."""
    if not only_run(q):
        apart = (t.unflatten(3, (heads, -1)).permute(0, 2, 3, 1, 4) for t in (q, k, v))
        seen: Tensor = attend(*apart).permute(0, 3, 1, 2, 4).flatten(3)
        return seen
    clips, frames, cells, channels = q.shape
    size, stride = channels // heads, q.stride(2)
    y = q.new_empty(q.shape)
    kernels().frame_attention[clips * cells * heads,](
        q, k, v, y, stride, cells, frames, heads, size**-0.5,
        SIZE=size, FRAMES=power_of_two(frames, 16), WIDE=power_of_two(size, 16), num_warps=1 if size <= 64 else 2,
    )  # fmt: skip
    return y


def phases(weight: Tensor) -> list[Tensor]:
    """What a convolution of 3 × 3 cells comes to on a picture of twice the size in which four cells each are the same: one of 2 × 2 on the
    small picture for even and odd rows and columns, at less than half the reckoning. Weights (out, in, 3, 3) to four of (out, in, 2, 2)."""
    by_rows = (part for part in _pairs(weight.float(), 2))
    return [channels_last(both.to(weight.dtype)) for part in by_rows for both in _pairs(part, 3)]


def _pairs(weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Three numbers along an axis to two, where cells 0 and 1 see the same two by two: for the first of them, and for the second."""
    first, middle, last = weight.unbind(axis)
    return torch.stack([first, middle + last], axis), torch.stack([first + middle, last], axis)


def doubled(x: Tensor, parts: list[Tensor], bias: Tensor) -> Tensor:
    """A picture doubled in size, its cells repeated, and convolved: by its weights' ``phases``, then ``bias`` added."""
    n, _, height, width = x.shape
    seen = [conv2d(channels_last(x), part, None, padding=1) for part in parts]
    channels = len(bias)
    y = torch.empty((n, channels, 2 * height, 2 * width), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    if not only_run(x):
        for number, part in enumerate(seen):
            down, across = divmod(number, 2)
            y[:, :, down::2, across::2] = part[:, :, down : down + height, across : across + width]
        return y.add_(bias[:, None, None])
    block = TILE // WIDTH
    grid = (-(-height * width // block), -(-channels // WIDTH), n)
    kernels().interleaved[grid](*map(channels_last, seen), bias, y, height, width, channels, BLOCK=block, WIDTH=WIDTH)
    return y
