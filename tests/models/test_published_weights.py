"""Published weights on real photos and videos, for who has them: nothing of it is shipped or fetched."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vcd_studio.method.protocols import Box
from vcd_studio.models.faces import YuNetFaces
from vcd_studio.models.sam import load_sam
from vcd_studio.models.single_files import load_upscaler

WEIGHTS = os.environ.get("VCD_TEST_WEIGHTS", "")
"""A folder with the published mobile_sam.pt, RealESRGAN_x4plus.pth and YuNet, and ``data`` with photos and videos beside it."""
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not WEIGHTS, reason="VCD_TEST_WEIGHTS names no folder of published weights")]


def test_the_published_mobile_sam_finds_the_dog() -> None:
    segmenter = load_sam(Path(WEIGHTS) / "mobile_sam.pt", torch.float32)
    with Image.open(Path(WEIGHTS).parent / "data" / "photos" / "dog" / "00.jpg") as photo:
        picture = photo.convert("RGB")
    width, height = picture.size
    mask = segmenter.segment(picture, Box(width * 0.08, height * 0.18, width * 0.9, height))
    assert mask[height // 2, width // 2] > 0.9  # on the nose
    assert mask[: height // 8].max() < 0.1  # above the ears
    assert 0.3 < mask.mean() < 0.7


def test_the_published_real_esrgan_is_sharper_than_bicubic() -> None:
    upscaler = load_upscaler(Path(WEIGHTS) / "RealESRGAN_x4plus.pth", torch.float32)
    with Image.open(Path(WEIGHTS).parent / "data" / "photos" / "dog" / "00.jpg") as photo:
        small = photo.convert("RGB").resize((64, 64), Image.Resampling.BOX)
    x = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 127.5 - 1
    large = upscaler.upscale(x)
    bicubic = torch.nn.functional.interpolate(x, scale_factor=4, mode="bicubic")
    assert large.shape == (1, 3, 256, 256)
    assert (large - bicubic).abs().mean() < 0.1  # the same picture

    def edges(y: torch.Tensor) -> float:
        return float(y.diff(dim=-1).abs().quantile(0.99))

    assert edges(large) > 1.3 * edges(bicubic)


@pytest.mark.parametrize(("video", "least"), [("woman-running", 80), ("man-skiing", 35)])
def test_the_published_yunet_finds_near_and_distant_faces(video: str, least: int) -> None:
    import av

    (path,) = Path(WEIGHTS).glob("face_detection_yunet_*.onnx")
    faces = YuNetFaces(path)
    with av.open(str(Path(WEIGHTS).parent / "data" / "videos" / f"{video}.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for index, frame in enumerate(container.decode(video=0)) if index % 8 == 0][:8]
    found = [faces.detect(frame) for frame in frames]
    assert sum(len(boxes) == 1 for boxes in found) >= 6
    assert np.median([box.width for boxes in found for box in boxes]) > least
    assert all(0 <= box.left < box.right <= frame.shape[1] for boxes, frame in zip(found, frames, strict=True) for box in boxes)
