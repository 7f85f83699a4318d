"""What a plan will cost, learnt from the jobs that are done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from vcd_studio.jobs.store import Store

RECENT = 20
"""How many of the newest finished jobs are asked."""

PNG_BYTES_PER_PIXEL = 1.4
"""Measured on rendered and photographic frames; flat ones need less."""


def clip_seconds(store: Store, stages: Sequence[str], pack: str, generation: Mapping[str, Any]) -> float | None:
    """How long one clip will take, scaled from finished clips of the same pack; None until each stage was seen once."""
    done = store.newest_done("generate", pack, RECENT)
    seen: dict[str, list[float]] = {}
    for job_id, parts in store.all_stages([job.id for job in done]).items():
        job = next(job for job in done if job.id == job_id)
        for stage in parts:
            if stage.state == "done" and stage.seconds is not None:
                seen.setdefault(stage.name, []).append(stage.seconds * _work(generation) / _work(job.settings.get("generation", {})))
    if any(name not in seen for name in stages):
        return None
    return sum(median(seen[name]) for name in stages)


def clip_bytes(stages: Sequence[str], pack: str, generation: Mapping[str, Any]) -> int:
    """Roughly how much disk one clip takes: the frames of every stage as PNG, and the films."""
    own = 64 if pack == "pocket" else 512
    pixels = (generation.get("width") or own) * (generation.get("height") or own) * generation.get("frames", 16)
    large = 4 if "tiled" in stages else 1
    pictures = sum((4 if name == "tiled" else 1) * pixels for name in stages if name != "save")
    return int(pictures * PNG_BYTES_PER_PIXEL + large * pixels * 0.5)


def _work(generation: Mapping[str, Any]) -> float:
    """Proportional to the time a clip takes, as far as its settings say."""
    area = (generation.get("width") or 1) * (generation.get("height") or 1)
    return float(generation.get("steps", 25) * generation.get("frames", 16) * area)
