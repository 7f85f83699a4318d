"""Steps recorded for a card: without one, the step itself; and where a card cannot."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from vcd_studio.method.recorded import WORTH, recorded, repeated


def work(x: Tensor, y: Tensor) -> Tensor:
    return x * y


def test_on_a_cpu_work_is_itself() -> None:
    assert recorded(work, torch.ones(2), torch.ones(2)) is work


class OnCard(Tensor):
    """Says that it is on a card."""

    is_cuda = True


@pytest.mark.parametrize("error", [None, torch.cuda.OutOfMemoryError("CUDA out of memory"), RuntimeError("operation not permitted")])
def test_on_a_card_it_is_recorded_if_that_can_be(error: Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def make(given: Any, sample: tuple[Tensor, ...]) -> Any:
        seen.append((given, sample))
        if error:
            raise error
        return "played"

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", make)
    sample = torch.ones(2).as_subclass(OnCard), torch.ones(2)
    assert recorded(work, *sample) == (work if error else "played")
    ((given, shown),) = seen
    assert given is work
    assert shown[0] is sample[0]


class Graph:
    """Counts how often it was played."""

    def __init__(self) -> None:
        self.played = 0

    def replay(self) -> None:
        self.played += 1


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    """Those that have been recorded."""
    made: list[Graph] = []

    def recording(graph: Graph, **_: Any) -> AbstractContextManager[None]:
        made.append(graph)
        return nullcontext()

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    return made


def on_card(*shape: int) -> Tensor:
    return torch.ones(shape).as_subclass(OnCard)


def test_what_comes_again_is_recorded_the_second_time_and_played_then(graphs: list[Graph]) -> None:
    told: list[tuple[int, ...]] = []

    def work(constant: Tensor, x: Tensor) -> Tensor:
        told.append(tuple(x.shape))
        return constant * x

    text, other = torch.full((1,), 2.0), torch.full((1,), 3.0)
    with repeated(work, WORTH) as again:
        for _ in range(4):
            answer = again(text, on_card(2))
        assert told == [(2,), (2,)]
        assert [graph.played for graph in graphs] == [3]
        torch.testing.assert_close(torch.Tensor(answer), torch.full((2,), 2.0))
        for given in ((text, on_card(3)), (other, on_card(2))):  # another shape, another constant: each is new
            again(*given)
            again(*given)
        assert told[2:] == [(3,), (3,), (2,), (2,)]
        assert len(graphs) == 3


def test_what_a_player_is_given_goes_where_the_recording_reads(graphs: list[Graph]) -> None:
    read: list[Tensor] = []

    def work(constant: Tensor, x: Tensor) -> Tensor:
        read.append(x)
        return x

    one = torch.ones(1)
    with repeated(work, WORTH) as again:
        for number in range(5):
            again(one, on_card(2) * number)
        assert read[-1].tolist() == [4.0, 4.0]
        assert len(read) == 2


def test_work_is_done_as_ever_where_it_cannot_be_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def recording(*_: Any, **__: Any) -> Any:
        tried.append(1)
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    one, x = torch.ones(1), on_card(2)
    with repeated(work, WORTH) as again:
        for _ in range(5):
            torch.testing.assert_close(torch.Tensor(again(one, x)), torch.ones(2))
    assert tried == [1]


def test_what_comes_seldom_or_is_on_a_cpu_is_not_recorded(graphs: list[Graph]) -> None:
    with repeated(work, WORTH - 1) as again:
        assert again is work
    one, x = torch.ones(1), torch.ones(2)
    with repeated(work, WORTH) as again:
        for _ in range(3):
            again(one, x)
    assert not graphs
