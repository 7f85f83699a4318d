"""The graphics cards of this machine, read through NVIDIA's management library (NVML): plain numbers, no torch, nothing allocated."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Process:
    """A process that holds memory of a card; ``name`` is "" where it may not be known, ``memory`` (bytes) None."""

    pid: int
    name: str
    memory: int | None

    def __str__(self) -> str:
        memory = "?" if self.memory is None else f"{self.memory / 2**20:.0f}"
        return f"pid {self.pid} {self.name or '(name not told)'} {memory} MiB"


@dataclass(frozen=True)
class Memory:
    """Bytes."""

    total: int
    free: int


@dataclass(frozen=True)
class Slice:
    """One MIG instance: what a process gets of a card that is divided."""

    uuid: str
    memory: Memory | None


@dataclass(frozen=True)
class Card:
    """One card as NVML reports it; None where it does not: not supported (load, under MIG), or not permitted.

    ``temperature``: °C. ``load``: percent of the last sample period with work on the card. ``mig``: divided into ``slices``.
    ``problem``: why nothing at all could be read.
    """

    index: int
    name: str = ""
    uuid: str = ""
    memory: Memory | None = None
    temperature: int | None = None
    load: int | None = None
    mig: bool = False
    slices: tuple[Slice, ...] = ()
    processes: tuple[Process, ...] | None = None
    problem: str = ""

    def foreign(self, ours: Collection[int]) -> list[Process]:
        """The processes that are none of ours (pids), as far as they are told."""
        return [process for process in self.processes or () if process.pid not in ours]


@dataclass(frozen=True)
class Reading:
    """All cards at one moment; ``problem`` is NVML's own word where there is no driver, or not one that answers."""

    driver: str = ""
    cards: tuple[Card, ...] = ()
    problem: str = ""


@contextmanager
def management(nvml: Any = None) -> Iterator[Any]:
    """NVML, held open. It counts its users: inside this, every :func:`read_cards` is cheap enough to ask each second."""
    nvml = nvml or _nvml()
    nvml.nvmlInit()
    try:
        yield nvml
    finally:
        nvml.nvmlShutdown()


def read_cards(nvml: Any = None) -> Reading:
    """Every NVIDIA card. Never raises what NVML refuses: a lost card, or a missing driver, is a ``problem``.

    ``nvml``: the module ``pynvml``, or what stands in for it.
    """
    nvml = nvml or _nvml()
    try:
        with management(nvml):
            cards = tuple(_card(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
            return Reading(_asked(nvml, nvml.nvmlSystemGetDriverVersion) or "", cards)
    except nvml.NVMLError as error:
        return Reading(problem=str(error))


def card_of(device: str, cards: Sequence[Card], visible: str | None) -> Card | None:
    """The card that CUDA calls ``device`` ("cuda:1") where ``visible`` is CUDA_VISIBLE_DEVICES; None where there is no such card.

    CUDA counts what the variable lists (numbers, beginnings of UUIDs, instances of a divided card) up to the first that is not there,
    and without it all cards, in NVML's order under CUDA_DEVICE_ORDER=PCI_BUS_ID.
    """
    number, names = _number(device), _names(cards, visible)
    if not 0 <= number < len(names):
        return None
    found = [_named(name, cards) for name in names[: number + 1]]
    return found[-1] if all(found) else None


def uuid_of(device: str, cards: Sequence[Card], visible: str | None) -> str | None:
    """The UUID of the card that CUDA calls ``device``, or of its instance where it is divided; None where card_of finds none."""
    card = card_of(device, cards, visible)
    if card is None:
        return None
    name = _names(cards, visible)[_number(device)]
    instances = [part.uuid for part in card.slices if name.isdecimal() or part.uuid.startswith(name)]  # by number CUDA takes the first
    return (instances or [card.uuid])[0] or None


def _number(device: str) -> int:
    return int(device.removeprefix("cuda:")) if device.startswith("cuda:") else -1


def _names(cards: Sequence[Card], visible: str | None) -> list[str]:
    return [str(card.index) for card in cards] if visible is None else [name.strip() for name in visible.split(",")]


def _named(name: str, cards: Sequence[Card]) -> Card | None:
    if name.isdecimal():
        return next((card for card in cards if card.index == int(name)), None)
    begins = [card for card in cards if name and any(uuid.startswith(name) for uuid in (card.uuid, *(part.uuid for part in card.slices)))]
    return begins[0] if len(begins) == 1 else None


def _nvml() -> Any:
    import pynvml

    return pynvml


def _card(nvml: Any, index: int) -> Card:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        uuid = str(nvml.nvmlDeviceGetUUID(handle))
    except nvml.NVMLError as error:
        return Card(index, problem=str(error))
    modes = _asked(nvml, nvml.nvmlDeviceGetMigMode, handle)  # (now, after the next reset)
    mig = modes is not None and modes[0] == nvml.NVML_DEVICE_MIG_ENABLE
    rates = _asked(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
    return Card(
        index,
        _asked(nvml, nvml.nvmlDeviceGetName, handle) or "",
        uuid,
        _memory(nvml, handle),
        _asked(nvml, nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
        None if rates is None else int(rates.gpu),
        mig,
        tuple(_slices(nvml, handle)) if mig else (),
        _processes(nvml, handle),
    )


def _asked(nvml: Any, question: Callable[..., T], *about: Any) -> T | None:
    """The answer; None where NVML refuses it, or gives a name that is no UTF-8."""
    try:
        return question(*about)
    except (nvml.NVMLError, UnicodeDecodeError):
        return None


def _memory(nvml: Any, handle: Any) -> Memory | None:
    found = _asked(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    return None if found is None else Memory(int(found.total), int(found.free))


def _slices(nvml: Any, handle: Any) -> Iterator[Slice]:
    for at in range(_asked(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        part = _asked(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, at)  # places without an instance are refused
        if part is not None:
            yield Slice(_asked(nvml, nvml.nvmlDeviceGetUUID, part) or "", _memory(nvml, part))


def _processes(nvml: Any, handle: Any) -> tuple[Process, ...] | None:
    """Who computes and who draws on the card, each once, the largest first; None where neither may be asked."""
    answers: list[Iterable[Any] | None] = [
        _asked(nvml, ask, handle) for ask in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses)
    ]
    if all(answer is None for answer in answers):
        return None
    found: dict[int, Process] = {}
    for process in (process for answer in answers for process in answer or ()):
        memory = None if process.usedGpuMemory is None else int(process.usedGpuMemory)
        if process.pid not in found or (memory or 0) > (found[process.pid].memory or 0):
            name = _asked(nvml, nvml.nvmlSystemGetProcessName, process.pid) or ""
            found[process.pid] = Process(int(process.pid), name, memory)
    return tuple(sorted(found.values(), key=lambda process: -(process.memory or 0)))
