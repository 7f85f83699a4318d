"""Whom a study is about: photos with masks, a noun, and (in the pocket world) the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vcd_studio.method.augmentation import TrainingPhoto
from vcd_studio.pocket.examples import held_out, photos
from vcd_studio.pocket.world import ACTIONS, KINDS, Identity

PHOTO_SIZE = 128
SHARED_SCENE = "grass"


@dataclass(frozen=True)
class Subject:
    """One identity of a study. ``photos`` to learn from, in another scene each; ``shared``: the same number, all in one scene."""

    name: str
    noun: str
    photos: tuple[TrainingPhoto, ...]
    shared: tuple[TrainingPhoto, ...]
    truth: Identity

    @property
    def token(self) -> str:
        return f"<{self.name}>"

    @property
    def references(self) -> list[NDArray[np.uint8]]:
        """The photos as pictures (height, width, 3): what CLIP-I and DINO compare frames with."""
        return [np.asarray(photo.image) for photo in self.photos]

    @property
    def still_action(self) -> str:
        """What this kind does on the spot."""
        return ACTIONS[self.truth.kind][3]


def pocket_subjects(count: int = 8, photo_count: int = 8, first: int = 100) -> Iterator[Subject]:
    """``count`` held-out identities, dogs, cats, men and women in turn; always the same ones."""
    for index in range(count):
        noun = KINDS[index % len(KINDS)]
        identity = held_out(first + index, noun)
        yield Subject(
            f"{noun}{index // len(KINDS) + 1}",
            noun,
            _photos(identity, photo_count, index, None),
            _photos(identity, photo_count, index, SHARED_SCENE),
            identity,
        )


def _photos(identity: Identity, count: int, seed: int, scene: str | None) -> tuple[TrainingPhoto, ...]:
    taken = photos(identity, count, PHOTO_SIZE, seed, scene)
    return tuple(TrainingPhoto(Image.fromarray(picture.image), picture.mask) for picture in taken)
