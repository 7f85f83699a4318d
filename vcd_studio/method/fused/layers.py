"""Layer norms, gates, attention through time, what doubles a picture and what a dense block grows by, for networks that are run, not
learnt: in one or two passes over a card's memory, and by torch where there is no card. Pictures are (n, channels, height, width) with
channels last in memory; tokens (n, length, channels)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, gelu, leaky_relu, scaled_dot_product_attention

from vcd_studio.method.attention import attend

WIDTH = 64
"""Channels that a program of the kernels over rows sees: 128 bytes of a row in 16 bits."""
TILE = 4096
"""Numbers that a program holds at a time."""
SCORES = 1 << 26
"""Scores of a wide attention that are held at a time: 268 MB, and half as much again for their shares."""
WIDEST = 1 << 15
"""Cells whose scores fit a program's registers: pictures of 1024 × 2048 pixels."""
GROWN = 32
"""Channels that a program sees of those by which a dense block grows."""


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
    """Why this card is to do without the kernels; None where some were made, run and found right."""
    if torch.version.cuda is None or not torch.cuda.is_available() or torch.cuda.get_device_capability(device) < (8, 0):
        return "they are for NVIDIA cards since Ampere"
    try:
        wrong = [name for name, ours, plain in _trials(device) if not torch.allclose(ours, plain, atol=1e-3)]
    except Exception as error:  # Triton, a C compiler or Python's headers can be missing or broken in every way there is
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return lines[0] if lines else type(error).__name__
    return f"{wrong[0]} reckons wrongly" if wrong else None


def _trials(device: torch.device) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Kernels' names, what they make of little, and what torch does."""
    x = torch.linspace(-1, 1, 64, device=device)
    yield "gated", _gated(x.view(2, 32)), _gated_by_torch(x.view(2, 32))
    picture, bias, tokens = channels_last(x.view(1, 16, 2, 2)), x[:16], x.view(1, 4, 16)
    yield "widened", _widened(picture, picture, bias, 0.2), _widened_by_torch(picture, picture, bias, 0.2)
    yield "moved", _moved(picture, picture, bias, 0.2), _moved_by_torch(picture, picture, bias, 0.2)
    yield "powers", wide_attention(tokens, tokens, tokens), scaled_dot_product_attention(tokens, tokens, tokens)


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


def wide_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(n, cells, channels) each, on a card: one head of more channels than its fused kernels have quick ways for (an autoencoder's 512: 137
    TFLOP/s of 744 on an H200). By two products of matrices, scores in fp32, for some of the cells at a time."""
    n, cells, channels = q.shape
    y, together = torch.empty_like(q), max(1, SCORES // (n * cells))
    for begin in range(0, cells, together):
        scores = in_fp32(q[:, begin : begin + together], k.transpose(1, 2))
        shares, sums = torch.empty_like(scores, dtype=q.dtype), scores.new_empty(*scores.shape[:2], 1)
        wide = power_of_two(cells)
        kernels().powers[sums.numel(),](scores, shares, sums, cells, channels**-0.5, WIDTH=wide, num_warps=max(4, min(32, wide // 512)))
        y[:, begin : begin + together] = in_fp32(shares, v) / sums
    return y


def may_attend_widely(x: Tensor, cells: int) -> bool:
    """Whether ``wide_attention`` is to be had: in 16 bits, for pictures that are not too large, by a torch that keeps a product in 32."""
    return only_run(x) and x.dtype != torch.float32 and cells <= WIDEST and "dtype" in torch.ops.aten.bmm.overloads()


def in_fp32(a: Tensor, b: Tensor) -> Tensor:
    """A product of matrices (n, …), not rounded to what they are in."""
    return torch.bmm(a, b) if a.dtype == torch.float32 else torch.bmm(a, b, out_dtype=torch.float32)


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


def widened(x: Tensor, more: Tensor, bias: Tensor, slope: float) -> Tensor:
    """Pictures with ``more`` channels behind theirs: with their bias, through a leaky ReLU."""
    return (_widened if only_run(x) else _widened_by_torch)(x, more, bias, slope)


def _widened_by_torch(x: Tensor, more: Tensor, bias: Tensor, slope: float) -> Tensor:
    return channels_last(torch.cat([x, leaky_relu(more + bias[:, None, None], slope)], 1))


def _widened(x: Tensor, more: Tensor, bias: Tensor, slope: float) -> Tensor:
    x, more = channels_last(x), channels_last(more)
    n, before, height, width = x.shape
    added, rows, block = more.shape[1], n * height * width, TILE // GROWN
    y = torch.empty((n, before + added, height, width), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    grid = (-(-rows // block), -(-(before + added) // GROWN))
    kernels().widened[grid](x, more, bias, y, rows, before, added, slope, BLOCK=block, WIDTH=GROWN)
    return y


def moved(x: Tensor, by: Tensor, bias: Tensor, share: float) -> Tensor:
    """Pictures x + share · (by + bias)."""
    return (_moved if only_run(x) else _moved_by_torch)(x, by, bias, share)


def _moved_by_torch(x: Tensor, by: Tensor, bias: Tensor, share: float) -> Tensor:
    return x + share * (by + bias[:, None, None])


def _moved(x: Tensor, by: Tensor, bias: Tensor, share: float) -> Tensor:
    x, by = channels_last(x), channels_last(by)
    channels = x.shape[1]
    rows, block = x.numel() // channels, TILE // WIDTH
    y = torch.empty_like(x)
    kernels().moved[-(-rows // block), -(-channels // WIDTH)](x, by, bias, y, rows, channels, share, BLOCK=block, WIDTH=WIDTH)
    return y
