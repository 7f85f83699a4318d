"""A pack with a segmenter and no grounding takes the subject for the middle of its photo; no head is looked for that way."""

from __future__ import annotations

import shutil
from pathlib import Path

from PIL import Image

from vcd_studio.catalog.packs import NEEDED, POCKET
from vcd_studio.models import load_pack
from vcd_studio.models.middle import LABEL, MiddleOfPicture


def test_the_middle_whatever_the_noun() -> None:
    (box,) = MiddleOfPicture().ground(Image.new("RGB", (200, 100)), "unicorn")
    assert (box.left, box.top, box.right, box.bottom) == (20, 10, 180, 90)
    assert box.label == LABEL


def test_only_a_pack_that_segments_and_cannot_look_guesses(tmp_path: Path) -> None:
    for part in (*NEEDED, "segmenter"):
        shutil.copytree(POCKET / part, tmp_path / "half" / part)
    half = load_pack("half", packs_dir=tmp_path)
    assert isinstance(half.grounding, MiddleOfPicture)
    assert half.faces is None
    assert not isinstance(load_pack("pocket").grounding, MiddleOfPicture)
    shutil.rmtree(tmp_path / "half" / "segmenter")
    assert load_pack("half", packs_dir=tmp_path).grounding is None
