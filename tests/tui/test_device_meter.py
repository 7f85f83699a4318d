"""The cards on the Queue screen, by a stand-in for NVIDIA's library."""

import threading
from collections.abc import Callable

import pytest
from conftest import screen_text, until, until_text
from studio_fixtures import FakeWorkers

from tests.fake_nvml import GIB, FakeNvml
from vcd_studio.devices import Card, Memory, Process, Reading, Slice
from vcd_studio.project.project import Project
from vcd_studio.tui import meter
from vcd_studio.tui.app import StudioApp
from vcd_studio.tui.widgets.queue.meter import DeviceMeter, line

Studio = Callable[..., StudioApp]


def test_a_card_in_one_line() -> None:
    processes = Process(4242, "python", GIB), Process(7, "", None)
    card = Card(1, "NVIDIA H100", "GPU-1", Memory(80 * GIB, 20 * GIB), 61, 97, processes=processes)
    assert line(card, {4242}).plain == "1 NVIDIA H100 ━━━━━━━╸── 60.0 of 80.0 GiB  97 %  61 °C  · also pid 7 (name not told) ? MiB"


def test_what_is_not_told_is_left_out_and_what_is_wrong_is_said() -> None:
    assert line(Card(0, "A card"), ()).plain == "0 A card"
    assert line(Card(0, problem="GPU is lost"), ()).plain == "0  cannot be read: GPU is lost"
    divided = Card(0, "A100", mig=True, slices=(Slice("MIG-a", Memory(10 * GIB, 10 * GIB)), Slice("MIG-b", None)))
    assert line(divided, ()).plain == "0 A100 ────────── 0.0 of 10.0 GiB"


def test_names_are_shown_and_not_obeyed() -> None:
    card = Card(0, "A\x1b[2Jcard", processes=(Process(7, "x\x1b]0;title\x07", None),))
    assert "\x1b" not in line(card, ()).plain
    assert "\x07" not in line(card, ()).plain


def test_the_library_is_held_open_and_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "EVERY", 0.0)
    nvml, stop = FakeNvml({"uuid": "GPU-1"}), threading.Event()
    users: list[int] = []

    def tell(reading: Reading) -> None:
        assert reading.cards[0].uuid == "GPU-1"
        users.append(nvml.users)
        if len(users) == 3:
            stop.set()

    meter.read_on(tell, stop, nvml)
    assert users == [1, 1, 1]
    assert nvml.users == 0


@pytest.mark.parametrize("nvml", [FakeNvml(), FakeNvml(refuse={"nvmlInit": "Driver Not Loaded"})])
def test_without_a_driver_or_a_card_nothing_is_told(nvml: FakeNvml) -> None:
    meter.read_on(lambda reading: pytest.fail("told"), threading.Event(), nvml)


async def test_the_queue_screen_shows_cards_and_strangers(
    studio: Studio, project: Project, workers: FakeWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "EVERY", 0.05)
    card = {"uuid": "GPU-1", "name": b"NVIDIA H100", "compute": [(4242, GIB)]}
    nvml = FakeNvml(card)
    monkeypatch.setattr("vcd_studio.devices._nvml", lambda: nvml)
    workers.alive = True
    threads = set()
    asked = nvml._DeviceGetMemoryInfo

    def remember(handle: dict[str, object]) -> object:
        threads.add(threading.current_thread())
        return asked(handle)

    nvml._DeviceGetMemoryInfo = remember  # type: ignore[method-assign]
    app = studio(project.path)
    async with app.run_test(size=(100, 30)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        assert not threads, "no card is read before the screen is seen"
        await pilot.press("4")
        await until_text(pilot, "0 NVIDIA H100 ━╸──────── 4.0 of 24.0 GiB  97 %  61 °C")
        assert "also pid" not in screen_text(pilot)
        card["compute"] = [(4242, GIB), (77, 2 * GIB)]
        await until_text(pilot, "· also pid 77 program-77 2048 MiB")
        assert threads
        assert threading.main_thread() not in threads
    (thread,) = threads
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert nvml.users == 0


async def test_without_a_driver_the_queue_screen_is_as_ever(studio: Studio, project: Project) -> None:
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("4")
        await until(pilot, lambda: not app.screen.query_one(DeviceMeter).display, "no meter")
        await until(pilot, lambda: all(thread.name != "device meter" for thread in threading.enumerate()), "the reading has ended")
