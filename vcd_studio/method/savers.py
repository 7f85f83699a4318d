"""Settings that save time and cost something: each is off unless asked for, and then the clip is another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from vcd_studio.method.step_cache import cached_steps
from vcd_studio.method.token_merging import merged_tokens


@dataclass(frozen=True)
class Savers:
    """``guidance_from`` and ``guidance_until``, shares of a whole schedule: outside of them guidance is left out, at half a step's work
    (Kynkäänniemi et al. 2024, arXiv 2404.07724). ``cache_every``: every so many steps the UNet runs whole. ``merge_tokens``: the share of
    cells that are merged (0..0.75)."""

    guidance_from: float = 0.0
    guidance_until: float = 1.0
    cache_every: int = 1
    merge_tokens: float = 0.0

    @property
    def on(self) -> dict[str, float]:
        """Those that are on, by name."""
        return {known.name: value for known in fields(self) if (value := getattr(self, known.name)) != known.default}

    def guidances(self, guidance: float, places: Sequence[float]) -> list[float]:
        """The guidance scale at each of ``places`` on the way from noise (0) to clean (1); 1 is none."""
        return [guidance if self.guidance_from <= place < self.guidance_until else 1.0 for place in places]

    @contextmanager
    def within(self, unet: Any, views: int) -> Iterator[None]:
        """While open, the UNet saves what it is to; it is called once for each of ``views`` at each step."""
        with cached_steps(unet, self.cache_every, views), merged_tokens(unet, self.merge_tokens):
            yield


NOTHING_SAVED = Savers()
