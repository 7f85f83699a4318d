"""What each stage of a clip is told: the job's snapshot is one for all of them, and says under ``own`` where a stage differs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

ALONE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "t2v": ("frames", "width", "height"),
        "face": ("face_strength", "face_margin", "face_prompt"),
        "tiled": ("tiled_strength", "tile_overlap", "control_scale"),
    }
)
"""Settings that change nothing but this stage."""

WINDOWS = ("context_frames", "context_overlap")
SHARED = ("steps", "guidance", "scheduler", "gamma", "negative", "weights_strength", *WINDOWS)
"""Settings that every stage reads, and that may differ between them."""


def told(snapshot: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """A stage's generation settings."""
    own = snapshot.get("own", {}).get(stage, {})
    return {**snapshot.get("generation", {}), **{key: value for key, value in own.items() if key != "seed"}}


def seed_of(snapshot: Mapping[str, Any], stage: str) -> int:
    """A stage's seed."""
    return int(snapshot.get("own", {}).get(stage, {}).get("seed", snapshot["seed"]))


def recorded(generation: Mapping[str, Any], seed: int, stage: str) -> dict[str, Any]:
    """What the clip's recipe says of a stage: its seed, and all that it was told."""
    return {"seed": seed, **{key: generation[key] for key in (*ALONE.get(stage, ()), *SHARED) if key in generation}}


def own(recipe: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """Where, by a clip's recipe, this stage was told something else than the clip as a whole."""
    usual = {"seed": recipe.get("seed"), **recipe.get("generation", {})}
    said = recipe.get("stages", {}).get(stage, {})
    return {key: said[key] for key in ("seed", *SHARED) if key in said and said[key] != usual.get(key)}
