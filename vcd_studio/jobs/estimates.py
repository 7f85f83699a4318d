"""What a plan will cost, learnt from the jobs that are done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from vcd_studio.catalog.headers import WeightsError
from vcd_studio.catalog.packs import USUAL_SIZE, find_pack
from vcd_studio.jobs.store import Store
from vcd_studio.locations import packs_dir
from vcd_studio.project.stage_settings import settings_of

RECENT = 20
"""How many of the newest finished jobs are asked."""

PNG_BYTES_PER_PIXEL = 1.4
"""Measured on rendered and photographic frames; flat ones need less."""


def pack_size(name: str) -> int:
    """Side in pixels of a clip that does not say its own: the pack's, or SD 1.5's where the pack is on another machine."""
    try:
        return find_pack(name, packs_dir()).size
    except WeightsError:
        return USUAL_SIZE


def clip_seconds(store: Store, stages: Sequence[str], pack: str, generation: Mapping[str, Any], size: int) -> float | None:
    """How long one clip will take, scaled from finished clips of the same pack; None until each stage was seen once.

    ``size``: the pack's own, in pixels, for clips that do not say theirs.
    """
    done = store.newest_done("generate", pack, RECENT)
    seen: dict[str, list[float]] = {}
    for job_id, parts in store.all_stages([job.id for job in done]).items():
        job = next(job for job in done if job.id == job_id)
        for stage in parts:
            if stage.state == "done" and stage.seconds is not None:
                done_work = _work(settings_of(job.settings, stage.name), size)
                seen.setdefault(stage.name, []).append(stage.seconds * _work(generation, size) / done_work)
    if any(name not in seen for name in stages):
        return None
    return sum(median(seen[name]) for name in stages)


def clip_bytes(stages: Sequence[str], generation: Mapping[str, Any], size: int) -> int:
    """Roughly how much disk one clip takes: the frames of every stage as PNG, and the films. ``size`` as in :func:`clip_seconds`."""
    pixels = _area(generation, size) * generation.get("frames", 16)
    large = 4 if "tiled" in stages else 1
    pictures = sum((4 if name == "tiled" else 1) * pixels for name in stages if name != "save")
    return int(pictures * PNG_BYTES_PER_PIXEL + large * pixels * 0.5)


def _work(generation: Mapping[str, Any], size: int) -> float:
    """Proportional to the time a clip takes, as far as its settings say."""
    return float(generation.get("steps", 25) * generation.get("frames", 16) * _area(generation, size))


def _area(generation: Mapping[str, Any], size: int) -> int:
    return int((generation.get("width") or size) * (generation.get("height") or size))
