"""Work that is the same at every step, recorded: a card is told of it in one go, and not kernel by kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

Work = Callable[..., Tensor]

WORTH = 12
"""Times that work must come for a recording, which takes about as long as telling the card of it once, to be worth it."""


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


@contextmanager
def repeated(work: Work, times: int) -> Iterator[Work]:
    """While open, ``work`` of a constant tensor and of others, which come about so many ``times`` in the same shapes. On a card the second
    time is recorded and the later ones are played; an answer is then good until the next call. What is not worth it is done as ever."""
    if times < WORTH:
        yield work
        return
    player = _Player(work)
    try:
        yield player
    finally:
        player.forget()


class _Player:
    def __init__(self, work: Work) -> None:
        self._work = work
        self._known: dict[tuple[Any, ...], _Recording | None] = {}
        """By the constant and the shapes; None for what cannot be recorded."""
        self._seen: dict[tuple[Any, ...], Tensor] = {}
        """The constants, so that each one's id stays its own."""

    def __call__(self, constant: Tensor, *given: Tensor) -> Tensor:
        key = (id(constant), *(tensor.shape for tensor in given))
        if not given[0].is_cuda or key not in self._seen:  # what is made but once, prompts' keys for one, is made now
            self._seen[key] = constant
            return self._work(constant, *given)
        if key not in self._known:
            self._known[key] = _record(self._work, constant, given)
        recording = self._known[key]
        return self._work(constant, *given) if recording is None else recording.play(given)

    def forget(self) -> None:
        """Give back the memory that recordings keep to themselves."""
        if any(self._known.values()):
            self._known.clear()
            torch.cuda.empty_cache()


@dataclass(frozen=True)
class _Recording:
    graph: Any
    given: tuple[Tensor, ...]
    answer: Tensor

    def play(self, given: tuple[Tensor, ...]) -> Tensor:
        for place, tensor in zip(self.given, given, strict=True):
            place.copy_(tensor)
        self.graph.replay()
        return self.answer


def _record(work: Work, constant: Tensor, given: tuple[Tensor, ...]) -> _Recording | None:
    """None where there is no room for it, or something in it waits for the card."""
    places = tuple(tensor.to(given[0].device, copy=True) for tensor in given)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            answer = work(constant, *places)
    except RuntimeError:
        torch.cuda.empty_cache()
        return None
    return _Recording(graph, places, answer)
