"""Prompt-to-segmentation (paper section 4.2): a noun grounds a box, the box becomes a mask, the mask is tidied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vcd_studio.method.protocols import Box, Grounding, MethodError, Segmenter

Mask = NDArray[np.uint8]
"""(height, width): 0 background, 255 subject."""
SPECK = 0.05
"""Parts smaller than this share of the largest part are specks."""


class NothingFound(MethodError):
    """Grounding saw no such thing in the picture."""

    def __init__(self, noun: str) -> None:
        super().__init__(f'No "{noun}" was found in the picture: try another noun, lower thresholds, or draw the mask yourself.')
        self.noun = noun


class NoSuchBox(MethodError):
    """A box was picked that is not among those found."""

    def __init__(self, pick: Sequence[int], count: int) -> None:
        wanted = ", ".join(str(place + 1) for place in pick) or "none"
        super().__init__(f"Box {wanted} was picked, and {count} found: pick from 1 to {count}, or lower the thresholds to find more.")


@dataclass(frozen=True)
class Segmentation:
    mask: Mask
    boxes: list[Box]
    """All that were found, best first."""
    chosen: tuple[int, ...]
    """Which of them the mask was made from."""


def segment(
    image: Image.Image,
    noun: str,
    grounding: Grounding,
    segmenter: Segmenter,
    box_threshold: float = 0.3,
    text_threshold: float = 0.25,
    pick: Literal["best", "all"] | Sequence[int] = "best",
) -> Segmentation:
    """The subject's mask at the picture's size. ``pick`` takes the best box, all of them, or some by their places in ``boxes``.

    Raises NothingFound, NoSuchBox, and UnknownNoun from detectors with a fixed vocabulary.
    """
    found = grounding.ground(image, noun, box_threshold, text_threshold)
    boxes = sorted(found, key=lambda box: -box.score)
    if not boxes:
        raise NothingFound(noun)
    chosen = _chosen(pick, len(boxes))
    surest = np.max([segmenter.segment(image, boxes[i]) for i in chosen], axis=0)
    return Segmentation(tidy((surest > 0.5).astype(np.uint8) * 255), boxes, chosen)


def _chosen(pick: Literal["best", "all"] | Sequence[int], count: int) -> tuple[int, ...]:
    if isinstance(pick, str):
        return tuple(range(count)) if pick == "all" else (0,)
    if not pick or any(not 0 <= place < count for place in pick):
        raise NoSuchBox(pick, count)
    return tuple(pick)


def tidy(mask: Mask) -> Mask:
    """Holes filled, specks dropped."""
    background = components(mask == 0)
    rim = np.concatenate([background[0], background[-1], background[:, 0], background[:, -1]])
    filled = ~np.isin(background, np.unique(rim[rim > 0]))
    parts = components(filled)
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    kept = areas >= max(SPECK * areas.max(), 1)
    return np.where(kept[parts], np.uint8(255), np.uint8(0))


def components(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Label the 4-connected parts of a mask 1, 2, …; 0 elsewhere. Runs of a row are joined to those they touch above."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, stops = np.argwhere(edges == 1), np.argwhere(edges == -1)
    roots = list(range(len(starts)))

    def root(run: int) -> int:
        while roots[run] != run:
            roots[run] = roots[roots[run]]
            run = roots[run]
        return run

    rows = starts[:, 0].tolist()
    left, right = starts[:, 1].tolist(), stops[:, 1].tolist()
    above = 0
    for run, row in enumerate(rows):
        while rows[above] < row - 1 or (rows[above] == row - 1 and right[above] <= left[run]):
            above += 1
        other = above
        while other < run and rows[other] == row - 1 and left[other] < right[run]:
            roots[root(other)] = root(run)
            other += 1
    labels = np.zeros(mask.shape, np.int64)
    names: dict[int, int] = {}
    for run, row in enumerate(rows):
        labels[row, left[run] : right[run]] = names.setdefault(root(run), len(names) + 1)
    return labels


def mask_warnings(mask: Mask) -> list[str]:
    """What looks wrong with a mask, in words: empty, nearly everything, or touching every border."""
    subject = mask > 127
    if not subject.any():
        return ["The mask is empty."]
    warnings = []
    if subject.mean() > 0.95:
        warnings.append("The mask covers nearly the whole picture.")
    if all(side.any() for side in (subject[0], subject[-1], subject[:, 0], subject[:, -1])):
        warnings.append("The mask touches every border of the picture.")
    return warnings
