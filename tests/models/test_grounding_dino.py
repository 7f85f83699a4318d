"""Grounding DINO by its authors' package and by transformers: the same weights see the same boxes, and nothing is fetched."""

from __future__ import annotations

import json
import re
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from transformers import BertConfig, BertModel, BertTokenizer, GroundingDinoImageProcessor

from tests.catalog import layouts
from tests.catalog.test_discovery import write
from tests.models.test_pack_files import write_pack
from vcd_studio.catalog.packs import POCKET
from vcd_studio.catalog.vocabulary import read_vocabulary
from vcd_studio.method.protocols import Box, MethodError
from vcd_studio.models import grounding_dino, load_pack
from vcd_studio.models.faces import PeopleAndPets
from vcd_studio.models.grounding_dino import (
    GroundingDino,
    OriginalGroundingDino,
    PhraseBert,
    TransformersGroundingDino,
    build_original,
    caption_of,
    hyperparameters,
    load_grounding_dino,
    pixels_of,
)

State = dict[str, torch.Tensor]
RENAMED = [
    (r"^bert\.(?!pooler)", "model.text_backbone."),
    (r"^feat_map", "model.text_projection"),
    (r"^input_proj", "model.input_proj_vision"),
    (r"^backbone\.0\.patch_embed\.proj", "swin.embeddings.patch_embeddings.projection"),
    (r"^backbone\.0\.patch_embed", "swin.embeddings"),
    (r"^backbone\.0\.norm(\d)", lambda found: f"swin.hidden_states_norms.stage{int(found[1]) + 1}"),
    (r"^backbone\.0", "swin.encoder"),
    (r"^swin(.*)\.norm1", r"swin\1.layernorm_before"),
    (r"^swin(.*)\.norm2", r"swin\1.layernorm_after"),
    (r"^swin(.*)\.attn\.relative_position_bias_table", r"swin\1.attention.self.relative_position_bias_table"),
    (r"^swin(.*)\.attn\.proj", r"swin\1.attention.output.dense"),
    (r"^swin(.*)\.attn\.(query|key|value)", r"swin\1.attention.self.\2"),
    (r"^swin(.*)\.mlp\.fc1", r"swin\1.intermediate.dense"),
    (r"^swin(.*)\.mlp\.fc2", r"swin\1.output.dense"),
    (r"^swin", "model.backbone.conv_encoder.model"),
    (r"^transformer\.tgt_embed", "model.query_position_embeddings"),
    (r"^transformer\.enc_out_bbox_embed", "model.encoder_output_bbox_embed"),
    (r"^transformer\.encoder\.layers\.(\d+)\.norm1", r"model.encoder.layers.\1.deformable_layer.self_attn_layer_norm"),
    (r"^transformer\.encoder\.layers\.(\d+)\.norm2", r"model.encoder.layers.\1.deformable_layer.final_layer_norm"),
    (r"^transformer\.encoder\.layers\.(\d+)", r"model.encoder.layers.\1.deformable_layer"),
    (r"^transformer\.encoder\.text_layers\.(\d+)\.norm1", r"model.encoder.layers.\1.text_enhancer_layer.layer_norm_before"),
    (r"^transformer\.encoder\.text_layers\.(\d+)\.norm2", r"model.encoder.layers.\1.text_enhancer_layer.layer_norm_after"),
    (r"^transformer\.encoder\.text_layers\.(\d+)", r"model.encoder.layers.\1.text_enhancer_layer"),
    (r"^transformer\.encoder\.fusion_layers\.(\d+)", r"model.encoder.layers.\1.fusion_layer"),
    (r"(fusion_layer.*(?:norm_|out_|values_|attn\.))v(\.|_proj)", r"\1vision\2"),
    (r"(fusion_layer.*(?:norm_|out_|values_|attn\.))l(\.|_proj)", r"\1text\2"),
    (r"gamma_v$", "vision_param"),
    (r"gamma_l$", "text_param"),
    (r"^transformer\.decoder\.norm", "model.decoder.layer_norm"),
    (r"ref_point_head", "reference_points_head"),
    (r"\.cross_attn", ".encoder_attn"),
    (r"\.ca_text", ".encoder_attn_text"),
    (r"\.catext_norm", ".encoder_attn_text_layer_norm"),
    (r"^(transformer\.decoder.*)\.norm1", r"\1.encoder_attn_layer_norm"),
    (r"^(transformer\.decoder.*)\.norm2", r"\1.self_attn_layer_norm"),
    (r"^(transformer\.decoder.*)\.norm3", r"\1.final_layer_norm"),
    (r"^transformer", "model"),
    (r"^(model.*)\.linear(\d)", r"\1.fc\2"),
]  # fmt: skip
"""What the authors call a weight, and what transformers calls it in the folders that it publishes."""


