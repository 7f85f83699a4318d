"""SAM in its published layouts, built by segment-anything, fed by our own resizing; MobileSAM's encoder is the published one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vcd_studio.catalog.recognise import recognise
from vcd_studio.method.protocols import Box, MethodError
from vcd_studio.models.sam import SamSegmenter, load_sam
from vcd_studio.models.tiny_vit import Block, TinyViT

segment_anything = pytest.importorskip("segment_anything")


def mobile_sam() -> torch.nn.Module:
    torch.manual_seed(0)
    network: torch.nn.Module = segment_anything.sam_model_registry["vit_b"](checkpoint=None)
    network.image_encoder = TinyViT()
    return network.eval()


def published(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """MobileSAM's file: the classifier of TinyViT is in it too."""
    unused = {"head.weight": (1000, 320), "head.bias": (1000,), "norm_head.weight": (320,), "norm_head.bias": (320,)}
    return network.state_dict() | {f"image_encoder.{key}": torch.zeros(shape) for key, shape in unused.items()}


@pytest.mark.slow
def test_mobile_sam_comes_back_from_its_file_and_sees_boxes_in_the_pictures_own_pixels(tmp_path: Path) -> None:
    network = mobile_sam()
    torch.save(published(network), tmp_path / "mobile_sam.pt")
    found = recognise({key: tuple(value.shape) for key, value in published(network).items()})
    assert found
    assert found.title == "MobileSAM"
    segmenter = load_sam(tmp_path / "mobile_sam.pt", torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), segmenter.network.state_dict().values(), strict=True))
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 160, 3), dtype=np.uint8))
    box = Box(20, 10, 100, 80)
    mask = segmenter.segment(picture, box)
    assert mask.shape == (90, 160)
    assert mask.dtype == np.float32
    assert 0 <= mask.min() < mask.max() <= 1
    predictor = segment_anything.SamPredictor(network)  # what segment-anything itself makes of it
    predictor.set_image(np.asarray(picture))
    logits, _, _ = predictor.predict(box=np.array([20, 10, 100, 80]), multimask_output=False, return_logits=True)
    theirs = 1 / (1 + np.exp(-logits[0]))
    assert np.abs(mask - theirs).mean() < 0.02


@pytest.mark.parametrize(("builder", "encoder"), [("vit_b", "ViT-B"), ("vit_l", "ViT-L"), ("vit_h", "ViT-H")])
def test_each_published_size_is_built_by_its_keys(builder: str, encoder: str, tmp_path: Path) -> None:
    """A file of one number a tensor: the shapes are the published ones, and the network that is built for them takes every key."""
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in segment_anything.sam_model_registry[builder](checkpoint=None).state_dict().items()}
    torch.save({key: torch.full((1,), 0.5).expand(shape) for key, shape in shapes.items()}, tmp_path / "sam.pth")
    found = recognise({key: tuple(shape) for key, shape in shapes.items()})
    assert found is not None
    assert (found.part, found.title) == ("segmenter", f"Segment Anything {encoder}")
    loaded = load_sam(tmp_path / "sam.pth", torch.float16).network.state_dict()
    assert loaded.keys() == shapes.keys()
    assert all(value.shape == shapes[key] and value.eq(0.5).all() for key, value in loaded.items())


def test_a_pictures_embedding_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    network = mobile_sam()
    network.image_encoder.forward = lambda x: calls.append(1) or torch.zeros(1, 256, 64, 64)
    segmenter = SamSegmenter(network)
    for color in ("red", "red", "blue"):
        segmenter.segment(Image.new("RGB", (64, 48), color), Box(5, 5, 40, 40))
    assert len(calls) == 2


def test_windows_that_do_not_fit_are_filled_up_and_cut_again() -> None:
    torch.manual_seed(0)
    block = Block(8, 2, 3).eval()
    with torch.inference_mode():
        whole = block(torch.randn(1, 8, 7, 5))
    assert whole.shape == (1, 8, 7, 5)


def test_what_is_no_segmenter_is_refused(tmp_path: Path) -> None:
    torch.save({"emb_params": torch.zeros(2, 768)}, tmp_path / "a.pt")
    with pytest.raises(MethodError, match=r"is a textual inversion for SD 1\.5; Segment Anything or MobileSAM is needed"):
        load_sam(tmp_path / "a.pt", torch.float32)
