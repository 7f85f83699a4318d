"""What is said of the graphics cards."""

from __future__ import annotations

import pytest

from vcd_studio.devices import Card, Memory, Process, Reading, Slice
from vcd_studio.doctor.cards import check_cards

GIB = 2**30
CARD = Card(0, "NVIDIA H100", "GPU-1", Memory(80 * GIB, 79 * GIB), 41, 0, processes=())


def test_a_free_card_is_in_order_and_told_with_its_numbers() -> None:
    (found,) = check_cards(Reading("580.95", (CARD,)), {})
    assert found.state == "ok"
    for words in ("NVIDIA H100", "79.0 GiB of 80.0 GiB free", "driver 580.95", "41 °C", "load 0 %", "GPU-1"):
        assert words in found.found


@pytest.mark.parametrize(
    ("problem", "remedy"),
    [
        ("NVML Shared Library Not Found", "install NVIDIA's driver"),
        ("Driver Not Loaded", "modprobe nvidia"),
        ("Driver/library version mismatch", "restart the machine"),
        ("Insufficient Permissions", "/dev/nvidia"),
        ("", "install NVIDIA's driver"),
    ],
)
def test_without_a_card_clips_are_slow_and_the_refusal_names_the_remedy(problem: str, remedy: str) -> None:
    (found,) = check_cards(Reading(problem=problem), {})
    assert found.state == "warning"
    assert "on the CPU, slowly" in found.found
    assert problem in found.found
    assert remedy in found.remedy


def test_somebody_elses_process_on_a_full_card_is_named_and_our_worker_is_not() -> None:
    theirs, ours = Process(7, "train.py", 60 * GIB), Process(8, "python", 19 * GIB)
    card = Card(0, "H100", "GPU-1", Memory(80 * GIB, GIB), processes=(theirs, ours))
    (found,) = check_cards(Reading("580", (card,)), {}, ours={8})
    assert found.state == "warning"
    assert "held by pid 7 train.py 61440 MiB" in found.found
    assert "pid 8" not in found.found
    assert "end pid 7 train.py" in found.remedy


def test_a_card_that_is_too_small_is_nobodys_fault() -> None:
    card = Card(0, "GTX", "GPU-1", Memory(4 * GIB, 3 * GIB), processes=(Process(7, "Xorg", GIB),))
    (found,) = check_cards(Reading("580", (card,)), {})
    assert found.state == "warning"
    assert "fewer frames" in found.remedy


def test_a_divided_card_is_judged_by_its_largest_instance() -> None:
    whole = Memory(80 * GIB, 79 * GIB)
    small, large = Slice("MIG-a", Memory(5 * GIB, 5 * GIB)), Slice("MIG-b", Memory(20 * GIB, 19 * GIB))
    states = [
        check_cards(Reading("580", (Card(0, "H100", "GPU-1", whole, mig=True, slices=slices),)), {})[0].state
        for slices in ((small, large), (small,), ())
    ]
    assert states == ["ok", "warning", "warning"]


def test_what_nvml_does_not_tell_is_said_to_be_untold() -> None:
    (found,) = check_cards(Reading("", (Card(0, uuid="GPU-1"),)), {})
    assert found.state == "ok"
    assert "memory not told" in found.found
    assert "who uses it is not told" in found.found


def test_a_lost_card_and_a_good_one_are_two_findings() -> None:
    lost, good = check_cards(Reading("580", (Card(0, problem="GPU is lost"), CARD)), {})
    assert (lost.state, good.state) == ("warning", "ok")
    assert "GPU is lost" in lost.found


@pytest.mark.parametrize("value", ["", "-1"])
def test_a_hidden_card_is_said_to_be_hidden(value: str) -> None:
    (found,) = check_cards(Reading("580", (CARD,)), {"CUDA_VISIBLE_DEVICES": value})
    assert (found.state, found.remedy) == ("warning", "unset CUDA_VISIBLE_DEVICES")
    assert check_cards(Reading("580", (CARD,)), {"CUDA_VISIBLE_DEVICES": "0"})[0].state == "ok"
