"""Steps recorded: for a card as it can, for a CPU on a tape; and where neither can, the step itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from vcd_studio.method.recorded import coarser_products, recorded
from vcd_studio.method.tape import Tape


def work(x: Tensor, y: Tensor) -> Tensor:
    return x * y


def by_chance(x: Tensor) -> Tensor:
    return x + torch.rand(2)


def test_on_a_cpu_work_is_played_from_a_tape() -> None:
    sample = torch.ones(2), torch.ones(2)
    played = recorded(work, *sample)
    assert isinstance(played, Tape)
    assert torch.equal(played(torch.full((2,), 3.0), torch.full((2,), 2.0)), torch.full((2,), 6.0))


def test_what_cannot_be_taped_is_itself() -> None:
    assert recorded(by_chance, torch.ones(2)) is by_chance


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


def test_products_are_coarser_for_a_while_alone() -> None:
    matmul = torch.backends.cuda.matmul
    assert not matmul.allow_tf32
    with coarser_products():
        assert matmul.allow_tf32
    assert not matmul.allow_tf32
