"""Every number of a clip and of a training, with its bounds. The defaults are ours; PRESETS hold the paper's and the released code's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import tomli
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vcd_studio.project.errors import InputError
from vcd_studio.project.loras import check_loras
from vcd_studio.project.text import quoted

StageName = Literal["t2v", "face", "tiled"]
SchedulerName = Literal["ddim", "euler", "dpm++", "lightning", "lcm"]
MethodName = Literal["tokens", "lora", "dreambooth", "custom-diffusion"]
STAGES: tuple[StageName, ...] = ("t2v", "face", "tiled")
LARGEST_SEED = 2**63 - 1
LCM_STEPS = 50

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
            return type(self).model_validate({**self._kept(overrides), **overrides})
        except ValidationError as error:
            item = error.errors(include_url=False)[0]
            message = explain(item["type"], item["msg"], tuple(item["loc"]), item["input"], type(self))
            raise InputError(f"{where}: {message}" if where else message[0].upper() + message[1:]) from error

    def _kept(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """What stays of these settings under some overrides."""
        return self.model_dump()


class GenerationSettings(_Settings):
    """One clip. ``width`` and ``height`` in pixels, None for the pack's own size; strengths and overlaps are shares from 0 to 1.

    ``weights_strength``: how far the weights of identities that have some (LoRA, DreamBooth, Custom Diffusion) are applied. ``loras``:
    LoRA and motion LoRA from elsewhere, each NAME or NAME:STRENGTH (:mod:`vcd_studio.project.loras`). ``tile_larger``: by so much may tiles
    be larger than the size that the pack has learnt, where fewer of them will then do.

    Savers of time, off unless asked for, each of which makes another clip: guidance between two shares of the way from noise to clean
    (``guidance_from``, ``guidance_until``) and not outside of them; the UNet whole at every ``cache_every``-th step alone; the share of the
    cells that are merged for self-attention (``merge_tokens``).
    """

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
    weights_strength: Share = 1.0
    loras: tuple[Text, ...] = Field(default=(), max_length=32)
    face_strength: Annotated[Share, Field(gt=0)] = 0.8
    face_margin: Annotated[Real, Field(ge=1, le=5)] = 2.0
    face_prompt: Text = ""
    tiled_strength: Annotated[Share, Field(gt=0)] = 0.2
    tile_overlap: Annotated[Share, Field(le=0.9)] = 0.2
    tile_larger: Share = 0.25
    control_scale: Annotated[Real, Field(ge=0, le=2)] = 1.0
    context_frames: Annotated[Whole, Field(ge=1, le=256)] = 16
    context_overlap: Annotated[Whole, Field(ge=0, le=255)] = 4
    guidance_from: Annotated[Share, Field(lt=1)] = 0.0
    guidance_until: Annotated[Share, Field(gt=0)] = 1.0
    cache_every: Annotated[Whole, Field(ge=1, le=50)] = 1
    merge_tokens: Annotated[Share, Field(le=0.75)] = 0.0
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

    @field_validator("loras")
    @classmethod
    def _loras_can_be_read(cls, loras: tuple[str, ...]) -> tuple[str, ...]:
        check_loras(loras)
        return loras

    @model_validator(mode="after")
    def _windows_move_on(self) -> Self:
        if self.context_overlap >= self.context_frames:
            raise ValueError(
                f"context_overlap ({self.context_overlap}) must be smaller than context_frames ({self.context_frames}); lower it"
            )
        return self

    @model_validator(mode="after")
    def _guided_for_a_while(self) -> Self:
        if self.guidance_from >= self.guidance_until:
            raise ValueError(
                f"guidance must begin (guidance_from, {self.guidance_from}) before it ends (guidance_until, {self.guidance_until}); "
                "for none at all set guidance to 1"
            )
        return self

    @model_validator(mode="after")
    def _lcm_takes_few_steps(self) -> Self:
        if self.scheduler == "lcm" and self.steps > LCM_STEPS:
            raise ValueError(f"the scheduler lcm takes at most {LCM_STEPS} steps, not {self.steps}; set steps to 4 to 8")
        return self


METHOD_DEFAULTS: dict[str, dict[str, Any]] = {
    "tokens": {},
    "lora": {"tokens": 1, "steps": 500, "learning_rate": 1e-4, "batch": 1, "unmasked_share": 1.0},
    "dreambooth": {"tokens": 1, "steps": 800, "learning_rate": 5e-6, "batch": 1, "unmasked_share": 1.0, "prior_weight": 1.0},
    "custom-diffusion": {"tokens": 1, "steps": 250, "learning_rate": 8e-5, "batch": 8, "unmasked_share": 1.0, "prior_weight": 1.0},
}
"""Where a method's own defaults differ from those of ID tokens; sources beside the trainers, vcd_studio.method.finetuning."""


