"""Graphics cards: whether there is one, how much of it is free, and who else holds it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from vcd_studio.devices import Card, Memory, Process, Reading
from vcd_studio.doctor.finding import GIB, Finding, gib

CHECK = "graphics card"
CARD_FREE = 6 * GIB
"""SD 1.5 and a motion module are 1.5 billion parameters, 2.8 GiB in 16 bits; a clip of 16 frames at 512×512 needs about as much again."""

REMEDIES = {
    "not found": "install NVIDIA's driver if this machine has a card",
    "driver not loaded": "sudo modprobe nvidia",
    "mismatch": "the driver was updated under the running kernel: restart the machine",
    "insufficient permissions": "ask for access to /dev/nvidia*, or start the container with its GPUs",
}
"""What to do, by a word of NVML's refusal."""


def check_cards(reading: Reading, environment: Mapping[str, str], ours: Collection[int] = ()) -> list[Finding]:
    """A finding a card. ``ours``: the pids of workers, which may hold what they like."""
    if not reading.cards:
        why = f" ({reading.problem})" if reading.problem else ""
        said = reading.problem.lower()
        remedy = next((words for sign, words in REMEDIES.items() if sign in said), REMEDIES["not found"])
        return [Finding(CHECK, "warning", f"no NVIDIA card{why}: clips will be made on the CPU, slowly", remedy)]
    if environment.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        found = f"{len(reading.cards)} hidden by CUDA_VISIBLE_DEVICES: clips will be made on the CPU, slowly"
        return [Finding(CHECK, "warning", found, "unset CUDA_VISIBLE_DEVICES")]
    return [_check_card(card, reading.driver, ours) for card in reading.cards]


def _check_card(card: Card, driver: str, ours: Collection[int]) -> Finding:
    if card.problem:
        remedy = "look into the kernel's log (sudo dmesg | grep NVRM); a lost card comes back with a restart"
        return Finding(CHECK, "warning", f"{card.index}: cannot be read ({card.problem})", remedy)
    foreign = card.foreign(ours)
    facts = [
        f"{card.index}: {card.name or 'without a name'}",
        _room(card.memory) if card.memory else "memory not told",
        f"driver {driver or 'unknown'}",
        *([f"{card.temperature} °C"] if card.temperature is not None else []),
        *([f"load {card.load} %"] if card.load is not None else []),
        *([_divided(card)] if card.mig else []),
        card.uuid,
        *(["who uses it is not told"] if card.processes is None else []),
        *([f"held by {', '.join(map(str, foreign))}"] if foreign else []),
    ]
    short = _what_is_short(card, foreign)
    return Finding(CHECK, "warning" if short else "ok", ", ".join(facts), short)


def _what_is_short(card: Card, foreign: list[Process]) -> str:
    """The remedy where less is free than a clip needs; "" where enough is."""
    rooms = [part.memory for part in card.slices] if card.mig else [card.memory]
    known = [memory for memory in rooms if memory is not None]
    if card.mig and not card.slices:
        return "make an instance: sudo nvidia-smi mig -cgi PROFILE -C; a divided card has no memory to give without one"
    if not known or max(memory.free for memory in known) >= CARD_FREE:
        return ""
    if foreign and max(memory.total for memory in known) >= CARD_FREE:
        return f"less than {gib(CARD_FREE)} is free: end {foreign[0]}, or wait for it"
    return f"less than {gib(CARD_FREE)} is free: make fewer frames, or smaller ones"


def _room(memory: Memory) -> str:
    return f"{gib(memory.free)} of {gib(memory.total)} free"


def _divided(card: Card) -> str:
    parts = "; ".join(f"{part.uuid} {_room(part.memory) if part.memory else 'memory not told'}" for part in card.slices)
    return f"MIG: {parts or 'no instance'}"
