"""Prompt-to-segmentation with stand-in detectors; labelling against a flood fill."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vcd_studio.method.protocols import Box, UnknownNoun
from vcd_studio.method.segmentation import NoSuchBox, NothingFound, components, mask_warnings, segment, tidy

IMAGE = Image.new("RGB", (60, 40))
BOXES = [Box(0, 0, 20, 20, 0.5, "dog"), Box(30, 10, 55, 35, 0.9, "dog")]


class Ground:
    def __init__(self, boxes: list[Box]) -> None:
        self.boxes = boxes

    def ground(self, image: Image.Image, noun: str, box_threshold: float, text_threshold: float) -> list[Box]:
        if noun == "dragon":
            raise UnknownNoun(noun, ["dog", "cat"])
        return [box for box in self.boxes if box.score >= box_threshold]


class FillBox:
    """The box as the mask, with a hole in it and a speck beside it."""

    def segment(self, image: Image.Image, box: Box) -> NDArray[np.float32]:
        mask = np.zeros((image.height, image.width), np.float32)
        left, top, right, bottom = (int(v) for v in (box.left, box.top, box.right, box.bottom))
        mask[top:bottom, left:right] = 0.9
        mask[top + 5 : top + 8, left + 5 : left + 9] = 0.1
        mask[38, 1] = 0.9
        return mask


def test_the_best_box_is_taken_and_its_mask_is_tidy() -> None:
    result = segment(IMAGE, "dog", Ground(BOXES), FillBox())
    expected = np.zeros((40, 60), np.uint8)
    expected[10:35, 30:55] = 255
    assert np.array_equal(result.mask, expected)
    assert (result.boxes, result.chosen) == ([BOXES[1], BOXES[0]], (0,))


def test_another_box_or_all_of_them() -> None:
    assert segment(IMAGE, "dog", Ground(BOXES), FillBox(), pick=[1]).mask[:20, :20].all()
    everything = segment(IMAGE, "dog", Ground(BOXES), FillBox(), pick="all")
    assert everything.chosen == (0, 1)
    assert (everything.mask > 0).sum() == 400 + 625


def test_nothing_found_and_unknown_nouns_say_so() -> None:
    with pytest.raises(NothingFound, match='No "dog"'):
        segment(IMAGE, "dog", Ground(BOXES), FillBox(), box_threshold=0.95)
    with pytest.raises(NoSuchBox, match="Box 3 was picked, and 2 found"):
        segment(IMAGE, "dog", Ground(BOXES), FillBox(), pick=[2])
    with pytest.raises(UnknownNoun, match="dog, cat"):
        segment(IMAGE, "dragon", Ground(BOXES), FillBox())


@settings(max_examples=80)
@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_components_are_those_of_a_flood_fill(mask: NDArray[np.bool_]) -> None:
    labels = components(mask)
    assert np.array_equal(labels > 0, mask)
    picture = Image.fromarray(mask.astype(np.int32), "I")
    count = 0
    for y, x in np.argwhere(mask):
        if picture.getpixel((int(x), int(y))) == 1:
            count += 1
            ImageDraw.floodfill(picture, (int(x), int(y)), 100 + count)
    flooded = np.asarray(picture)
    pairs = set(zip(labels[mask].tolist(), flooded[mask].tolist(), strict=True))
    assert len(pairs) == count == len(set(labels[mask].tolist()))


@settings(max_examples=50)
@given(arrays(np.uint8, (9, 9), elements=st.sampled_from([0, 255])))
def test_tidying_twice_is_tidying_once(mask: NDArray[np.uint8]) -> None:
    once = tidy(mask)
    assert np.array_equal(tidy(once), once)


def test_warnings() -> None:
    empty, full, good = np.zeros((20, 20), np.uint8), np.full((20, 20), 255, np.uint8), np.zeros((20, 20), np.uint8)
    good[3:18, 3:18] = 255
    assert mask_warnings(good) == []
    assert mask_warnings(empty) == ["The mask is empty."]
    assert len(mask_warnings(full)) == 2
    cross = empty.copy()
    cross[10] = cross[:, 10] = 255
    assert mask_warnings(cross) == ["The mask touches every border of the picture."]
