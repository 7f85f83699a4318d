"""The numbers that a clip is sampled with: one small value that all three stages share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch

from vcd_studio.method.savers import NOTHING_SAVED, Savers
from vcd_studio.method.schedules import Schedule, SchedulerName, schedule
from vcd_studio.method.views import View, views_of

Stage = Literal["t2v", "face", "tiled"]


@dataclass(frozen=True)
class Sampling:
    """Defaults are ours (see the README's table); ``context_frames`` 0 means the whole range of the motion module."""

    steps: int = 25
    guidance: float = 7.5
    scheduler: SchedulerName = "ddim"
    gamma: float = 0.15
    seed: int = 1
    context_frames: int = 16
    context_overlap: int = 4
    savers: Savers = NOTHING_SAVED

    @classmethod
    def told(cls, settings: Mapping[str, Any], seed: int) -> Sampling:
        """By the names of generation settings, of which the rest is let be; what is not among them (an older release's job knows no
        savers) is as usual."""
        own, savers = ({known.name: settings[known.name] for known in fields(kind) if known.name in settings} for kind in (cls, Savers))
        return cls(**{**own, "seed": seed, "savers": Savers(**savers)})

    def schedule(self, config: object) -> Schedule:
        return schedule(self.scheduler, config, self.steps, self.seed)

    def generator(self, stage: Stage, part: int = 0) -> torch.Generator:
        """A stage's own generator, always on the CPU. Text to video takes the seed as it is; the others draw from it, because a clip
        noised again with the very noise it grew from comes out burnt."""
        if stage == "t2v":
            return torch.Generator("cpu").manual_seed(self.seed)
        words = np.random.SeedSequence((abs(self.seed), ("face", "tiled").index(stage), part)).generate_state(2)
        return torch.Generator("cpu").manual_seed(int(words[0]) << 32 | int(words[1]))

    def views(self, shape: Sequence[int], motion_range: int, *, tile: int | None = None, tile_overlap: int = 0) -> list[View]:
        """Context windows (and tiles) over a latent clip (frames, height, width); one window when the motion module reaches."""
        context = min(self.context_frames or motion_range, motion_range)
        overlap = min(self.context_overlap, context - 1)
        return views_of(shape, context=context, context_overlap=overlap, tile=tile, tile_overlap=tile_overlap)
