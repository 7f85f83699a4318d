"""Every number of a clip and of a training, with its bounds. The defaults are ours; PRESETS hold the paper's and the released code's."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vcd_studio.project.errors import InputError
from vcd_studio.project.text import quoted

StageName = Literal["t2v", "face", "tiled"]
SchedulerName = Literal["ddim", "euler", "dpm++"]
STAGES: tuple[StageName, ...] = ("t2v", "face", "tiled")
LARGEST_SEED = 2**63 - 1

Whole = Annotated[int, Field(strict=True)]
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Text = Annotated[str, Field(strict=True, max_length=4000)]
Pixels = Annotated[int, Field(strict=True, ge=16, le=4096, multiple_of=8)]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def with_overrides(self, overrides: Mapping[str, Any], where: str = "") -> Self:
        """These settings with some changed; InputError names the key, the value, what is right, and ``where`` it was written."""
        from vcd_studio.project.toml_file import explain

        try:
            return type(self).model_validate({**self.model_dump(), **overrides})
        except ValidationError as error:
            item = error.errors(include_url=False)[0]
            message = explain(item["type"], item["msg"], tuple(item["loc"]), item["input"], type(self))
            raise InputError(f"{where}: {message}" if where else message[0].upper() + message[1:]) from error


class GenerationSettings(_Settings):
    """One clip. ``width`` and ``height`` in pixels, None for the pack's own size; strengths and overlaps are shares from 0 to 1."""

    frames: Annotated[Whole, Field(ge=1, le=1024)] = 16
    width: Pixels | None = None
    height: Pixels | None = None
    fps: Annotated[Whole, Field(ge=1, le=60)] = 8
    steps: Annotated[Whole, Field(ge=1, le=500)] = 25
    guidance: Annotated[Real, Field(ge=1, le=50)] = 7.5
    scheduler: SchedulerName = "ddim"
    gamma: Share = 0.15
    negative: Text = ""
    seeds: tuple[Annotated[Whole, Field(ge=0, le=LARGEST_SEED)], ...] = Field(default=(1,), min_length=1, max_length=10_000)
    stages: tuple[StageName, ...] = Field(default=STAGES, min_length=1)
    face_strength: Annotated[Share, Field(gt=0)] = 0.8
    face_margin: Annotated[Real, Field(ge=1, le=5)] = 2.0
    face_prompt: Text = ""
    tiled_strength: Annotated[Share, Field(gt=0)] = 0.2
    tile_overlap: Annotated[Share, Field(le=0.9)] = 0.5
    control_scale: Annotated[Real, Field(ge=0, le=2)] = 1.0
    context_frames: Annotated[Whole, Field(ge=1, le=256)] = 16
    context_overlap: Annotated[Whole, Field(ge=0, le=255)] = 4
    preview_every: Annotated[Whole, Field(ge=0, le=500)] = 5

    @field_validator("seeds")
    @classmethod
    def _each_seed_once(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        twice = next((seed for index, seed in enumerate(seeds) if seed in seeds[:index]), None)
        if len(seeds) < 1000 and twice is not None:
            raise ValueError(f"the seed {twice} is listed twice, and the same seed gives the same clip; list each seed once")
        return seeds

    @field_validator("stages")
    @classmethod
    def _stages_in_order(cls, stages: tuple[StageName, ...]) -> tuple[StageName, ...]:
        if len(set(stages)) < len(stages):
            raise ValueError("a stage is listed twice; list each of t2v, face, tiled at most once")
        return tuple(stage for stage in STAGES if stage in stages)

    @model_validator(mode="after")
    def _windows_move_on(self) -> Self:
        if self.context_overlap >= self.context_frames:
            raise ValueError(
                f"context_overlap ({self.context_overlap}) must be smaller than context_frames ({self.context_frames}); lower it"
            )
        return self


class TrainingSettings(_Settings):
    """One training of ID tokens; ``bank`` counts augmented views, shares are from 0 to 1."""

    tokens: Annotated[Whole, Field(ge=1, le=32)] = 4
    steps: Annotated[Whole, Field(ge=1, le=100_000)] = 200
    learning_rate: Annotated[Real, Field(gt=0, le=1)] = 1e-3
    batch: Annotated[Whole, Field(ge=1, le=256)] = 4
    unmasked_share: Share = 0.0
    keep_norm: Annotated[bool, Field(strict=True)] = False
    init_noise: Share = 0.01
    weight_decay: Share = 1e-2
    bank: Annotated[Whole, Field(ge=1, le=10_000)] = 64
    checkpoint_every: Annotated[Whole, Field(ge=1, le=100_000)] = 25
    preview_every: Annotated[Whole, Field(ge=0, le=100_000)] = 50
    seed: Annotated[Whole, Field(ge=0, le=LARGEST_SEED)] = 0


class SegmentationSettings(_Settings):
    """Grounding thresholds."""

    box_threshold: Share = 0.3
    text_threshold: Share = 0.25


PRESETS: dict[str, dict[str, Any]] = {
    "ours": {},
    "paper": {"gamma": 0.15, "face_strength": 0.8, "tiled_strength": 0.2, "tile_overlap": 0.0},
    "released": {
        "gamma": 0.05,
        "guidance": 8.0,
        "scheduler": "ddim",
        "steps": 25,
        "face_strength": 0.8,
        "tiled_strength": 0.2,
        "tile_overlap": 0.0625,  # 32 of 512 pixels
        "control_scale": 0.0,  # the released graph has no ControlNet
    },
}
"""Overrides of GenerationSettings (method.md's three columns)."""

TRAINING_PRESETS: dict[str, dict[str, Any]] = {
    "ours": {},
    "paper": {"tokens": 4, "steps": 200, "learning_rate": 1e-3, "batch": 4, "unmasked_share": 0.0},
    "released": {"tokens": 4, "steps": 400, "learning_rate": 1e-3, "batch": 4, "unmasked_share": 0.05, "weight_decay": 1e-2},
}
"""Overrides of TrainingSettings."""


def override_from_text(text: str) -> tuple[str, Any]:
    """``"steps=30"`` → ``("steps", 30)``: the value as TOML where it reads as TOML, else as plain text. InputError without a ``=``."""
    key, equals, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not equals or not key:
        raise InputError(f"{quoted(text)} is not a setting; write it as key=value, for example steps=30.")
    for written in (value, f"[{value}]" if "," in value else value):
        try:
            return key, tomllib.loads(f"value = {written}")["value"]
        except (tomllib.TOMLDecodeError, ValueError, RecursionError):
            continue
    return key, [part.strip() for part in value.split(",")] if key in ("stages", "seeds") else value
