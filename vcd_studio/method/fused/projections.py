"""Queries, keys and values of what attends to itself, in one product of matrices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


def merge_projections(attention: Any) -> None:
    """Lay the weights of the three one after the other in memory, where they are as wide. They stay parameters of their own, with the
    numbers they had."""
    layers = _layers(attention)
    if not _are_alike(layers) or merged(attention) is not None:
        return
    weights = [layer.weight for layer in layers]
    with torch.inference_mode(False), torch.no_grad():
        parts = torch.cat([weight.detach() for weight in weights]).split([len(weight) for weight in weights])
        for weight, part in zip(weights, parts, strict=True):
            weight.data = part


def merged(attention: Any) -> Tensor | None:
    """The three weights as one, where they lie so."""
    layers = _layers(attention)
    if not _are_alike(layers):
        return None
    q, k, v = (layer.weight for layer in layers)
    place, width = q.storage_offset(), q.shape[1]
    in_one_piece = len({weight.untyped_storage().data_ptr() for weight in (q, k, v)}) == 1 and q.is_contiguous()
    if not in_one_piece or (k.storage_offset(), v.storage_offset()) != (place + q.numel(), place + q.numel() + k.numel()):
        return None
    whole: Tensor = q.as_strided((len(q) + len(k) + len(v), width), (width, 1), place)
    return whole


def projections(attention: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values (n, length, channels); the rows of all three are equally far apart."""
    whole = merged(attention)
    if whole is None:
        q, k, v = (layer(tokens).contiguous() for layer in _layers(attention))
    else:
        q, k, v = linear(tokens, whole).tensor_split(3, -1)
    return q, k, v


def _layers(attention: Any) -> tuple[Any, Any, Any]:
    return attention.to_q, attention.to_k, attention.to_v


def _are_alike(layers: tuple[Any, ...]) -> bool:
    """Plain, and each may stand beside the others."""
    plain = all(type(layer) is nn.Linear and layer.bias is None for layer in layers)
    return plain and len({layer.weight.shape for layer in layers}) == 1
