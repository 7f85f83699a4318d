"""The encoders say what transformers says, from any folder, of any number of pictures; and pocket's own can be trained and resumed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTModel,
)
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from vcd_studio.evaluation.encoders import ImageEncoder, ImageTextEncoder, Picture, Preprocessing
from vcd_studio.method.protocols import MethodError
from vcd_studio.pocket.train import clip, dino
from vcd_studio.pocket.train.data import pictures, to_tensor
from vcd_studio.pocket.train.tokenizer import build_tokenizer

SHAPES = [(64, 64), (50, 71), (90, 53), (224, 300), (20, 31), (41, 40)]


def picture(height: int, width: int, seed: int = 0, smooth: bool = False) -> Picture:
    rng = np.random.default_rng([height, width, seed])
    noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise[:4, :4]).resize((width, height), Image.Resampling.BICUBIC)) if smooth else noise


def tiny_clip(folder: Path, seed: int = 0) -> Path:
    """A CLIP with random weights, with everything beside it that one on the hub has."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer(folder)
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    end = tokenizer.eos_token_id
    text = {**small, "vocab_size": len(tokenizer), "max_position_embeddings": 24, "eos_token_id": end, "pad_token_id": end}
    vision = {**small, "image_size": 40, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).eval().save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 48}, crop_size={"height": 40, "width": 40}).save_pretrained(folder)
    return folder


def tiny_dino(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    config = ViTConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8)
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def unit(x: torch.Tensor) -> np.ndarray[Any, Any]:
    return (x / x.norm(dim=-1, keepdim=True)).detach().numpy()


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def dino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dino(tmp_path_factory.mktemp("dino"))


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "processor",
    [
        CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}),
        CLIPImageProcessorPil(size={"shortest_edge": 48}, crop_size={"height": 40, "width": 33}),
        CLIPImageProcessorPil(size={"shortest_edge": 40}, crop_size={"height": 57, "width": 44}),  # black all around
        ViTImageProcessorPil(size={"height": 48, "width": 40}),
        ViTImageProcessorPil(size={"height": 48, "width": 48}, do_rescale=False, do_normalize=False),
        BitImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 56, "width": 56}),
    ],
)
def test_pictures_are_prepared_as_transformers_does(processor: Any, shape: tuple[int, int], smooth: bool, tmp_path: Path) -> None:
    processor.save_pretrained(tmp_path)
    shown = picture(*shape, smooth=smooth)
    theirs = processor(images=Image.fromarray(shown), return_tensors="np")["pixel_values"][0]
    asked = Preprocessing.read(str(tmp_path), None)
    ours = asked(shown).numpy()
    assert ours.shape == theirs.shape
    levels = np.abs(ours - theirs) * np.array(asked.std)[:, None, None] / asked.scale  # of 255
    assert levels.max() < 2.01  # torch's weights have 15 bits, PIL's 22
    # Pillow 13 resizes this one's height first; torch and torchvision always begin with the width.
    height_first = isinstance(processor, ViTImageProcessorPil) and shape == (90, 53)
    assert levels.mean() < (0.3 if height_first else 0.03)


def test_the_files_of_the_hub_are_understood(tmp_path: Path) -> None:
    """As openai/clip-vit-large-patch14 and facebook/dino-vits16 have them: older names, sizes as a number."""
    common = {"do_normalize": True, "do_resize": True, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4], "size": 224}
    written = tmp_path / "preprocessor_config.json"
    written.write_text(
        json.dumps({**common, "feature_extractor_type": "CLIPFeatureExtractor", "do_center_crop": True, "crop_size": 224, "resample": 3})
    )
    read = Preprocessing.read(str(tmp_path), None)
    assert (read.resize, read.crop, read.resample) == (224, (224, 224), "bicubic")
    assert (read.mean, read.std) == ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    written.write_text(json.dumps({**common, "feature_extractor_type": "ViTFeatureExtractor", "resample": 2}))
    read = Preprocessing.read(str(tmp_path), None)
    assert (read.resize, read.crop, read.resample) == ((224, 224), None, "bilinear")


