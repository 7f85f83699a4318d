"""The card's table, in miniature on the CPU: every row comes, what fails is a line, and work is counted as it was published."""

from __future__ import annotations

from dataclasses import replace
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
    monkeypatch.setattr(full_size, "CONTESTANTS", full_size.CONTESTANTS[:2])  # a compiler would be at work for minutes
    broken = full_size.Row("juggling", "juggling", 1, rivals=full_size.RIVALS)
    monkeypatch.setattr(full_size, "ROWS", (broken, *full_size.ROWS))
    lines = list(full_size.measure(Options("cpu", 2, tmp_path, small=True)))
    failed = [line for line in lines if isinstance(line, Failed)]
    assert [line.what for line in failed] == ["juggling: ours", "juggling: diffusers"]
    assert "KeyError" in failed[0].error
    figures = {line.what: line for line in lines if isinstance(line, Figure)}
    rows = {row.what: row for row in (full_size.STEP, *full_size.ROWS[1:])}
    assert list(figures)[1:] == ["first step, kernels not yet made", *rows, "first step, kernels kept by another process"]
    assert all(figures[what].value > 0 and figures[what].floor for what in rows)
    assert {what: figures[what].rival_name for what in rows} == {what: "diffusers" if row.rivals else "" for what, row in rows.items()}
    assert {what: len(figures[what].samples) for what in rows} == {what: 1 if row.once else 2 for what, row in rows.items()}


def test_ours_has_a_line_against_each_rival_that_could_do_it() -> None:
    row, took = replace(full_size.STEP, steps=2), {"ours": (2.0,), "diffusers": (6.0,), "diffusers optimised": (3.0,)}
    peaks = {"ours": 5.0, "diffusers": 7.0, "diffusers optimised": 8.0}
    optimised, plain = full_size._figures(row, took, peaks, floor=1.0)
    assert (optimised.rival_name, optimised.value, optimised.ratio, optimised.times) == ("diffusers optimised", 1.0, 1.5, 1.2)
    assert (plain.rival_name, plain.ratio, plain.times) == ("diffusers", 3.0, 2.0)
    assert (plain.floor, plain.wanted, plain.note) == (0.5, 1.0, "here 5.0 GB at most, diffusers 7.0 GB at most")
    (alone,) = full_size._figures(row, {"ours": (2.0,)}, {"ours": 0.0}, floor=1.0)
    assert (alone.ratio, alone.times, alone.note) == (None, None, "")


def test_the_published_networks_have_as_much_to_reckon_as_was_published() -> None:
    counted = count()
    for name, operations in PUBLISHED.items():
        assert getattr(counted, name.replace(" ", "_")) == pytest.approx(operations, rel=0.15)
