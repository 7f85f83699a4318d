"""What a study compares: the paper's arms (its Table 1), its ablations (Table 2), and sweeps of single settings."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from vcd_studio.project.settings import PRESETS, GenerationSettings

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


OURS: dict[str, Any] = {"augmented": False, "framed": True, "init_noise": 0.01}
"""VCD as this studio trains it unasked; written down, so that a study means the same when the defaults move."""
NOTHING = Learning("none")
VCD = Learning(options=OURS)


@dataclass(frozen=True)
class Arm:
    """One way of making clips, or ``pictures``, for what needs no motion. ``axis`` and ``value`` place it on a sweep's plot."""

    name: str
    learning: Learning = VCD
    gamma: float = 0.15
    told: Mapping[str, Any] = field(default_factory=dict)
    """Generation settings, by name, that differ from the study's."""
    pictures: bool = False
    axis: str = ""
    value: float | str = ""
    stages: bool = False
    """Face and Tiled too, each read on its own (on the far prompts)."""
    costly: bool = False
    """About as few identities as a sweep: learning takes three times as long as ID tokens do."""

    @property
    def slug(self) -> str:
        return slug_of(self.name)


ONE_TOKEN = Learning("tokens", {**OURS, "tokens": 1, "unmasked_share": 1.0})
EQUAL = {"steps": 200, "batch": 4, "augmented": False, "framed": True}
"""What VCD has. Learning rates are the best of two or three tried on one identity outside the study, on the very pack (the next one up
burns pictures, or loses the kind or the scene)."""
LORA = Learning("lora", {**EQUAL, "learning_rate": 6e-4})
DREAMBOOTH = Learning("dreambooth", {**EQUAL, "learning_rate": 5e-6, "prior_pictures": 16})
CUSTOM_DIFFUSION = Learning("custom-diffusion", {**EQUAL, "learning_rate": 1e-4, "prior_pictures": 16})
UNMASKED = Learning("tokens", {**OURS, "unmasked_share": 1.0})

VCD_ARM = Arm("VCD", axis="gamma", value=0.15)
NO_PRIOR = Arm("VCD without noise prior", gamma=0.0, axis="gamma", value=0.0)
TABLE = (
    Arm("Base + AnimateDiff", NOTHING, gamma=0.0),
    Arm("Textual inversion", ONE_TOKEN),
    Arm("LoRA", LORA),
    Arm("DreamBooth", DREAMBOOTH, costly=True),
    Arm("Custom Diffusion", CUSTOM_DIFFUSION, costly=True),
    VCD_ARM,
    NO_PRIOR,
    Arm("VCD without segmentation", UNMASKED),
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


def learnt(axis: str, option: str, values: Sequence[float | str], usual: float | str) -> tuple[Arm, ...]:
    """Pictures by ID tokens trained with one option at each of ``values``; at its ``usual`` one the training is VCD's own."""

    return either(axis, option, {value: value for value in values}, usual)


def either(axis: str, option: str, names: Mapping[Any, Any], usual: float | str) -> tuple[Arm, ...]:
    """The same for an option whose values want names."""

    def arm(name: float | str) -> Arm:
        return Arm("", VCD if name == usual else replace(VCD, options={**OURS, option: names[name]}), pictures=True)

    return sweep(axis, tuple(names), arm)


def _gammas(*values: float) -> tuple[Arm, ...]:
    return sweep("gamma", values, lambda gamma: Arm("", gamma=gamma))


SAVERS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "guidance to 0.6": {"guidance_until": 0.6},
    "guidance 0.2 to 0.9": {"guidance_from": 0.2, "guidance_until": 0.9},
    "cache 2": {"cache_every": 2},
    "cache 3": {"cache_every": 3},
    "merge 0.5": {"merge_tokens": 0.5},
    "dpm++ 12": {"scheduler": "dpm++", "steps": 12},
    "dpm++ 8": {"scheduler": "dpm++", "steps": 8},
    "draft": {key: value for key, value in PRESETS["draft"].items() if key != "stages"},
    "few-step adapter": PRESETS["few-steps"],
    "few-step adapter, 8 steps": {**PRESETS["few-steps"], "steps": 8},
}
"""What saves time, as generation settings: a clip of a study has fewer steps than one made unasked, so these begin at that one's."""