def in_transformers_layout(state: State) -> State:
    """The authors' weights as transformers' folders have them: renamed, queries, keys and values apart."""
    apart: State = {}
    for key, value in state.items():
        if found := re.search(r"(\.in_proj_|\.qkv\.)(weight|bias)$", key):
            stem = key[: found.start()]
            apart |= {f"{stem}.{part}.{found[2]}": third for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True)}
        elif "pooler" not in key and "relative_position_index" not in key and key not in grounding_dino.UNUSED:
            apart[key] = value
    renamed = {}
    for key, value in apart.items():
        for pattern, name in RENAMED:
            key = re.sub(pattern, name, key)
        renamed[key] = value.clone()
    return renamed


def random(shapes: layouts.Shapes) -> State:
    """Normal, over the root of what each number sums up; norms near one. Box heads are one head, as in the published files."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, shape in shapes.items():
        if "relative_position_index" in key or key in grounding_dino.UNUSED:
            continue
        noise = torch.randn(shape, generator=generator)
        state[key] = noise / shape[-1] ** 0.5 if len(shape) > 1 else noise * 0.1 + float("norm" in key.lower() and key.endswith("weight"))
    heads = {key: re.sub(r"^(transformer\.decoder\.)?bbox_embed\.\d+", "bbox_embed.0", key) for key in state}
    return {key: state[heads[key]] for key in state}


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bert-base-uncased") / "vocab.txt"
    path.write_text("\n".join(layouts.bert_vocabulary()) + "\n")
    return path


@pytest.fixture(scope="module")
def tokenizer(vocabulary: Path) -> Any:
    return BertTokenizer(vocab=read_vocabulary(vocabulary))


@pytest.fixture
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the work."""
    monkeypatch.setattr(grounding_dino, "SHORTEST", 256)


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 16, 3), dtype=np.uint8)).resize((320, 180))


SMALL_BERT = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}


@pytest.fixture(scope="module")
def twins(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[GroundingDino, GroundingDino]:
    """A Swin-T with little behind it, by either back end, from one set of weights."""
    pytest.importorskip("groundingdino")
    config = hyperparameters("Swin-T")
    config.enc_layers, config.dec_layers, config.dim_feedforward, config.num_queries = 2, 2, 128, 40
    network = build_original(config, BertConfig(**SMALL_BERT), tokenizer)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    network.load_state_dict(random(shapes), strict=False, assign=True)
    folder = tmp_path_factory.mktemp("grounding-dino")
    options = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "num_queries": 40}
    write_folder(folder, random(shapes), tokenizer, **options, text_config={"model_type": "bert", **SMALL_BERT})
    theirs = load_grounding_dino(folder, folder / "vocab.txt")
    return OriginalGroundingDino(network, tokenizer).eval(), theirs


