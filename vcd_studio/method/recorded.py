"""Work that is the same at every step, recorded: a card is told of it in one go, and not kernel by kernel."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

Work = Callable[..., Tensor]
Key = tuple[Any, ...]

WORTH = 12
"""Times that work must come for a recording, which takes about as long as telling the card of it once or twice, to be worth it."""
ROOM = 32 << 30
"""Bytes of a card that must be free for recordings, which keep as much for themselves as a step needs. A card of less is slow enough to be
told of each kernel while it is busy with others."""


def recorded(work: Work, *sample: Tensor) -> Work:
    """``work`` of tensors that are like ``sample``, and its way back, as CUDA graphs; on a CPU, and on a card that cannot, ``work`` itself.

    A sample that learns must be the very tensor that is learnt. On an H200 a training step of SD 1.5's UNet (bf16, batch 4) takes 81 ms
    told kernel by kernel and 36 ms so.
    """
    if not sample[0].is_cuda:
        return work
    try:
        return cast(Work, torch.cuda.make_graphed_callables(work, sample))
    except RuntimeError:  # no room for it, mostly: what it keeps for itself is as much as a step needs
        torch.cuda.empty_cache()
        return work


def worth_recording(networks: Sequence[Any], times: int) -> bool:
    """Whether a work of these networks that comes so many ``times`` is to be ``repeated``: on a card with much room, to which they stay."""
    modules = [network for network in networks if network is not None]
    if times < WORTH or not all(isinstance(network, nn.Module) and not network._forward_pre_hooks for network in modules):
        return False
    first: Tensor = next(modules[0].parameters())
    return first.is_cuda and (_KEPT.get(modules[0]) is not None or _room(first.device) >= ROOM)


@contextmanager
def repeated(work: Work, networks: Sequence[Any], facts: Key = (), held: Any = None) -> Iterator[Work]:
    """While open, ``work`` of tensors on a card: of some shapes it is done as ever the first time, recorded the second, and played from
    then on, with an answer that is good until the next call.

    Recordings are kept for as long as the first of the ``networks`` lives and there is room, and played again for work of the same
    networks, their weights in the same places, and the same ``facts``, which is all that may tell one work from another. ``held`` is kept
    with them: whatever else lies in memory that they read.
    """
    modules = [network for network in networks if network is not None]
    kept = _KEPT.setdefault(modules[0], {})
    places = tuple(tensor.data_ptr() for network in modules for tensor in itertools.chain(network.parameters(), network.buffers()))
    try:
        yield _Player(work, kept, (facts, places), held)
    finally:
        if _room(next(modules[0].parameters()).device) < ROOM:
            del _KEPT[modules[0]]


class _Player:
    def __init__(self, work: Work, kept: dict[Key, _Recording], facts: Key, held: Any) -> None:
        self._work, self._kept, self._facts, self._held = work, kept, facts, held
        self._seen: dict[Key, int] = {}

    def __call__(self, *given: Tensor) -> Tensor:
        key = (self._facts, *((tensor.shape, tensor.dtype) for tensor in given))
        self._seen[key] = self._seen.get(key, 0) + 1
        if key not in self._kept and self._seen[key] == 2 and (made := _record(self._work, given, self._held)):
            self._kept[key] = made
        return self._kept[key].play(given) if key in self._kept else self._work(*given)


@dataclass(frozen=True)
class _Recording:
    graph: Any
    given: tuple[Tensor, ...]
    answer: Tensor
    held: Any

    def play(self, given: tuple[Tensor, ...]) -> Tensor:
        for place, tensor in zip(self.given, given, strict=True):
            place.copy_(tensor)
        self.graph.replay()
        return self.answer


_KEPT: WeakKeyDictionary[nn.Module, dict[Key, _Recording]] = WeakKeyDictionary()


def _record(work: Work, given: tuple[Tensor, ...], held: Any) -> _Recording | None:
    """None where there is no room after all, or something in it waits for the card."""
    places = tuple(tensor.to(given[0].device, copy=True) for tensor in given)
    graph = torch.cuda.CUDAGraph()
    try:
        with _recording(graph):
            answer = work(*places)
    except RuntimeError:
        return None
    return _Recording(graph, places, answer, held)


@contextmanager
def _recording(graph: Any) -> Iterator[None]:
    """torch.cuda.graph, but that does not give freed memory back to the card first: on an H200 that took as long as a step."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            yield
        finally:
            graph.capture_end()
    torch.cuda.current_stream().wait_stream(stream)


def _room(device: torch.device) -> int:
    """Bytes that this process may still take of a card."""
    free, whole = torch.cuda.mem_get_info(device)
    share = torch.cuda.get_per_process_memory_fraction(device) if hasattr(torch.cuda, "get_per_process_memory_fraction") else 1.0
    return min(free, int(share * whole) - torch.cuda.memory_reserved(device))
