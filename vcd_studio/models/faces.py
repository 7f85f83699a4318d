"""Faces at full size: people's by YuNet (Wu et al. 2023) through OpenCV, pets' by whatever grounds "a dog's head"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcd_studio.method.protocols import Box, FaceDetector, Grounding, MethodError

PEOPLE = {"person", "man", "woman", "boy", "girl", "child", "baby", "lady", "guy", "face", "human", "people", "actor", "actress"}
LEAST_SIDE = 1080
"""Pixels: smaller pictures are enlarged first. A skier's face, 55 pixels wide in pictures of 718, is found in 4 of 16 as they are and in
14 at 1080; from 1800 on there is a second "face" in some of them, and in some of a runner's, too."""


class YuNetFaces:
    """``threshold``: the least score of a face; faces that overlap by more than ``overlap`` count once."""

    def __init__(self, path: Path, threshold: float = 0.6, overlap: float = 0.3) -> None:
        try:
            import cv2
        except ImportError as error:
            raise MethodError(f"{path} needs OpenCV; pip install 'vcd-studio[grounded-sam]'.") from error
        self._cv2: Any = cv2
        self._cv2.utils.logging.setLogLevel(self._cv2.utils.logging.LOG_LEVEL_ERROR)  # it warns of every load
        try:
            self._detector = cv2.FaceDetectorYN.create(str(path), "", (320, 320), threshold, overlap)
        except cv2.error as error:
            raise MethodError(f"{path} cannot be loaded as YuNet: OpenCV reads no face detector from it.") from error

    def detect(self, image: NDArray[np.uint8], noun: str = "person") -> list[Box]:
        """Faces in (height, width, 3), best first, in its own pixels."""
        height, width = image.shape[:2]
        scale = max(1.0, LEAST_SIDE / max(height, width))
        size = (round(width * scale), round(height * scale))
        large = self._cv2.resize(np.ascontiguousarray(image[..., ::-1]), size, interpolation=self._cv2.INTER_CUBIC)
        self._detector.setInputSize(size)
        _, found = self._detector.detect(large)
        boxes = []
        for left, top, across, down, *_, score in [] if found is None else found.tolist():
            right, bottom = (left + across) / scale, (top + down) / scale
            boxes.append(Box(max(0.0, left / scale), max(0.0, top / scale), min(width, right), min(height, bottom), score, "face"))
        return sorted(boxes, key=lambda box: -box.score)


class PeopleAndPets:
    """``people`` for nouns that mean a person; for every other noun its head, by grounding, where the pack has that."""

    def __init__(self, people: FaceDetector | None, grounding: Grounding | None) -> None:
        self.people, self.grounding = people, grounding

    def detect(self, image: NDArray[np.uint8], noun: str) -> list[Box]:
        """Faces or heads of what ``noun`` names. MethodError where nothing here can see them."""
        if PEOPLE & set(noun.lower().split()):
            if self.people is None:
                raise MethodError("The pack has no face detector; add YuNet's .onnx to it as faces, or leave the stage face out.")
            return self.people.detect(image, noun)
        if self.grounding is None:
            remedy = "add Grounding DINO to it, or leave the stage face out"
            raise MethodError(f"Heads of a {noun} are found by grounding, which the pack lacks; {remedy}.")
        from PIL import Image

        return self.grounding.ground(Image.fromarray(image), f"{noun} head", 0.3, 0.25)
