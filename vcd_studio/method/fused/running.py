"""Networks that run in the quickest way there is for them, and reckon but once what both sides of guidance have in common."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from diffusers.models.attention_processor import Attention
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from torch import Tensor, nn

from vcd_studio.method.fused.blocks import KINDS, Forward, each, quick_forwards
from vcd_studio.method.fused.layers import on_card
from vcd_studio.method.fused.projections import merge_projections
from vcd_studio.method.replaced import replaced_forwards

_SIDES = ContextVar("sides", default=1)


@contextmanager
def equal_sides(count: int) -> Iterator[None]:
    """While open, networks are called with a batch of so many equal parts: sides of guidance, the same until they meet their prompts."""
    before = _SIDES.set(count)
    try:
        yield
    finally:
        _SIDES.reset(before)


@contextmanager
def quickly(*networks: Any) -> Iterator[None]:
    """While open, these networks run by ``blocks`` where that is the quicker, equal to rounding: on a card wherever they can; elsewhere
    transformers, what doubles a picture's size, and the first blocks, which see one of equal sides."""
    forwards: dict[Any, Forward] = {}
    for network in networks:
        if isinstance(network, nn.Module):
            quick = dict(quick_forwards(network))
            forwards |= {module: _where_quicker(module, forward) for module, forward in quick.items()}
            forwards |= dict(_one_side_first(network, quick))
            if any(parameter.is_cuda for parameter in itertools.islice(network.parameters(), 1)):
                _merge(network)
    with replaced_forwards(forwards):
        yield


def _where_quicker(module: Any, quick: Forward) -> Forward:
    plain, kind = module.forward, KINDS.get(type(module))
    name, everywhere = (kind.argument, kind.everywhere) if kind else ("input", False)

    def forward(*rest: Any, **named: Any) -> Any:
        first, *others = rest or [named.pop(name)]
        return (quick if everywhere or on_card(first) else plain)(first, *others, **named)

    return forward


def _one_side_first(network: Any, quick: dict[Any, Forward]) -> Iterator[tuple[Any, Forward]]:
    """The first residual block runs for one side; the transformer behind it makes all of them at the prompt. A ControlNet's pictures are
    the same for all too."""
    embedding = embedding_of(network)
    if embedding is not None:
        yield embedding, _one_for_all(embedding)
    first: Any = next(iter(getattr(network, "down_blocks", ())), None)
    if getattr(first, "has_cross_attention", False):
        resnet, transformer = first.resnets[0], first.attentions[0]
        if resnet in quick and transformer in quick:
            yield resnet, _one_side(resnet, quick[resnet])


def embedding_of(network: Any) -> Any:
    """A ControlNet's first layers, that see its pictures and nothing else; None where they are not as they usually are."""
    embedding = getattr(network, "controlnet_cond_embedding", None)
    usual = isinstance(embedding, ControlNetConditioningEmbedding) and network.config.controlnet_conditioning_channel_order == "rgb"
    return embedding if usual else None


def _one_for_all(embedding: Any) -> Forward:
    """Pictures are embedded for one of equal sides, and handed to their ``keep``, if they have one. Those that come embedded stay as they
    are."""
    plain, already = embedding.forward, embedding.conv_out.out_channels

    def run(pictures: Tensor) -> Tensor:
        if pictures.shape[1] == already:
            return pictures
        embedded = plain(pictures[: len(pictures) // _SIDES.get()])
        if keep := getattr(pictures, "keep", None):
            keep(embedded)
        return each(embedded, len(pictures))

    return run


def _one_side(resnet: Any, quick: Forward) -> Forward:
    plain = resnet.forward

    def run(input_tensor: Tensor, temb: Tensor) -> Any:
        rows = len(input_tensor) // _SIDES.get()
        return (quick if on_card(input_tensor) else plain)(input_tensor[:rows], temb[:rows])

    return run


def _merge(network: nn.Module) -> None:
    """Weights of projections laid side by side."""
    for module in network.modules():
        if isinstance(module, Attention):
            merge_projections(module)