def write_folder(folder: Path, state: State, tokenizer: Any, **options: Any) -> None:
    """As IDEA-Research/grounding-dino-tiny lies on a disk."""
    swin = {"model_type": "swin", "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "out_indices": [2, 3, 4]}
    config = {"model_type": "grounding-dino", "architectures": ["GroundingDinoForObjectDetection"], "backbone_config": swin, **options}
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text("{}")
    (folder / "vocab.txt").write_text("\n".join(layouts.bert_vocabulary()) + "\n")
    save_file(in_transformers_layout(state), folder / "model.safetensors", metadata={"format": "pt"})


def alike(ours: list[Box], theirs: list[Box]) -> None:
    """To a twentieth of a pixel."""
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.left, a.top, a.right, a.bottom) == pytest.approx((b.left, b.top, b.right, b.bottom), abs=0.05)
        assert a.score == pytest.approx(b.score, abs=1e-4)
        assert a.label == b.label


@pytest.mark.usefixtures("small_pictures")
@pytest.mark.parametrize("noun", ["dog", "stuffed animal", "Cat. Dog?"])
def test_both_back_ends_see_the_same(noun: str, twins: tuple[GroundingDino, GroundingDino], picture: Image.Image) -> None:
    ours, theirs = (twin.ground(picture, noun, 0.0) for twin in twins)
    assert len(ours) == 40
    alike(ours, theirs)


@pytest.mark.usefixtures("small_pictures")
def test_boxes_are_the_nouns_in_the_pictures_own_pixels_best_first(
    twins: tuple[GroundingDino, GroundingDino], picture: Image.Image
) -> None:
    _, twin = twins
    boxes = twin.ground(picture, "stuffed animal", 0.0, 0.25)
    assert boxes != twin.ground(picture, "dog", 0.0, 0.25)
    assert [box.score for box in boxes] == sorted((box.score for box in boxes), reverse=True)
    assert all(0 <= box.left < box.right <= 320 and 0 <= box.top < box.bottom <= 180 for box in boxes)
    assert {box.label for box in boxes} <= {"stuffed animal", "stuffed", "animal", ""}
    least = boxes[10].score
    assert twin.ground(picture, "stuffed animal", least, 0.25) == [box for box in boxes if box.score > least]
    assert {box.label for box in twin.ground(picture, "stuffed animal", 0.0, 1.0)} == {""}


@pytest.mark.slow
@pytest.mark.usefixtures("small_pictures")
def test_a_published_file_and_the_folder_of_the_same_weights_see_the_same_and_fetch_nothing(
    vocabulary: Path, tokenizer: Any, picture: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("groundingdino")
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("something was to be fetched"))
    state = random(layouts.grounding_dino())
    torch.save({"model": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "swint.pth")
    write_folder(tmp_path / "folder", state, tokenizer)
    del state
    ours = load_grounding_dino(tmp_path / "swint.pth", vocabulary)
    theirs = load_grounding_dino(tmp_path / "folder", vocabulary)
    with torch.inference_mode():
        (logits, boxes), (their_logits, their_boxes) = (twin.look(pixels_of(picture), "stuffed animal.") for twin in (ours, theirs))
    assert boxes.shape == (900, 4)
    assert torch.allclose(boxes, their_boxes, atol=1e-4)
    assert torch.allclose(logits[:, :5], their_logits[:, :5], atol=1e-3)
    assert logits[:, :5].std() > 1
    alike(ours.ground(picture, "stuffed animal", 0.0)[:20], theirs.ground(picture, "stuffed animal", 0.0)[:20])
    shutil.rmtree(tmp_path)


def test_bert_sees_phrases_apart_as_transformers_does_by_an_explicit_mask(tokenizer: Any) -> None:
    masks = pytest.importorskip("groundingdino.models.GroundingDINO.bertwarper").generate_masks_with_special_tokens_and_transfer_map
    torch.manual_seed(0)
    ours = PhraseBert(BertConfig(**SMALL_BERT)).eval()
    theirs = BertModel(BertConfig(**SMALL_BERT, attn_implementation="eager")).eval()
    theirs.load_state_dict(ours.state_dict())

    def read(text: str) -> torch.Tensor:
        words = tokenizer(text, return_tensors="pt")
        mask, positions, _ = masks(words, tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]", ".", "?"]), tokenizer)
        assert mask.dtype == torch.bool
        given = {"input_ids": words["input_ids"], "token_type_ids": words["token_type_ids"], "position_ids": positions}
        added = torch.zeros(mask[:, None].shape).masked_fill(~mask[:, None], torch.finfo(torch.float32).min)
        expected = theirs(**given, attention_mask=added).last_hidden_state
        found: torch.Tensor = ours(**given, attention_mask=mask)["last_hidden_state"]
        assert torch.allclose(found, expected, atol=1e-5)
        return found[0]

    with torch.inference_mode():
        dog_cat, dog_animal, cat_dog = read("dog. cat."), read("dog. stuffed animal."), read("cat. dog.")
    assert torch.allclose(dog_cat[1:3], dog_animal[1:3], atol=1e-6)  # whatever the second phrase is
    assert torch.allclose(dog_cat[1:3], cat_dog[3:5], atol=1e-6)  # and wherever it stands
    assert not torch.allclose(dog_cat[3], dog_animal[3], atol=1e-2)


@pytest.mark.parametrize(
    ("noun", "caption"),
    [
        ("Dog", "dog."), ("stuffed  animal", "stuffed animal."), ("St. Bernard?", "st bernard."), ("dog.", "dog."), ("", "."),
        ("\x1b[31mred\x1b[0m\ndog", "[31mred [0m dog."), ("Éclair", "éclair."),
    ],
)  # fmt: skip
def test_a_noun_is_one_phrase(noun: str, caption: str) -> None:
    assert caption_of(noun) == caption


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noun=st.text() | st.text("각힣.?[SEP] 犬", min_size=80))
def test_no_noun_is_too_long_or_ends_early(noun: str, tokenizer: Any) -> None:
    tokens = tokenizer(caption_of(noun))["input_ids"]
    assert len(tokens) <= 256
    assert tokens[-2:] == [1012, 102]
    assert not {101, 102, 1012, 1029} & set(tokens[1:-2])


