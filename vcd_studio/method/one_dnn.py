"""Linear layers, gated feed-forwards and convolutions on a CPU, by oneDNN where that is quicker, for networks run and not learnt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial, reduce
from typing import Any

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention import FeedForward
from torch import Tensor, nn
from torch.nn.functional import linear

from vcd_studio.method.replaced import replaced_forwards

PIECE = 1 << 19
"""Numbers of a feed-forward's inside that are worked on at a time, 2 MB in single precision: they and their gates stay in a processor's
last cache, whatever the size of the picture."""


@contextmanager
def by_one_dnn(*networks: Any) -> Iterator[None]:
    """While open, these networks' linear layers run in oneDNN where that is the quicker, equal to rounding.

    torch gives convolutions to it and products of matrices to another library: 8192 cells of 64 numbers to 512 ran at 54 GFLOP/s there and
    at 90 here, on a core of an AMD EPYC with AVX-512; a UNet of pocket's took 5 % less. A gate (Shazeer 2020, GEGLU) goes into the very
    product that it multiplies. With AVX2 the other library is the quicker, and feed-forwards go by pieces, as they do in half precision,
    which torch gives to oneDNN by itself: 6 to 9 % less for the same UNet. On a card nothing is changed.
    """
    able = [network for network in networks if isinstance(network, nn.Module)]
    modules = [module for network in able for module in network.modules()]
    plain = {module: _linear(module) for module in modules if type(module) is nn.Linear} if _is_quicker() else {}
    gated = {module: _gated(module) for module in modules if _is_gated(module)}
    with replaced_forwards({**plain, **gated}):
        yield


@cache
def _has_one_dnn() -> bool:
    """The operations are those that torch's own compiler writes; they have no public name."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


@cache
def _is_quicker() -> bool:
    """At products of matrices in single precision."""
    return _has_one_dnn() and torch.backends.cpu.get_cpu_capability() == "AVX512"


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A linear layer, by oneDNN where that can be and is the quicker."""
    return _product(x, weight, bias) if _fits(x, weight) else linear(x, weight, bias)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, then: str = "none") -> Tensor:
    made: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "none")
    return made


def _fits(x: Tensor, weight: Tensor) -> bool:
    """In fp32 on a CPU where oneDNN is the quicker, and no gradient goes through it."""
    single = x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu"
    return single and not torch.is_autocast_enabled("cpu") and not torch.is_grad_enabled() and _is_quicker()


WEIGHT_OF = {torch.ops.aten.convolution.default: 1, torch.ops.aten.convolution_backward.default: 2}
"""Which of its arguments is a convolution's weight, and of the way back through one."""


def packed(operation: Any, args: Sequence[Any]) -> Callable[[], Tensor] | None:
    """A convolution of pictures, or the way back through one to its input, as a function of nothing; None where that cannot be.

    Its weight, which is not to change, lies as oneDNN wants it. torch lays it so each time: some 6 % of a training step of pocket's UNet.
    """
    x, weight = args[0], args[WEIGHT_OF[operation]]
    if weight.ndim != 4 or not x.dtype == weight.dtype == torch.float32 or x.device.type != "cpu" or not _has_one_dnn():
        return None
    if operation is torch.ops.aten.convolution.default:
        _, _, bias, stride, padding, dilation, transposed, _, groups = args
        return None if transposed else _packed(x, weight, bias, stride, padding, dilation, groups)
    *_, stride, padding, dilation, transposed, _, groups, wanted = args
    if transposed or groups != 1 or {*stride, *dilation} != {1} or wanted != [True, False, False]:
        return None
    turned = weight.flip(2, 3).transpose(0, 1).contiguous()
    left = [side - 1 - cells for side, cells in zip(weight.shape[2:], padding, strict=True)]
    return _packed(x, turned, None, stride, left, dilation, 1) if min(left) >= 0 else None


def _packed(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int) -> Callable[[], Tensor]:
    laid = torch.ops.mkldnn._reorder_convolution_weight(weight, padding, stride, dilation, groups, list(x.shape))
    convolution = torch.ops.mkldnn._convolution_pointwise
    return partial(convolution, x, laid, bias, padding, stride, dilation, groups, "none", [], "")


def _linear(layer: nn.Linear) -> Callable[..., Tensor]:
    whole: Callable[..., Tensor] = layer.forward

    def forward(input: Tensor) -> Tensor:
        return _product(input, layer.weight, layer.bias) if _fits(input, layer.weight) else whole(input)

    return forward


def _is_gated(block: nn.Module) -> bool:
    """A feed-forward whose gate is one plain layer: another kind's forward is more than its weights."""
    return isinstance(block, FeedForward) and isinstance(block.net[0], GEGLU) and type(block.net[0].proj) is nn.Linear


def _gated(block: Any) -> Callable[..., Tensor]:
    whole: Callable[..., Tensor] = block.forward
    gated, rest = block.net[0].proj, block.net[1:]

    def forward(hidden: Tensor, *others: Any, **named: Any) -> Tensor:
        if hidden.device.type != "cpu" or gated.bias is None or torch.is_grad_enabled():
            return whole(hidden, *others, **named)
        (into, gate), (into_bias, gate_bias) = gated.weight.chunk(2), gated.bias.chunk(2)  # now: networks come and go between devices
        if _fits(hidden, gate):
            opened = _product(hidden, gate, gate_bias, "gelu")
            inside: Tensor = torch.ops.mkldnn._linear_pointwise.binary(hidden, opened, into, into_bias, "mul")
            return ended(inside)
        # apart: as one they go into a tensor twice as wide, whose halves are then read with gaps
        cells = hidden.flatten(0, -2)
        pieces = [
            ended(linear(piece, into, into_bias).mul_(torch.ops.aten.gelu_(linear(piece, gate, gate_bias))))
            for piece in cells.split(max(1, PIECE // len(gate)))
        ]
        out: Tensor = torch.cat(pieces).unflatten(0, hidden.shape[:-1])
        return out

    def ended(inside: Tensor) -> Tensor:
        made: Tensor = reduce(lambda x, layer: layer(x), rest, inside)
        return made

    return forward
