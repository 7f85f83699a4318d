"""A pack with a segmenter and no grounding takes the subject for the middle of its photo; no head is looked for that way."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vcd_studio.catalog.packs import NEEDED, POCKET
from vcd_studio.method.protocols import Box
from vcd_studio.models import load_pack
from vcd_studio.models.middle import LABEL, MiddleOfPicture


class Sees:
    """A segmenter that finds one rectangle, whatever box it is given; the boxes are kept."""

    def __init__(self, left: int, top: int, right: int, bottom: int) -> None:
        self.found = np.s_[top:bottom, left:right]
        self.boxes: list[Box] = []

    def segment(self, image: Image.Image, box: Box) -> NDArray[np.float32]:
        self.boxes.append(box)
        mask = np.zeros((image.height, image.width), np.float32)
        mask[self.found] = 1
        return mask


def test_the_box_of_what_the_middle_shows_whatever_the_noun() -> None:
    segmenter = Sees(100, 40, 200, 80)
    (box,) = MiddleOfPicture(segmenter).ground(Image.new("RGB", (200, 100)), "unicorn")
    (asked,) = segmenter.boxes
    assert (asked.left, asked.top, asked.right, asked.bottom) == (20, 10, 180, 90)
    assert (box.left, box.top, box.right, box.bottom) == (95, 38, 200, 82)  # grown, and inside the picture
    assert box.label == LABEL


def test_the_middle_itself_where_nothing_is_seen() -> None:
    (box,) = MiddleOfPicture(Sees(0, 0, 0, 0)).ground(Image.new("RGB", (200, 100)), "unicorn")
    assert (box.left, box.top, box.right, box.bottom) == (20, 10, 180, 90)


def test_only_a_pack_that_segments_and_cannot_look_guesses(tmp_path: Path) -> None:
    for part in (*NEEDED, "segmenter"):
        shutil.copytree(POCKET / part, tmp_path / "half" / part)
    half = load_pack("half", packs_dir=tmp_path)
    assert isinstance(half.grounding, MiddleOfPicture)
    assert half.faces is None
    assert not isinstance(load_pack("pocket").grounding, MiddleOfPicture)
    shutil.rmtree(tmp_path / "half" / "segmenter")
    assert load_pack("half", packs_dir=tmp_path).grounding is None
