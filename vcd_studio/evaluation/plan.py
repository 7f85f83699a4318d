"""What a study compares: the paper's arms (its Table 1), its ablations (Table 2), and sweeps of single settings."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

Method = Literal["none", "tokens", "lora", "dreambooth", "custom-diffusion"]

STILL = "still"
"""Stands for what a kind does on the spot: animals sit, people wave."""


@dataclass(frozen=True)
class StudyPrompt:
    """``text`` with ``{}`` for the subject and ``{still}``; ``scene`` and ``action`` ("": none is to be seen) as the oracle says them."""

    text: str
    scene: str
    action: str = ""


PROMPTS = (
    StudyPrompt("{} running in the snow", "snow", "running"),
    StudyPrompt("{} walking on the beach", "beach", "walking"),
    StudyPrompt("{} jumping in the forest", "forest", "jumping"),
    StudyPrompt("{} walking in the city at night", "city", "walking"),
    StudyPrompt("{} {still} on the grass", "grass", STILL),
    StudyPrompt("a close up of {} in the desert", "desert"),
)
FAR_PROMPTS = (
    StudyPrompt("{} walking in the snow, far away", "snow", "walking"),
    StudyPrompt("{} running on the beach, far away", "beach", "running"),
    StudyPrompt("{} {still} on the grass, far away", "grass", STILL),
)


@dataclass(frozen=True)
class Learning:
    """How an identity is learnt. ``options`` go to the method's trainer; ``photos`` are taken from the first on."""

    method: Method = "tokens"
    options: Mapping[str, Any] = field(default_factory=dict)
    photos: int = 6
    shared_background: bool = False

    @property
    def key(self) -> str:
        """The same for the same learning, so that arms share it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]


NOTHING = Learning("none")
VCD = Learning()


@dataclass(frozen=True)
class Arm:
    """One way of making clips. ``axis`` and ``value`` place it on a sweep's plot; ``frames`` 1 makes pictures, for what needs no motion."""

    name: str
    learning: Learning = VCD
    gamma: float = 0.15
    frames: int = 16
    axis: str = ""
    value: float | str = ""
    stages: bool = False
    """Face and Tiled too, each read on its own (on the far prompts)."""

    @property
    def slug(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


ONE_TOKEN = Learning("tokens", {"tokens": 1, "unmasked_share": 1.0})

TABLE = (
    Arm("Base + AnimateDiff", NOTHING, gamma=0.0),
    Arm("Textual inversion", ONE_TOKEN),
    Arm("LoRA", Learning("lora", {"unmasked_share": 1.0})),
    Arm("DreamBooth", Learning("dreambooth", {"unmasked_share": 1.0})),
    Arm("Custom Diffusion", Learning("custom-diffusion", {"unmasked_share": 1.0})),
    Arm("VCD"),
    Arm("VCD without noise prior", gamma=0.0),
    Arm("VCD without segmentation", Learning("tokens", {"unmasked_share": 1.0})),
)

PAPER = {
    "Base + AnimateDiff": (0.277, 0.604, 0.267, 0.444, 0.741),
    "Textual inversion": (0.405, 0.724, 0.245, 0.699, 0.814),
    "LoRA": (0.545, 0.712, 0.240, 0.690, 0.807),
    "DreamBooth": (0.527, 0.666, 0.238, 0.544, 0.768),
    "VCD": (0.564, 0.755, 0.277, 0.745, 0.820),
    "VCD without noise prior": (0.555, 0.712, 0.222, 0.688, 0.800),
    "VCD without segmentation": (0.511, 0.701, 0.194, 0.788, 0.889),
}
"""The paper's own (v1): DINO, CLIP-I, CLIP-T, DINO temporal, CLIP-I temporal. Real photos and SD 1.5: orders compare, numbers do not."""


def sweep(axis: str, values: Sequence[float | str], arm: Any) -> tuple[Arm, ...]:
    """An arm for each value, named for it."""
    return tuple(replace(arm(value), name=f"{axis} {value}", axis=axis, value=value) for value in values)


def pictures(learning: Learning) -> Arm:
    return Arm("", learning, frames=1)


SWEEPS: dict[str, tuple[Arm, ...]] = {
    "gamma": sweep("gamma", (0.0, 0.05, 0.15, 0.3, 0.5, 0.8), lambda gamma: Arm("", gamma=gamma)),
    "tokens": sweep("tokens", (1, 2, 4, 8, 16), lambda count: pictures(Learning(options={"tokens": count}))),
    "steps": sweep("steps", (50, 100, 200, 400), lambda steps: pictures(Learning(options={"steps": steps}))),
    "learning rate": sweep(
        "learning rate", (0.0005, 0.001, 0.002, 0.005), lambda rate: pictures(Learning(options={"learning_rate": rate}))
    ),
    "photos": sweep("photos", (1, 2, 4, 8), lambda count: pictures(Learning(photos=count))),
    "norm": sweep("norm", ("free", "kept"), lambda kept: pictures(Learning(options={"keep_norm": kept == "kept"}))),
    "mask, shared background": sweep(
        "mask, shared background",
        ("masked", "unmasked"),
        lambda mask: pictures(Learning(options={"unmasked_share": float(mask == "unmasked")}, shared_background=True)),
    ),
}
STAGES = Arm("stages", stages=True)


@dataclass(frozen=True)
class Plan:
    """How much of it: figures of the report are over ``subjects`` × prompts × ``seeds``."""

    pack: str = "pocket"
    subjects: int = 8
    seeds: int = 2
    picture_seeds: int = 4
    steps: int = 20
    guidance: float = 7.5
    following: int = 200
    """Captions whose drawing the oracle judges."""
    sweeps: tuple[str, ...] = tuple(SWEEPS)
    stages: bool = True
    only: tuple[str, ...] = ()
    """Slugs of the only arms wanted; empty for all."""

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> Plan:
        """From a job's settings, where JSON made lists of tuples."""
        given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
        return cls(**given)

    @property
    def unknown(self) -> list[str]:
        """Slugs in ``only`` that no arm has."""
        known = {arm.slug for arm in replace(self, only=()).arms}
        return [slug for slug in self.only if slug not in known]

    @property
    def arms(self) -> list[Arm]:
        swept = [arm for name in self.sweeps for arm in SWEEPS[name]]
        every = [*TABLE, *swept, *([STAGES] if self.stages else [])]
        return [arm for arm in every if not self.only or arm.slug in self.only]

