"""Steps recorded for a card: without one, the step itself; and where a card cannot."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from vcd_studio.method.recorded import coarser_products, recorded


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


def test_products_are_coarser_for_a_while_alone() -> None:
    matmul = torch.backends.cuda.matmul
    assert not matmul.allow_tf32
    with coarser_products():
        assert matmul.allow_tf32
    assert not matmul.allow_tf32
