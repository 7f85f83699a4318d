"""The card's table, in miniature on the CPU: every row comes, what fails is a line, and work is counted as it was published."""

from __future__ import annotations

from pathlib import Path

import pytest

from vcd_studio.bench import full_size
from vcd_studio.bench.figures import Failed, Figure
from vcd_studio.bench.operations import count
from vcd_studio.bench.parts import Options
from vcd_studio.bench.tasks import BATCH

PUBLISHED = {"step": 35.5e12, "decode": 2.5e12, "encode": 1.1e12, "control": 0.28e12, "training step": 2.4 * 0.8e12 * BATCH}
"""Floating-point operations by which the goals were set."""


@pytest.mark.slow
def test_every_row_comes_and_one_that_fails_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_size, "OPTIMISED", (False,))  # a compiler would be at work for minutes
    broken = full_size.Row("juggling", "juggling", 1)
    monkeypatch.setattr(full_size, "ROWS", (broken, *full_size.ROWS))
    lines = list(full_size.measure(Options("cpu", 2, tmp_path, small=True)))
    failed = [line for line in lines if isinstance(line, Failed)]
    assert [line.what for line in failed] == ["juggling: ours", "juggling: diffusers"]
    assert "KeyError" in failed[0].error
    figures = {line.what: line for line in lines if isinstance(line, Figure)}
    assert list(figures)[1:] == [full_size.STEP.what, *(row.what for row in full_size.ROWS[1:])]
    assert all(figure.value > 0 for figure in figures.values())
    assert {figure.rival_name for what, figure in figures.items() if what in ("T2V", "ID training", full_size.STEP.what)} == {"diffusers"}
    assert all(figures[row.what].floor for row in (full_size.STEP, *full_size.ROWS[1:]))


def test_the_published_networks_have_as_much_to_reckon_as_was_published() -> None:
    counted = count()
    for name, operations in PUBLISHED.items():
        assert getattr(counted, name.replace(" ", "_")) == pytest.approx(operations, rel=0.15)
