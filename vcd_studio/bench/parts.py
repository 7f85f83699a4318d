"""What can be measured: each part's module is imported when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vcd_studio.bench.figures import Line

PARTS = MappingProxyType(
    {
        "clock": "the person's clock: help, first paint, keys, from the queue to the first step",
        "diffusers": "clips and ID training of the pocket pack on the CPU against diffusers, with the same weights, steps and threads",
        "savers": "settings that save time and make another clip: how much time each saves",
        "growth": "what more frames, tiles, jobs, clips and photos cost: exponents, drawn into growth.png",
        "full-size": "a card with networks as they are published, filled at random, against diffusers and against what it could do at best",
        "card-memory": "what each stage takes of a card with networks as they are published, and the smallest card that it fits",
    }
)


@dataclass(frozen=True)
class Options:
    """``device``: cpu or cuda:N. ``rounds``: how often each is measured. ``out``: where plots go. ``small``: miniature shapes and counts,
    to see that it works, not to learn from."""

    device: str
    rounds: int
    out: Path
    small: bool = False


def measure(part: str, options: Options) -> Iterator[Line]:
    """A part's figures, one by one as they are there."""
    figures: Iterator[Line] = importlib.import_module(f"vcd_studio.bench.{part.replace('-', '_')}").measure(options)
    return figures
