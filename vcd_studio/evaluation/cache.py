"""What was measured is kept beside its clip, and measured again when anything it depends on has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from vcd_studio.evaluation.encoders import Picture
from vcd_studio.evaluation.metrics import ClipMetrics, Encoders, Seams, measure_clip, plain_prompt
from vcd_studio.method.protocols import Frames
from vcd_studio.project.paths import write_atomic

FILE = "metrics.json"
"""The cache's name in a clip's folder."""
EDITION = 1
"""Raise it when a metric's meaning changes: what was measured before no longer counts."""

_ENTRIES = TypeAdapter(dict[str, ClipMetrics])


def measure_once(
    cache: Path,
    frames: Frames,
    references: Sequence[Picture],
    prompt: str,
    encoders: Encoders,
    *,
    nouns: Mapping[str, str] | None = None,
    seams: Seams | None = None,
) -> ClipMetrics:
    """:func:`measure_clip`, or what it said about the very same inputs before. ``cache`` is a JSON file, made where it is not there.

    One entry for each set of inputs, so that the pack's encoders and the paper's can both be asked. A damaged cache is an empty one.
    InputError where the file cannot be written.
    """
    entries = _read(cache)
    key = key_of(frames, references, plain_prompt(prompt, nouns or {}), encoders, seams)
    if key not in entries:
        entries[key] = measure_clip(frames, references, prompt, encoders, nouns=nouns, seams=seams)
        write_atomic(cache, _ENTRIES.dump_json(entries, indent=2) + b"\n")
    return entries[key]


def key_of(frames: Frames, references: Sequence[Picture], text: str, encoders: Encoders, seams: Seams | None = None) -> str:
    """SHA-256 of all that the metrics depend on. The references' order is not among it."""
    inputs = {
        "edition": EDITION,
        "frames": _hash(frames),
        "references": sorted(_hash(reference) for reference in references),
        "text": text,
        "encoders": [encoders.clip.fingerprint, encoders.dino.fingerprint],
        "seams": seams and [*map(list, (seams.rows, seams.columns)), seams.cell, None if seams.upscaled is None else _hash(seams.upscaled)],
    }
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def _hash(pictures: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256(repr((pictures.shape, pictures.dtype.str)).encode())
    digest.update(np.ascontiguousarray(pictures).data)
    return digest.hexdigest()


def _read(cache: Path) -> dict[str, ClipMetrics]:
    try:
        return _ENTRIES.validate_json(cache.read_bytes())
    except (FileNotFoundError, ValidationError):
        return {}
