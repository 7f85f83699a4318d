"""What the recipes of clips say: what they were told, alike or differently, and what was measured while they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vcd_studio.project.stage_settings import own_of

Told = Mapping[str, Any]


def told(recipe: Told) -> dict[str, Any]:
    """What a clip was told, as flat settings. A recipe may come from anyone: what is of another kind than it should be is left out."""
    flat = {key: recipe.get(key) for key in ("prompt", "seed", "pack", "input", "device")}
    flat |= {f"identity {each.get('name')}": each.get("run") for each in _tables(recipe.get("identities"))}
    flat |= {f"LoRA {Path(str(each.get('file'))).name}": each.get("strength") for each in _tables(recipe.get("loras"))}
    generation, stages = recipe.get("generation"), recipe.get("stages")
    flat |= dict(generation) if isinstance(generation, Mapping) else {}
    each_stage = stages if isinstance(stages, Mapping) else {}
    return flat | {f"{stage}: {key}": value for stage in each_stage for key, value in own_of(recipe, stage).items()}


def told_stage(recipe: Told, stage: str) -> dict[str, Any]:
    """What one of its stages was told; empty where the recipe does not say."""
    stages = recipe.get("stages")
    settings = stages.get(stage) if isinstance(stages, Mapping) else None
    return {key: value for key, value in settings.items() if key not in ("seconds", "report")} if isinstance(settings, Mapping) else {}


def apart(columns: Sequence[Told]) -> dict[str, tuple[Any, ...]]:
    """The settings in which the columns differ, each with its value in every column; None where one has none."""
    rows = {key: tuple(column.get(key) for column in columns) for key in dict.fromkeys(key for column in columns for key in column)}
    return {key: values for key, values in rows.items() if any(value != values[0] for value in values)}


MEASURED: Mapping[str, str] = {
    "seconds": "seconds",
    "detections": "faces found, in all frames",
    "tracks": "faces followed",
    "seam_score": "seam score (1: no seam to be seen)",
    "tiles": "tiles",
    "controlled": "led by a tile ControlNet",
    "memory": "given up for memory",
    "message": "said",
}
"""What a stage reports, in words."""


def measured(recipe: Told) -> list[tuple[str, str, str]]:
    """(stage, what, value) of everything that was measured while the clip was made."""
    stages, rows = recipe.get("stages"), []
    for stage, settings in stages.items() if isinstance(stages, Mapping) else ():
        if isinstance(settings, Mapping):
            report = settings.get("report")
            found = {"seconds": settings.get("seconds"), **(report if isinstance(report, Mapping) else {})}
            rows += [(stage, MEASURED.get(key, key), _words(value)) for key, value in found.items() if value is not None]
    return rows


def once_more(recipe: Told) -> tuple[str, str] | None:
    """Of a clip that another's recipe made once more: that one's id, and whether this came out the same."""
    told = recipe.get("reproduces")
    return (str(told.get("id")), str(told.get("verdict"))) if isinstance(told, Mapping) else None


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _tables(value: Any) -> list[Told]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
