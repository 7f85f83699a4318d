"""The table's arithmetic, and that rivals take turns."""

from __future__ import annotations

from collections import Counter

import pytest

from vcd_studio.bench.figures import Failed, Figure, alternate, amount, markdown


def test_a_ratio_is_taken_round_by_round() -> None:
    figure = Figure("T2V", (1.0, 2.0, 4.0), rival=(1.5, 3.0, 4.0), rival_name="diffusers", times=1.3)
    assert figure.value == 2.0
    assert figure.ratio == 1.5
    assert figure.met
    assert Figure("T2V", (1.0,), rival=(1.2,), times=1.3).met is False


@pytest.mark.parametrize(("wanted", "met"), [(0.5, True), (0.4, False), (None, None)])
def test_what_is_wanted_is_met_by_the_median(wanted: float | None, met: bool | None) -> None:
    assert Figure("help", (0.3, 0.5, 9.0), wanted=wanted).met is met


def test_rivals_take_turns_and_each_begins() -> None:
    order: list[str] = []

    def runner(name: str, seconds: float) -> float:
        order.append(name)
        return seconds

    measured = alternate({"a": lambda: runner("a", 1.0), "b": lambda: runner("b", 2.0)}, rounds=4, warm_up=1)
    assert measured == {"a": (1.0,) * 4, "b": (2.0,) * 4}
    assert "".join(order) == "ab" + "abba" * 2
    assert Counter(order[2::2]) == {"a": 2, "b": 2}


def test_the_table_says_what_was_wanted_and_whether_it_came() -> None:
    lines = markdown([Figure("T2V", (1.0,), rival=(1.5,), rival_name="diffusers", times=1.3, floor=0.08)])
    assert lines[-1] == "| T2V | 1.00 s |  | diffusers 1.50 s | 1.50 | 80.0 ms | ≥ 1.3 × | yes |"


def test_what_could_not_be_measured_is_a_line_of_the_table() -> None:
    failed = Failed("Tiled", "RuntimeError: out of memory")
    head, _, line = markdown([failed])
    assert line.startswith("| Tiled | failed: RuntimeError: out of memory |")
    assert line.count("|") == head.count("|")
    assert failed.record() == {"what": "Tiled", "error": "RuntimeError: out of memory"}


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [(0.013, "s", "13.0 ms"), (12.34, "s", "12.3 s"), (151.2, "MB", "151 MB"), (3, "", "3.00"), (0.0013, "s a TFLOP", "1.30 ms a TFLOP")],
)
def test_amounts_have_three_digits(value: float, unit: str, said: str) -> None:
    assert amount(value, unit) == said
