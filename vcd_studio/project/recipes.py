"""What clips were told differently: their recipes as flat settings, held against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Told = Mapping[str, Any]


def told(recipe: Told) -> dict[str, Any]:
    """What a clip was told, as flat settings. A recipe may come from anyone: what is of another kind than it should be is left out."""
    flat = {key: recipe.get(key) for key in ("prompt", "seed", "pack", "input", "device")}
    flat |= {f"identity {each.get('name')}": each.get("run") for each in _tables(recipe.get("identities"))}
    flat |= {f"LoRA {Path(str(each.get('file'))).name}": each.get("strength") for each in _tables(recipe.get("loras"))}
    generation = recipe.get("generation")
    return flat | (dict(generation) if isinstance(generation, Mapping) else {})


def told_stage(recipe: Told, stage: str) -> dict[str, Any]:
    """What one of its stages was told; empty where the recipe does not say."""
    stages = recipe.get("stages")
    settings = stages.get(stage) if isinstance(stages, Mapping) else None
    return {key: value for key, value in settings.items() if key not in ("seconds", "report")} if isinstance(settings, Mapping) else {}


def apart(columns: Sequence[Told]) -> dict[str, tuple[Any, ...]]:
    """The settings in which the columns differ, each with its value in every column; None where one has none."""
    rows = {key: tuple(column.get(key) for column in columns) for key in dict.fromkeys(key for column in columns for key in column)}
    return {key: values for key, values in rows.items() if any(value != values[0] for value in values)}


def _tables(value: Any) -> list[Told]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
