"""What each stage of a clip is told: the job's snapshot is one for all of them, and says under ``own`` where a stage differs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

ALONE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "t2v": ("frames", "width", "height"),
        "face": ("face_strength", "face_margin", "face_prompt"),
        "tiled": ("tiled_strength", "tile_overlap", "tile_larger", "control_scale"),
    }
)
"""Settings that change nothing but this stage."""

WINDOWS = ("context_frames", "context_overlap")
SAVERS = ("guidance_from", "guidance_until", "cache_every", "merge_tokens")
SHARED = ("steps", "guidance", "scheduler", "gamma", "negative", "weights_strength", *SAVERS, *WINDOWS)
"""Settings that every stage reads, and that may differ between them."""
FORCED = (*WINDOWS, "tile_larger")
"""What a stage may have been told otherwise than its clip was, where memory was short."""


def settings_of(snapshot: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """A stage's generation settings."""
    differing = snapshot.get("own", {}).get(stage, {})
    return {**snapshot.get("generation", {}), **{key: value for key, value in differing.items() if key != "seed"}}


def seed_of(snapshot: Mapping[str, Any], stage: str) -> int:
    """A stage's seed."""
    return int(snapshot.get("own", {}).get(stage, {}).get("seed", snapshot["seed"]))


def record_of(generation: Mapping[str, Any], seed: int, stage: str) -> dict[str, Any]:
    """What the clip's recipe says of a stage: its seed, and all that it was told."""
    return {"seed": seed, **{key: generation[key] for key in (*ALONE.get(stage, ()), *SHARED) if key in generation}}


def own_of(recipe: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """The seed and the settings of a stage, by a clip's recipe, that are not those of the clip as a whole.

    A recipe may come from anyone: what is of another kind than it should be is not there.
    """
    generation, stages = recipe.get("generation"), recipe.get("stages")
    usual = {"seed": recipe.get("seed"), **(generation if isinstance(generation, Mapping) else {})}
    said = stages.get(stage) if isinstance(stages, Mapping) else None
    keys = ("seed", *dict.fromkeys((*SHARED, *FORCED)))
    return {key: said[key] for key in keys if key in said and said[key] != usual.get(key)} if isinstance(said, Mapping) else {}