def test_clip_says_what_transformers_says(clip_folder: Path) -> None:
    encoder = ImageTextEncoder.load(clip_folder)
    shown = [picture(*shape) for shape in SHAPES]
    texts = ["a dog running on the beach", "a cat", "a woman with red hair waving in the city at night, " * 4]
    model, tokenizer = CLIPModel.from_pretrained(clip_folder).eval(), CLIPTokenizer.from_pretrained(clip_folder)
    pixels = CLIPImageProcessorPil.from_pretrained(clip_folder)(images=[Image.fromarray(p) for p in shown], return_tensors="pt")
    ids = tokenizer(texts, padding=True, truncation=True, max_length=24, return_tensors="pt")
    with torch.no_grad():
        theirs = model(pixel_values=pixels["pixel_values"], **ids)
    images, read = encoder.images(shown), encoder.texts(texts)
    assert images.dtype == read.dtype == np.float32
    np.testing.assert_allclose(images, theirs.image_embeds.numpy(), atol=2e-3)  # PIL's rounding
    np.testing.assert_allclose(read, theirs.text_embeds.numpy(), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-5)
    # On the very same pixels there is nothing to round.
    ours = torch.stack([encoder.preprocessing(p) for p in shown])
    with torch.no_grad():
        exact = unit(model.visual_projection(model.vision_model(pixel_values=ours).pooler_output))
    np.testing.assert_allclose(images, exact, atol=1e-6)


def test_dino_and_dinov2_give_the_class_token(dino_folder: Path, tmp_path: Path) -> None:
    config = Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14)
    torch.manual_seed(3)
    Dinov2Model(config).save_pretrained(tmp_path)
    BitImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28}).save_pretrained(tmp_path)
    shown = [picture(*shape) for shape in SHAPES]
    for folder, network in ((dino_folder, ViTModel), (tmp_path, Dinov2Model)):
        encoder = ImageEncoder.load(folder)
        ours = torch.stack([encoder.preprocessing(p) for p in shown])
        with torch.no_grad():
            theirs = unit(network.from_pretrained(folder).eval()(pixel_values=ours).last_hidden_state[:, 0])
        np.testing.assert_allclose(encoder.images(shown), theirs, atol=1e-6)


def test_a_long_clip_is_streamed(dino_folder: Path) -> None:
    """Never more than a batch is drawn ahead of the network; and the batches do not show in the result."""
    encoder = ImageEncoder.load(dino_folder, batch=5)
    drawn = looked_at = 0
    shown = [picture(32, 40, seed) for seed in range(23)]

    def frames() -> Iterator[Picture]:
        nonlocal drawn
        for frame in shown:
            drawn += 1
            assert drawn - looked_at <= 5
            yield frame

    def count(_: Any, __: Any, kwargs: dict[str, torch.Tensor], ___: Any) -> None:
        nonlocal looked_at
        looked_at += len(kwargs["pixel_values"])

    encoder.network.register_forward_hook(count, with_kwargs=True)
    rows = encoder.images(frames())
    assert looked_at == drawn == len(rows) == 23
    np.testing.assert_allclose(rows, ImageEncoder.load(dino_folder, batch=23).images(np.stack(shown)), atol=1e-6)


def test_half_precision_files_are_read_in_full(clip_folder: Path, tmp_path: Path) -> None:
    CLIPModel.from_pretrained(clip_folder).half().save_pretrained(tmp_path)
    CLIPTokenizer.from_pretrained(clip_folder).save_pretrained(tmp_path)
    CLIPImageProcessorPil.from_pretrained(clip_folder).save_pretrained(tmp_path)
    half, full = ImageTextEncoder.load(tmp_path), ImageTextEncoder.load(clip_folder)
    assert half.network.dtype == torch.float32
    np.testing.assert_allclose(half.images([picture(64, 64)]), full.images([picture(64, 64)]), atol=5e-3)


