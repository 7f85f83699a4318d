"""Who looks for the faces of what: people's by one detector, pets' heads by grounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vcd_studio.method.protocols import Box, MethodError
from vcd_studio.models.faces import PeopleAndPets, YuNetFaces

PICTURE = np.zeros((40, 60, 3), np.uint8)
FACE, HEAD = Box(1, 2, 3, 4, 0.9, "face"), Box(5, 6, 7, 8, 0.8, "head")


class People:
    def detect(self, image: np.ndarray, noun: str) -> list[Box]:
        return [FACE]


class Heads:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def ground(self, image: Image.Image, noun: str, box_threshold: float = 0.3, text_threshold: float = 0.25) -> list[Box]:
        assert image.size == (60, 40)
        self.asked.append(noun)
        return [HEAD]


def test_people_have_faces_and_pets_have_heads() -> None:
    heads = Heads()
    faces = PeopleAndPets(People(), heads)
    assert faces.detect(PICTURE, "young woman") == [FACE]
    assert faces.detect(PICTURE, "dog") == [HEAD]
    assert heads.asked == ["dog head"]


def test_what_nothing_can_see_is_said_with_the_remedy() -> None:
    with pytest.raises(MethodError, match=r"no face detector; add YuNet"):
        PeopleAndPets(None, Heads()).detect(PICTURE, "man")
    with pytest.raises(MethodError, match=r"Heads of a dog .*add Grounding DINO"):
        PeopleAndPets(People(), None).detect(PICTURE, "dog")


def test_a_file_that_is_no_yunet_is_named(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    (tmp_path / "faces.onnx").write_bytes(b"\x08\x06 nothing of the kind")
    with pytest.raises(MethodError, match=r"faces\.onnx cannot be loaded as YuNet"):
        YuNetFaces(tmp_path / "faces.onnx")