class TrainingSettings(_Settings):
    """One training of an identity; ``bank`` counts views (varied where ``augmented``), shares are from 0 to 1;
    ``framed``: captions say which photos are close ups.

    ``method``: ID tokens, or weights of the UNet with a token of their own; numbers that are not given are the method's own. Of LoRA:
    ``rank``. Of every method that trains weights: ``prior_weight`` and ``prior_pictures`` (pictures of the noun that hold the class,
    0 for none), ``with_tokens`` (the identity's newest ID tokens stand in the prompts and go with the weights). Of tokens:
    ``keep_norm``, ``init_noise``. A method ignores what is not its own.
    """

    method: MethodName = "tokens"
    tokens: Annotated[Whole, Field(ge=1, le=32)] = 4
    steps: Annotated[Whole, Field(ge=1, le=100_000)] = 200
    learning_rate: Annotated[Real, Field(gt=0, le=1)] = 1e-3
    batch: Annotated[Whole, Field(ge=1, le=256)] = 4
    unmasked_share: Share = 0.0
    keep_norm: Annotated[bool, Field(strict=True)] = False
    init_noise: Share = 0.01
    weight_decay: Share = 1e-2
    bank: Annotated[Whole, Field(ge=1, le=10_000)] = 64
    augmented: Annotated[bool, Field(strict=True)] = False
    framed: Annotated[bool, Field(strict=True)] = True
    rank: Annotated[Whole, Field(ge=1, le=1024)] = 4
    prior_weight: Annotated[Real, Field(ge=0, le=100)] = 0.0
    prior_pictures: Annotated[Whole, Field(ge=1, le=10_000)] = 200
    with_tokens: Annotated[bool, Field(strict=True)] = False
    checkpoint_every: Annotated[Whole, Field(ge=1, le=100_000)] = 25
    preview_every: Annotated[Whole, Field(ge=0, le=100_000)] = 50
    seed: Annotated[Whole, Field(ge=0, le=LARGEST_SEED)] = 0

    @model_validator(mode="before")
    @classmethod
    def _with_the_methods_own(cls, given: Any) -> Any:
        own = METHOD_DEFAULTS.get(str(given.get("method"))) if isinstance(given, Mapping) else None
        return {**own, **given} if own else given

    @model_validator(mode="after")
    def _tokens_go_with_weights(self) -> Self:
        if self.with_tokens and self.method == "tokens":
            raise ValueError(
                "only weights learn beside tokens; choose the method lora, dreambooth or custom-diffusion, or leave with_tokens out"
            )
        return self

    def _kept(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """With another method, the old one's defaults give way to the new one's; what a person chose stays."""
        kept = self.model_dump()
        if overrides.get("method", self.method) == self.method:
            return kept
        own = type(self)(method=self.method).model_dump()
        return {key: value for key, value in kept.items() if value != own[key]}


class SegmentationSettings(_Settings):
    """Grounding thresholds."""

    box_threshold: Share = 0.3
    text_threshold: Share = 0.25


PRESETS: dict[str, dict[str, Any]] = {
    "ours": {},
    "paper": {"gamma": 0.15, "face_strength": 0.8, "tiled_strength": 0.2, "tile_overlap": 0.0, "tile_larger": 0.0},
    "released": {
        "gamma": 0.05,
        "guidance": 8.0,
        "scheduler": "ddim",
        "steps": 25,
        "face_strength": 0.8,
        "tiled_strength": 0.2,
        "tile_overlap": 0.0625,  # 32 of 512 pixels
        "tile_larger": 0.0,
        "control_scale": 0.0,  # the released graph has no ControlNet
    },
    # Not half the size as well: a network that has learnt one size draws hardly anything at half of it.
    "draft": {"scheduler": "dpm++", "steps": 8, "cache_every": 2, "stages": ("t2v",)},
    "few-steps": {"scheduler": "lcm", "steps": 4, "guidance": 1.0, "loras": ("few-steps",)},
}
"""Overrides of GenerationSettings: method.md's three columns, clips made to look at prompts, and what a pack's few-step adapter is for."""

TRAINING_PRESETS: dict[str, dict[str, Any]] = {
    "ours": {},
    "paper": {"method": "tokens", "tokens": 4, "steps": 200, "learning_rate": 1e-3, "batch": 4, "unmasked_share": 0.0},
    "released": {
        "method": "tokens",
        "tokens": 4,
        "steps": 400,
        "learning_rate": 1e-3,
        "batch": 4,
        "unmasked_share": 0.05,
        "weight_decay": 1e-2,
    },
    "textual-inversion": {"method": "tokens", "tokens": 1, "unmasked_share": 1.0},
    "lora": {"method": "lora"},
    "dreambooth": {"method": "dreambooth"},
    "custom-diffusion": {"method": "custom-diffusion"},
}
"""Overrides of TrainingSettings: three columns for ID tokens, and the paper's rivals (Table 1)."""


def override_from_text(text: str) -> tuple[str, Any]:
    """``"steps=30"`` → ``("steps", 30)``: the value as TOML where it reads as TOML, else as plain text. InputError without a ``=``."""
    key, equals, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not equals or not key:
        raise InputError(f"{quoted(text)} is not a setting; write it as key=value, for example steps=30.")
    for written in (value, f"[{value}]" if "," in value else value):
        try:
            return key, tomli.loads(f"value = {written}")["value"]
        except (tomli.TOMLDecodeError, ValueError, RecursionError):
            continue
    return key, [part.strip() for part in value.split(",") if part.strip()] if key in ("stages", "seeds", "loras") else value