def test_the_fingerprint_knows_the_weights_and_the_preparation(clip_folder: Path, tmp_path: Path) -> None:
    same = ImageTextEncoder.load(clip_folder).fingerprint
    assert same == ImageTextEncoder.load(clip_folder, batch=3).fingerprint
    changed = ImageTextEncoder.load(clip_folder)
    changed.network.visual_projection.weight[0, 0] += 1e-3
    assert changed.fingerprint != same
    other = tiny_clip(tmp_path)
    assert ImageTextEncoder.load(other).fingerprint == same
    CLIPImageProcessorPil(size={"shortest_edge": 40}, crop_size={"height": 40, "width": 40}).save_pretrained(other)
    assert ImageTextEncoder.load(other).fingerprint != same


def test_what_cannot_be_used_is_told(clip_folder: Path, dino_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MethodError, match='is a "vit"; a "clip" is wanted'):
        ImageTextEncoder.load(dino_folder)
    with pytest.raises(MethodError, match='is a "clip"; a "vit"'):
        ImageEncoder.load(clip_folder)
    with pytest.raises(MethodError, match="cannot be read"):
        ImageEncoder.load(tmp_path)
    with pytest.raises(MethodError, match=r"uint8 \(height, width, 3\), not float64"):
        ImageEncoder.load(dino_folder).images([np.zeros((4, 4, 3))])  # type: ignore[list-item]
    with pytest.raises(MethodError, match="no picture"):
        ImageEncoder.load(dino_folder).images([])
    with pytest.raises(MethodError, match="no text"):
        ImageTextEncoder.load(clip_folder).texts([])


def test_a_network_is_not_made_up(tmp_path: Path) -> None:
    """Neither its mean and spread, nor a weight that is not in the file."""
    folder = tiny_dino(tmp_path)
    ViTImageProcessorPil(size={"height": 32, "width": 32}, resample=0).save_pretrained(folder)
    with pytest.raises(MethodError, match="resampling 0"):
        ImageEncoder.load(folder)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(MethodError, match=r"put its preprocessor_config\.json"):
        ImageEncoder.load(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    assert ImageEncoder.load(folder).preprocessing == Preprocessing((32, 32), None, (0.5,) * 3, (0.25,) * 3)
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(MethodError, match=r"lack layers\.2\."):
        ImageEncoder.load(folder)


# -- pocket's own ------------------------------------------------------------------------------------------------------


def test_pockets_clip_is_trained_into_a_folder_that_the_encoders_read(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(tmp_path / "tokenizer")
    torch.manual_seed(1)
    before = clip.architecture(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert sum(p.numel() for p in before.parameters()) <= 1_500_000
    torch.manual_seed(1)
    model = clip.train_clip(tmp_path, tokenizer, steps=2, batch=3, device=torch.device("cpu"))
    assert not torch.equal(model.visual_projection.weight, before.visual_projection.weight)
    encoder = ImageTextEncoder.load(tmp_path / "clip")
    shown = pictures(np.random.default_rng(0), 3)
    with torch.no_grad():
        direct = unit(model.visual_projection(model.vision_model(pixel_values=to_tensor([p.image for p in shown])).pooler_output))
    np.testing.assert_allclose(encoder.images(p.image for p in shown), direct, atol=1e-5)  # prepared as in training
    assert encoder.texts(["a dog", "a cat"]).shape == (2, 128)
    found = clip.figures(tmp_path / "clip", groups=1)
    assert len(found) == 2
    assert all(0 <= value <= 1 for value in found.values())


def test_pockets_dino_is_trained_into_a_folder_that_the_encoders_read(tmp_path: Path) -> None:
    model = dino.train_dino(tmp_path, steps=1, batch=2, device=torch.device("cpu"))
    assert sum(p.numel() for p in model.parameters()) <= 1_500_000
    shown = pictures(np.random.default_rng(0), 3)
    with torch.no_grad():
        direct = unit(model(pixel_values=to_tensor([p.image for p in shown])).last_hidden_state[:, 0])
    np.testing.assert_allclose(ImageEncoder.load(tmp_path / "dino").images(p.image for p in shown), direct, atol=1e-5)
    found = dino.figures(tmp_path / "dino", count=6)
    assert len(found) == 3
    assert all(0 <= value <= 1 for value in found.values())
