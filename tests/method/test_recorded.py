"""Steps recorded for a card: without one, the step itself; and where a card cannot."""

from __future__ import annotations

import gc
import importlib
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from tiny import tiny_networks
from torch import Tensor, nn

from vcd_studio.method.conditioning import Conditioning
from vcd_studio.method.denoise import Control, denoise
from vcd_studio.method.recorded import ROOM, WORTH, recorded, repeated, worth_recording
from vcd_studio.method.sampling import Sampling
from vcd_studio.method.savers import Savers
from vcd_studio.method.views import views_of

recorded_module = importlib.import_module("vcd_studio.method.recorded")
denoise_module = importlib.import_module("vcd_studio.method.denoise")


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
    """Those that have been recorded, on a card with room."""
    made: list[Graph] = []

    def recording(graph: Graph) -> AbstractContextManager[None]:
        made.append(graph)
        return nullcontext()

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(recorded_module, "_recording", recording)
    monkeypatch.setattr(recorded_module, "_room", lambda _: ROOM)
    return made


def network() -> nn.Module:
    made = nn.Linear(2, 2)
    made.weight = nn.Parameter(made.weight.as_subclass(OnCard))  # type: ignore[arg-type]
    return made


class Doubling:
    """Tells what it was called with."""

    def __init__(self) -> None:
        self.read: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.read.append(x)
        return 2 * x


def test_what_comes_again_is_recorded_the_second_time_and_played_then(graphs: list[Graph]) -> None:
    work = Doubling()
    with repeated(work, [network()]) as again:
        for number in range(5):
            answer = again(number * torch.ones(2))
        assert len(work.read) == 2
        assert work.read[-1].tolist() == [4.0, 4.0], "what a player is given goes where the recording reads"
        assert [graph.played for graph in graphs] == [4]
        assert answer.tolist() == [2.0, 2.0], "these graphs do nothing: the answer is where the recording has left it"
        for given in (torch.ones(3), torch.ones(2, dtype=torch.float64)):  # another shape, another type: each is new
            again(given)
            again(given)
        assert len(graphs) == 3


def test_recordings_are_kept_for_work_that_is_the_same(graphs: list[Graph]) -> None:
    unet, work = network(), Doubling()

    def twice(*networks: nn.Module, facts: tuple[float, ...] = ()) -> int:
        """How many recordings there are after it."""
        with repeated(work, networks, facts, held="weights in four phases") as again:
            again(torch.ones(2))
            again(torch.ones(2))
        return len(graphs)

    assert twice(unet) == 1
    told = len(work.read)
    assert twice(unet) == 1
    assert len(work.read) == told
    assert twice(unet, facts=(0.5,)) == 2, "another scale"
    assert twice(unet, network()) == 3, "a ControlNet beside it"
    unet.weight = nn.Parameter(unet.weight.detach().clone().as_subclass(OnCard))  # type: ignore[arg-type]
    assert twice(unet) == 4, "weights in another place"
    assert {made.held for made in recorded_module._KEPT[unet].values()} == {"weights in four phases"}


def test_recordings_go_with_their_network_and_where_room_is_short(graphs: list[Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(recorded_module._KEPT)
    unet = network()
    with repeated(Doubling(), [unet]) as again:
        again(torch.ones(2))
        again(torch.ones(2))
    assert len(recorded_module._KEPT) == before + 1
    del unet
    gc.collect()
    assert len(recorded_module._KEPT) == before
    unet = network()
    monkeypatch.setattr(recorded_module, "_room", lambda _: ROOM - 1)
    with repeated(Doubling(), [unet]) as again:
        again(torch.ones(2))
        again(torch.ones(2))
        assert unet in recorded_module._KEPT
    assert unet not in recorded_module._KEPT


def test_work_is_done_as_ever_where_it_cannot_be_recorded(graphs: list[Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Graph] = []

    def recording(graph: Graph) -> Any:
        tried.append(graph)
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(recorded_module, "_recording", recording)
    with repeated(Doubling(), [network()]) as again:
        for number in range(5):
            assert again(number * torch.ones(2)).tolist() == [2 * number] * 2
    assert len(tried) == 1


def test_what_is_worth_recording(graphs: list[Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    unet, comes_and_goes = network(), network()
    comes_and_goes.register_forward_pre_hook(lambda *_: None)
    assert worth_recording([unet, None], WORTH)
    assert not worth_recording([unet, None], WORTH - 1)
    assert not worth_recording([unet, comes_and_goes], WORTH)
    assert not worth_recording([nn.Linear(2, 2)], WORTH), "on a CPU"
    assert not worth_recording([lambda *_: None], WORTH), "not a network"
    monkeypatch.setattr(recorded_module, "_room", lambda _: ROOM - 1)
    assert not worth_recording([unet, None], WORTH)


def test_a_clip_is_the_same_when_its_steps_are_played(graphs: list[Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs that are played by doing the work again, as a card would: every step, guided and not, beside a ControlNet in two windows."""
    networks = tiny_networks(controlnet=True)
    with torch.no_grad():
        for module in (networks.motion_unet, networks.controlnet):
            for parameter in module.parameters():  # zeros would hide what a ControlNet says
                parameter.add_(0.02)
    schedule = Sampling(steps=4, scheduler="euler").schedule(networks.scheduler.config)
    words = Conditioning(*torch.randn(2, 1, 24, 32, generator=torch.Generator().manual_seed(1)))
    pictures = torch.arange(6 * 3 * 16 * 16, dtype=torch.uint8).reshape(6, 3, 16, 16)
    views = views_of((6, 4, 4), context=4, context_overlap=2)
    noise = torch.randn(1, 4, 6, 4, 4, generator=torch.Generator().manual_seed(0))

    def clip() -> Tensor:
        control = Control(networks.controlnet, pictures, 4)
        return denoise(
            networks.motion_unet, schedule.start(noise), words, schedule, 3.0, views=views, control=control,
            savers=Savers(guidance_until=0.6),
        )  # fmt: skip

    plain = clip()
    works: list[tuple[Any, tuple[Tensor, ...]]] = []
    record = recorded_module._record

    def recording(work: Any, given: tuple[Tensor, ...], held: Any) -> Any:
        made = record(work, given, held)
        assert made is not None
        works.append((work, made.given))
        made.graph.replay = lambda: made.answer.copy_(work(*made.given))
        return made

    monkeypatch.setattr(recorded_module, "_record", recording)
    monkeypatch.setattr(denoise_module, "worth_recording", lambda *_: True)
    torch.testing.assert_close(clip(), plain, atol=1e-5, rtol=1e-4)
    assert len(works) == 2, "with guidance, and without"
    torch.testing.assert_close(clip(), plain, atol=1e-5, rtol=1e-4)
    assert len(works) == 2