SWEEPS: dict[str, tuple[Arm, ...]] = {
    "gamma": (NO_PRIOR, VCD_ARM, *_gammas(0.5, 0.8)),
    "tokens": learnt("tokens", "tokens", (1, 4, 16), 4),
    "steps": learnt("steps", "steps", (50, 100, 200, 400), 200),
    "learning rate": learnt("learning rate", "learning_rate", (0.001, 0.003), 0.001),
    "photos": sweep("photos", (1, 3, 6, 8), lambda count: Arm("", replace(VCD, photos=int(count)), pictures=True)),
    "norm": either("norm", "keep_norm", {"free": False, "kept": True}, "free"),
    "token init": either("token init", "init_noise", {"noun": 0.01, "noun, a third noise": 0.33, "noun, noise": 1.0}, "noun"),
    "augmentation": either("augmentation", "augmented", {"on": True, "off": False}, "off"),
    "captions": either("captions", "framed", {"say close up": True, "plain": False}, "say close up"),
    "mask": sweep("mask", ("masked", "unmasked"), lambda mask: Arm("", VCD if mask == "masked" else UNMASKED, pictures=True)),
    "mask, shared background": sweep(
        "mask, shared background",
        ("masked", "unmasked"),
        lambda mask: Arm("", replace(VCD if mask == "masked" else UNMASKED, shared_background=True), pictures=True),
    ),
    "savers": sweep("savers", tuple(SAVERS), lambda name: Arm("", told={"steps": GenerationSettings().steps, **SAVERS[str(name)]})),
}
STAGES = Arm("stages", stages=True)
STAGE_SWEEPS: dict[str, tuple[float | str, ...]] = {
    "face prompt": ("the clip's", "a close up"),
    "face strength": (0.4, 0.8, 1.0),
    "face margin": (1.5, 2.0, 3.0),
    "tile overlap": (0.2, 0.5),
    "tile strength": (0.1, 0.2, 0.4),
}
"""Settings of Face and Tiled, one at a time, each on the very clip that the others get (the first far prompt's)."""
STAGE_USUAL = {"face prompt": "the clip's", "face strength": 0.8, "face margin": 2.0, "tile overlap": 0.2, "tile strength": 0.2}
"""What the stages do unasked: not done over again for a sweep."""


def slug_of(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


@dataclass(frozen=True)
class Plan:
    """How much of it: figures of the report are over ``subjects`` × prompts × ``seeds``."""

    pack: str = "pocket"
    subjects: int = 8
    sweep_subjects: int = 4
    """How many of them the sweeps are about, Face's and Tiled's included: one of each kind."""
    seeds: int = 2
    picture_seeds: int = 4
    steps: int = 12
    guidance: float = 5.0
    """Pocket burns at 7.5. At 3 fewer collars and hats follow the prompt (pocket's README has the figures)."""
    half: bool = False
    """Learn and sample under bf16 autocast: on processors that have it, clips in two thirds of the time; latents differ by some 0.3 %."""
    following: int = 200
    """Captions whose drawing the oracle judges."""
    sweeps: tuple[str, ...] = tuple(SWEEPS)
    stages: bool = True
    stage_sweeps: tuple[str, ...] = tuple(STAGE_SWEEPS)
    clip: str = ""
    dino: str = ""
    """Encoders to measure with, as folders or hub names ("openai/clip-vit-large-patch14", "facebook/dino-vits16"); "": the pack's."""
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

    def subjects_of(self, arm: Arm) -> int:
        """How many identities ``arm`` is about: all of them in the paper's tables, fewer in sweeps and where learning is costly."""
        every = arm in TABLE and not arm.costly
        return self.subjects if every else min(self.subjects, self.sweep_subjects)

    @property
    def arms(self) -> list[Arm]:
        swept = [arm for name in self.sweeps for arm in SWEEPS[name]]
        every = {arm.slug: arm for arm in [*TABLE, *swept, *([STAGES] if self.stages else [])]}  # gamma shares two arms with the table
        return [arm for slug, arm in every.items() if not self.only or slug in self.only]

