"""What grounding saw in a photo, kept beside its mask as ``masks/<stem>.toml``: the boxes outlive the job that found them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field

from vcd_studio.project.errors import InputError
from vcd_studio.project.paths import inside, write_atomic
from vcd_studio.project.text import quoted
from vcd_studio.project.toml_file import read_toml

Pick = Literal["best", "all"] | list[int]
"""Which of the boxes found become the mask: places from 0, best first."""
Pixels = Annotated[float, Field(ge=-1e6, le=1e6)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FoundBox(_Table):
    """A rectangle in pixels of the upright photo, right and bottom exclusive; its score, 0..1, and what it was taken for."""

    left: Pixels
    top: Pixels
    right: Pixels
    bottom: Pixels
    score: float = 1.0
    label: str = ""


class FoundBoxes(_Table):
    """All boxes of one photo, best first, what was looked for, and which of them (from 0) the mask was made of.

    ``picked``: a person chose them, so that finding the masks of all photos leaves this one alone.
    """

    noun: str
    box_threshold: float
    text_threshold: float
    chosen: tuple[int, ...] = ()
    picked: bool = False
    warnings: tuple[str, ...] = ()
    box: tuple[FoundBox, ...] = ()


def boxes_path(mask_path: Path) -> Path:
    """Where the boxes of the photo with this mask are; ProjectError if that leads out of the masks' folder."""
    return inside(mask_path.parent, mask_path.with_suffix(".toml").name)


def read_boxes(mask_path: Path) -> FoundBoxes | None:
    """What was found in the photo with this mask; None before it was looked at. ProjectError if the file is broken."""
    path = boxes_path(mask_path)
    return read_toml(path, FoundBoxes) if path.is_file() else None


def write_boxes(mask_path: Path, found: FoundBoxes) -> None:
    """Keep what was found, whole or not at all; the masks' folder is there already. InputError if it cannot be written."""
    write_atomic(boxes_path(mask_path), tomli_w.dumps(found.model_dump(mode="json")).encode("utf-8"))


def read_pick(text: str) -> Pick:
    """``best``, ``all``, or box numbers as people count them (``2``, ``1,3``); InputError for anything else."""
    words = text.strip().lower()
    if words in ("best", "all"):
        return "all" if words == "all" else "best"
    numbers = words.replace(",", " ").split()
    if not numbers or not all(number.isdecimal() and 0 < int(number) < 1000 for number in numbers):
        raise InputError(f"{quoted(text)} picks no box; write a number from 1 (the best), several as 1,3, or all.")
    return sorted({int(number) - 1 for number in numbers})
