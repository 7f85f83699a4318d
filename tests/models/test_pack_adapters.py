"""Packs are found or refused in one sentence; the small detectors' geometry holds at any picture size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from vcd_studio.catalog.packs import NEEDED, PackMissing, find_pack
from vcd_studio.method.protocols import Box, UnknownNoun
from vcd_studio.models.box_segmenter import BoxSegmenter
from vcd_studio.models.centre_detector import CentreDetector, CentreGrounding, iou, labels_of
from vcd_studio.models.rrdbnet import RRDBNet


def test_a_pack_that_is_not_there_says_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(PackMissing, match=r"sd15.*put its diffusers folders") as caught:
        find_pack("sd15", tmp_path)
    assert str(tmp_path / "sd15") in str(caught.value)


def test_a_pack_that_lacks_a_part_names_it(tmp_path: Path) -> None:
    for part in NEEDED[:-2]:
        (tmp_path / "half" / part).mkdir(parents=True)
    with pytest.raises(PackMissing, match="lacks motion_adapter, scheduler"):
        find_pack("half", tmp_path)


def test_nouns_are_understood_or_refused_with_those_known() -> None:
    classes = ["dog", "cat", "man", "woman"]
    assert labels_of("a small dog.", classes) == ("dog",)
    assert labels_of("person", classes) == ("man", "woman")
    with pytest.raises(UnknownNoun) as caught:
        labels_of("unicorn", classes)
    assert "unicorn" in str(caught.value)
    assert "woman" in str(caught.value)


class OneCentre(CentreDetector):
    """Always sees one object of class 1: centre cell (8, 4), sides 8, 4, 12, 16 of 64."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        heat = torch.full((1, 2, 16, 16), -9.0)
        heat[0, 1, 8, 4] = 9.0
        sides = torch.tensor([8.0, 4.0, 12.0, 16.0]).div(64).view(1, 4, 1, 1).expand(1, 4, 16, 16)
        return heat, sides


@pytest.mark.parametrize(("width", "height"), [(64, 64), (128, 128), (640, 320), (200, 640)])
def test_boxes_come_back_in_the_pictures_own_pixels(width: int, height: int) -> None:
    detector = OneCentre(classes=["cat", "dog"])
    [box] = CentreGrounding(detector).ground(Image.new("RGB", (width, height)), "dog", 0.3, 0.25)
    scale = max(width, height) / 64
    expected = Box((18 - 8) * scale, (34 - 4) * scale, (18 + 12) * scale, (34 + 16) * scale)
    expected = Box(expected.left, min(expected.top, height), min(expected.right, width), min(expected.bottom, height))
    assert (box.left, box.top, box.right, box.bottom) == pytest.approx((expected.left, expected.top, expected.right, expected.bottom))
    assert box.label == "dog"
    assert box.score > 0.99
    assert CentreGrounding(detector).ground(Image.new("RGB", (width, height)), "cat", 0.3, 0.25) == []


class MaskIsBox(BoxSegmenter):
    """Answers with the box it was shown."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 3:] * 20


@pytest.mark.parametrize("scale", [1, 4, 10])
def test_masks_come_back_where_the_box_is(scale: int) -> None:
    box = Box(10.0 * scale, 5.0 * scale, 40.0 * scale, 55.0 * scale)
    mask = MaskIsBox().segment(Image.new("RGB", (64 * scale, 60 * scale)), box)
    assert mask.shape == (60 * scale, 64 * scale)
    rows, columns = np.flatnonzero((mask > 0.5).any(1)), np.flatnonzero((mask > 0.5).any(0))
    found = Box(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert iou(found, box) > 0.93
    assert 0.0 <= mask.min() <= mask.max() <= 1.0


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_the_upscaler_grows_by_its_scale(scale: int) -> None:
    network = RRDBNet(scale=scale, num_feat=8, num_block=1, num_grow_ch=4).eval()
    frames = torch.rand(3, 3, 16, 24) * 2 - 1
    grown = network.upscale(frames)
    assert grown.shape == (3, 3, 16 * scale, 24 * scale)
    assert torch.allclose(grown[1:2], network.upscale(frames[1:2])), "each frame on its own"
    assert F.mse_loss(grown.clamp(-1, 1), grown) == 0