@pytest.mark.parametrize(
    ("size", "seen"), [((767, 767), (800, 800)), ((600, 800), (800, 1067)), ((4000, 1000), (1333, 333)), ((3, 2000), (64, 1333))]
)
def test_the_pictures_size(size: tuple[int, int], seen: tuple[int, int]) -> None:
    assert pixels_of(Image.new("RGB", size)).shape == (1, 3, seen[1], seen[0])
    assert sum(-(-seen[0] // stride) * -(-seen[1] // stride) for stride in (8, 16, 32, 64)) >= 900  # places for the queries


def test_the_picture_is_what_transformers_would_show(picture: Image.Image) -> None:
    theirs = GroundingDinoImageProcessor()(picture, return_tensors="pt")["pixel_values"]
    ours = pixels_of(picture)
    assert abs(ours.shape[-1] - theirs.shape[-1]) <= 1
    width = min(ours.shape[-1], theirs.shape[-1])
    assert (ours[..., :width] - theirs[..., :width]).abs().mean() < 0.02


@pytest.fixture
def swin_t(tmp_path: Path) -> Path:
    """Its keys, as torch saves them, with nothing behind them."""
    return write(tmp_path / "swint.pth", {f"module.{key}": shape for key, shape in layouts.grounding_dino().items()})


def test_a_file_loads_without_being_copied_and_moves_where_it_is_told(swin_t: Path, vocabulary: Path) -> None:
    pytest.importorskip("groundingdino")
    found = load_grounding_dino(swin_t, vocabulary)
    assert isinstance(found, OriginalGroundingDino)
    assert {weight.dtype for weight in found.parameters()} == {torch.float32}
    assert not any(module.training for module in found.modules())
    assert {tensor.device.type for tensor in found.to("meta").state_dict().values()} == {"meta"}


def test_weights_that_are_missing_or_too_many_are_named(swin_t: Path, vocabulary: Path, tmp_path: Path) -> None:
    pytest.importorskip("groundingdino")
    whole = layouts.grounding_dino()
    few = write(tmp_path / "few.pth", {key: shape for key, shape in whole.items() if not key.startswith("feat_map")})
    with pytest.raises(MethodError, match=r"few\.pth lacks feat_map\.weight and 1 more"):
        load_grounding_dino(few, vocabulary)
    many = write(tmp_path / "many.pth", whole | {"transformer.more.weight": (3,)})
    with pytest.raises(MethodError, match=r"many\.pth holds transformer\.more\.weight"):
        load_grounding_dino(many, vocabulary)
    other = write(tmp_path / "other.pth", whole | {"feat_map.weight": (256, 1024)})
    with pytest.raises(MethodError, match=r"other\.pth cannot be loaded as Grounding DINO"):
        load_grounding_dino(other, vocabulary)


def test_what_is_no_grounding_dino_is_refused(swin_t: Path, vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MethodError, match=r"is a textual inversion for SD 1\.5; Grounding DINO Swin-T or Swin-B is needed"):
        load_grounding_dino(write(tmp_path / "a.pt", {"emb_params": (2, 768)}), vocabulary)
    (tmp_path / "cut.pth").write_bytes(swin_t.read_bytes()[:5000])
    with pytest.raises(MethodError, match=r"cut\.pth is cut off"):
        load_grounding_dino(tmp_path / "cut.pth", vocabulary)
    torch.save({"model": {"module.a": Image.new}}, tmp_path / "code.pth")
    with pytest.raises(MethodError, match=r"code\.pth holds more than weights"):
        load_grounding_dino(tmp_path / "code.pth", vocabulary)
    for words in (None, swin_t):
        with pytest.raises(MethodError, match=r"needs the vocabulary of bert-base-uncased"):
            load_grounding_dino(swin_t, words)
    for module in [name for name in sys.modules if name.split(".")[0] == "groundingdino"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "groundingdino", None)
    with pytest.raises(MethodError, match=r"needs groundingdino-py; pip install 'vcd-studio\[grounded-sam\]'"):
        load_grounding_dino(swin_t, vocabulary)


@pytest.fixture
def folder(tokenizer: Any, tmp_path: Path) -> Path:
    write_folder(tmp_path / "dino", {"transformer.level_embed": torch.zeros(4, 256)}, tokenizer)
    return tmp_path / "dino"


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("model.safetensors", None, r"dino lacks .* more of its weights"),
        ("model.safetensors", "<!DOCTYPE html>", r"model\.safetensors is a web page"),
        ("config.json", '{"model_type": "grounding-dino", "d_model": "wide"}', r"dino cannot be loaded as Grounding DINO"),
        ("config.json", '{"model_type": "grounding-dino", "encoder_attention_heads": 0}', r"dino cannot be loaded as Grounding DINO"),
        ("config.json", "{", r"dino cannot be loaded as Grounding DINO"),
    ],
)
def test_broken_folders_get_one_sentence(file: str, text: str | None, says: str, folder: Path, vocabulary: Path) -> None:
    if text is not None:
        (folder / file).write_text(text)
    with pytest.raises(MethodError, match=says) as refused:
        load_grounding_dino(folder, vocabulary)
    assert "\n" not in str(refused.value)


def test_a_pack_with_it_finds_heads_of_pets_in_32_bits_whatever_the_pack_is_in(
    twins: tuple[GroundingDino, GroundingDino], tmp_path: Path
) -> None:
    place = Path(twins[1].network.name_or_path)
    parts = {part: POCKET / part for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler", "motion_adapter", "segmenter")}
    write_pack(tmp_path / "mine", {**parts, "grounding": place})
    networks = load_pack("mine", dtype=torch.bfloat16, packs_dir=tmp_path)
    assert isinstance(networks.grounding, TransformersGroundingDino)
    assert {weight.dtype for weight in networks.grounding.parameters()} == {torch.float32}
    assert isinstance(networks.faces, PeopleAndPets)
    assert networks.faces.grounding is networks.grounding
