"""The cards as NVML tells them, by a stand-in for its module: what it refuses is not known, and never an error."""

from __future__ import annotations

import pytest

from tests.fake_nvml import GIB, FakeNvml
from vcd_studio.devices import Card, Memory, Process, Slice, card_of, management, read_cards, uuid_of


def test_a_card_is_told_with_all_its_numbers() -> None:
    nvml = FakeNvml({"uuid": "GPU-1", "name": b"NVIDIA H100"})
    reading = read_cards(nvml)
    (card,) = reading.cards
    assert (reading.driver, reading.problem) == ("580.95", "")
    assert (card.index, card.name, card.uuid) == (0, "NVIDIA H100", "GPU-1")
    assert (card.memory, card.temperature, card.load, card.mig) == (Memory(24 * GIB, 20 * GIB), 61, 97, False)
    assert nvml.users == 0


def test_processes_are_told_once_each_the_largest_first() -> None:
    card = {"uuid": "GPU-1", "compute": [(7, GIB), (404, 3 * GIB)], "graphics": [(7, 2 * GIB), (9, None)]}
    (found,) = read_cards(FakeNvml(card)).cards
    assert found.processes == (Process(404, "", 3 * GIB), Process(7, "program-7", 2 * GIB), Process(9, "program-9", None))


def test_a_divided_card_is_told_by_its_instances_and_has_no_load() -> None:
    card = {"uuid": "GPU-1", "slices": {2: {"uuid": "MIG-a", "memory": (10 * GIB, 9 * GIB)}}}
    (found,) = read_cards(FakeNvml(card)).cards
    assert found.mig
    assert found.load is None
    assert [(part.uuid, part.memory) for part in found.slices] == [("MIG-a", Memory(10 * GIB, 9 * GIB))]


def test_what_is_not_permitted_is_not_known_and_the_rest_is() -> None:
    questions = ("MemoryInfo", "ComputeRunningProcesses", "GraphicsRunningProcesses", "MigMode")
    refuse = {f"nvmlDeviceGet{question}": "Insufficient Permissions" for question in questions}
    (card,) = read_cards(FakeNvml({"uuid": "GPU-1"}, refuse=refuse)).cards
    assert (card.memory, card.processes, card.mig, card.temperature) == (None, None, False, 61)


def test_a_name_that_is_no_utf8_is_not_known() -> None:
    (card,) = read_cards(FakeNvml({"uuid": "GPU-1", "name": b"\xff\xfe"})).cards
    assert (card.name, card.uuid) == ("", "GPU-1")


def test_one_lost_card_does_not_hide_the_other() -> None:
    lost, other = read_cards(FakeNvml({"lost": "GPU is lost"}, {"uuid": "GPU-2"})).cards
    assert (lost.problem, other.uuid, other.index) == ("GPU is lost", "GPU-2", 1)


@pytest.mark.parametrize("function", ["nvmlInit", "nvmlDeviceGetCount"])
def test_no_driver_is_a_problem_in_nvmls_words(function: str) -> None:
    nvml = FakeNvml(refuse={function: "Driver Not Loaded"})
    reading = read_cards(nvml)
    assert (reading.cards, reading.problem) == ((), "Driver Not Loaded")
    assert nvml.users == 0


def test_processes_of_others_are_those_that_are_not_ours() -> None:
    (card,) = read_cards(FakeNvml({"uuid": "GPU-1", "compute": [(7, GIB), (9, None)]})).cards
    assert [str(process) for process in card.foreign({7})] == ["pid 9 program-9 ? MiB"]
    assert Card(0).foreign({7}) == []


CARDS = (Card(0, uuid="GPU-aa1"), Card(1, uuid="GPU-aa2"), Card(2, uuid="GPU-b", mig=True, slices=(Slice("MIG-x", None),)))


@pytest.mark.parametrize(
    ("device", "visible", "index"),
    [
        ("cuda:0", None, 0),
        ("cuda:2", None, 2),
        ("cuda:3", None, None),
        ("cpu", None, None),
        ("cuda:0", "1,0", 1),
        ("cuda:1", " 1 , 0 ", 0),
        ("cuda:2", "1,0", None),
        ("cuda:0", "", None),
        ("cuda:0", "-1", None),
        ("cuda:1", "7,0", None),  # CUDA stops at the first that is not there
        ("cuda:0", "GPU-aa2", 1),
        ("cuda:0", "GPU-aa", None),  # the beginning of two
        ("cuda:1", "0,MIG-x", 2),
    ],
)
def test_which_card_cuda_means(device: str, visible: str | None, index: int | None) -> None:
    found = card_of(device, CARDS, visible)
    assert (found.index if found else None) == index


@pytest.mark.parametrize(
    ("device", "visible", "uuid"),
    [
        ("cuda:1", None, "GPU-aa2"),
        ("cuda:0", "1", "GPU-aa2"),
        ("cuda:0", "GPU-aa2", "GPU-aa2"),
        ("cuda:2", None, "MIG-x"),  # by its number: the first instance
        ("cuda:0", "MIG-x", "MIG-x"),
        ("cuda:3", None, None),
        ("cpu", None, None),
    ],
)
def test_one_card_is_one_whatever_it_is_called(device: str, visible: str | None, uuid: str | None) -> None:
    assert uuid_of(device, CARDS, visible) == uuid


def test_held_open_it_can_be_asked_again_and_again() -> None:
    nvml = FakeNvml({"uuid": "GPU-1"})
    with management(nvml) as held:
        assert read_cards(held) == read_cards(held)
        assert nvml.users == 1
    assert nvml.users == 0
