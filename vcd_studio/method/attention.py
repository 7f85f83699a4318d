"""Attention that saves work: a prompt's keys and values computed once per clip, and a quick way back through it in training."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn

MOST_ROWS = 8
"""Of a prompt that is remembered. One that travels has a row for every frame: in SD 1.5 some 120 MB for each window of 16, in fp16, to save
0.3 % of a step."""


FEW = 80
"""Keys; a prompt has 77."""


class RememberingProcessor:
    """diffusers' attention, but the keys and values of a prompt it has seen before (the same tensor) are not computed again.

    The frames of a clip mostly share a prompt: those of each side of the guidance then attend to its one row together.
    """

    def __init__(self, plain: AttnProcessor2_0) -> None:
        self._plain = plain
        self._known: dict[int, tuple[Tensor, Tensor | None, Tensor | None]] = {}

    def __call__(self, attn: Any, hidden: Tensor, encoder_hidden_states: Tensor | None = None, *rest: Any, **named: Any) -> Tensor:
        """``hidden`` (b, cells, channels) attends to the prompt (b, length, width)."""
        text = encoder_hidden_states
        if text is None or hidden.ndim != 3 or rest or named.get("attention_mask") is not None or not is_plain_attention(attn):
            answer: Tensor = self._plain(attn, hidden, text, *rest, **named)
            return answer
        if id(text) not in self._known:
            rows = distinct_rows(text)
            remembered = (_heads(side(rows), attn.heads) for side in (attn.to_k, attn.to_v)) if len(rows) <= MOST_ROWS else (None, None)
            self._known[id(text)] = (text, *remembered)  # the tensor is kept, so its id stays its own
        _, keys, values = self._known[id(text)]
        if keys is None or values is None:
            answer = self._plain(attn, hidden, text, *rest, **named)
            return answer
        queries = _heads(attn.to_q(hidden).reshape(len(keys), -1, hidden.shape[-1]), attn.heads)
        seen = attend(queries, keys, values).transpose(1, 2).reshape(hidden.shape)
        out: Tensor = attn.to_out[1](attn.to_out[0](seen.to(hidden.dtype)))
        return out


def distinct_rows(text: Tensor) -> Tensor:
    """A prompt's rows (b, length, width) without repetitions, where each is repeated as often as any other; else all of them."""
    repeated = (text[1:] == text[:-1]).flatten(1).all(1).tolist()
    fresh = [0, *(i for i, again in enumerate(repeated, 1) if not again), len(text)]
    runs = {end - begin for begin, end in itertools.pairwise(fresh)}
    return text[fresh[:-1]] if len(runs) == 1 else text


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention (…, heads, n, d). On a CPU in plain steps where keys are few: a prompt's, a window's frames, a small picture's cells. The
    fused kernel is the slower there (two cores, 32 × 256 queries and 40 keys: 2.3 ms, and 1.7 ms so; 128 × 16 frames: 1.0 and 0.4)."""
    if queries.device.type != "cpu" or keys.shape[-2] > FEW:
        fused: Tensor = torch.nn.functional.scaled_dot_product_attention(queries, keys, values)
        return fused
    if torch.is_grad_enabled():
        scores: Tensor = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
        return scores.softmax(-1) @ values
    return _attend_in_place(queries, keys, values)


def _attend_in_place(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """No gradient goes through it, so scores are scaled while they are made and become shares where they lie: a quarter less time."""
    q, k, v = (each.flatten(0, -3) for each in (queries, keys, values))
    scores = q.new_empty(len(q), q.shape[1], k.shape[1])
    torch.baddbmm(scores, q, k.transpose(1, 2), beta=0, alpha=q.shape[-1] ** -0.5, out=scores)
    torch.softmax(scores, -1, out=scores)
    return torch.bmm(scores, v).view(queries.shape)


def is_plain_attention(attn: Any) -> bool:
    """Nothing but queries, keys, values and a projection out: what every SD 1.5 block has."""
    norms = (attn.spatial_norm, attn.group_norm, attn.norm_cross or None, attn.norm_q, attn.norm_k)
    return all(norm is None for norm in norms) and not attn.residual_connection and attn.rescale_output_factor == 1


def _heads(x: Tensor, heads: int) -> Tensor:
    """(b, n, heads · d) to (b, heads, n, d)"""
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


@contextmanager
def remembered_prompts(*networks: Any) -> Iterator[None]:
    """While open, the cross-attention of these networks remembers prompts. Processors that are not diffusers' plain one are left alone."""
    modules: list[Any] = [module for network in networks if isinstance(network, nn.Module) for module in network.modules()]
    attentions = [module for module in modules if _sees_prompts(module)]
    plain = [attention.processor for attention in attentions]
    for attention, processor in zip(attentions, plain, strict=True):
        attention.processor = RememberingProcessor(processor)
    try:
        yield
    finally:
        for attention, processor in zip(attentions, plain, strict=True):
            attention.processor = processor


def _sees_prompts(module: Any) -> bool:
    return isinstance(module, Attention) and bool(module.is_cross_attention) and type(module.processor) is AttnProcessor2_0


def attend_plainly(network: Any) -> dict[str, Any]:
    """Let a UNet or ControlNet that is to be trained on a CPU attend in diffusers' plain steps; returns the processors it had.

    In bf16 the fused kernel's way back is slow on a CPU: a third of a training step of the pocket UNet (32 latents, one core: 0.95 s, and
    0.64 s so; equal to rounding). On a card nothing is changed.
    """
    before = dict(network.attn_processors)
    if network.device.type == "cpu":
        network.set_attn_processor({n: AttnProcessor() if type(p) is AttnProcessor2_0 else p for n, p in before.items()})
    return before


@contextmanager
def plainly_attending(network: Any) -> Iterator[None]:
    """``attend_plainly`` while open, where numbers are in 16 bits: in fp32 the fused kernel is the quicker (a step of batch 4: 138 ms, and
    148 ms in plain steps). Gradients of what was computed in it may be taken after it."""
    if network.dtype == torch.float32 and not torch.is_autocast_enabled("cpu"):
        yield
        return
    before = attend_plainly(network)
    try:
        yield
    finally:
        network.set_attn_processor(before)
