"""Weights are found in the trees people have, once each, by what is in them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.catalog import layouts
from vcd_studio.catalog.discovery import discover, told, usual_places
from vcd_studio.catalog.vocabulary import read_vocabulary


def write(path: Path, shapes: layouts.Shapes) -> Path:
    """A file with these keys, as small as they go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = torch.zeros(1, dtype=torch.float16)
    if path.suffix == ".safetensors":
        save_file({key: torch.zeros(shape, dtype=torch.float16) for key, shape in shapes.items()}, path)
    else:  # what torch saves of a broadcast tensor is one number
        torch.save({key: whole.expand(shape) for key, shape in shapes.items()}, path)
    return path


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    root = tmp_path / "ComfyUI" / "models"
    write(root / "checkpoints" / "realistic.ckpt", layouts.sd15())
    write(root / "checkpoints" / "xl.ckpt", layouts.sdxl())
    write(root / "animatediff_models" / "mm_sd_v15_v2.ckpt", layouts.animatediff("v2"))
    write(root / "loras" / "style.safetensors", layouts.kohya_lora(rank=1))
    write(root / "embeddings" / "easy.pt", {"string_to_param.*": (2, 768)})
    (root / "checkpoints" / "put_checkpoints_here").touch()
    (root / "vae").mkdir()
    (root / "vae" / "broken.safetensors").write_bytes(b"<!DOCTYPE html>")
    return root


def test_a_comfyui_tree(comfyui: Path) -> None:
    found = {entry.path.name: entry for entry in discover([comfyui])}
    parts = {name: entry.what and entry.what.part for name, entry in found.items()}
    assert parts == {
        "realistic.ckpt": "base", "xl.ckpt": "", "mm_sd_v15_v2.ckpt": "motion_adapter", "style.safetensors": "lora", "easy.pt": "embedding",
        "broken.safetensors": None,
    }  # fmt: skip
    assert "a web page" in found["broken.safetensors"].problem
    assert found["xl.ckpt"].what
    assert found["xl.ckpt"].what.title == "an SDXL checkpoint"


def test_the_hugging_face_cache_has_every_file_once(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--guoyww--animatediff"
    blob = write(repository / "blobs" / "0123.ckpt", layouts.animatediff("v3"))
    for revision in ("aaa", "bbb"):
        snapshot = repository / "snapshots" / revision
        snapshot.mkdir(parents=True)
        (snapshot / "v3_sd15_mm.ckpt").symlink_to(blob)
    (found,) = discover([tmp_path / "hub", repository])
    assert found.path.name == "v3_sd15_mm.ckpt"
    assert found.what
    assert found.what.facts["version"] == "v3"


def test_folders_of_diffusers_are_one_find_each(tmp_path: Path) -> None:
    base = tmp_path / "sd15"
    write(base / "unet" / "diffusion_pytorch_model-00001-of-00002.fp16.safetensors", {"a": (2,)})
    (base / "unet" / "config.json").write_text(json.dumps({"_class_name": "UNet2DConditionModel", "cross_attention_dim": 768}))
    (base / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    for name, config in {
        "motion": {"_class_name": "MotionAdapter", "block_out_channels": [320, 640, 1280, 1280], "motion_max_seq_length": 24},
        "tile": {"_class_name": "ControlNetModel", "cross_attention_dim": 1024},
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    told = {found.path.name: (found.what.part, found.what.title) for found in discover([tmp_path]) if found.what}
    assert told == {
        "sd15": ("base", "an SD 1.5 checkpoint"),
        "motion": ("motion_adapter", "a motion module (v1)"),
        "tile": ("", "a ControlNet for SD 2"),
    }


def test_yunet_is_told_from_other_graphs_by_what_it_gives(tmp_path: Path) -> None:
    (tmp_path / "faces.onnx").write_bytes(b"\x08\x06 pytorch cls_8 obj_16 bbox_32 kps_32")
    (tmp_path / "other.onnx").write_bytes(b"\x08\x06 pytorch logits and more of it")
    (tmp_path / "page.onnx").write_bytes(b"<!DOCTYPE html><html></html>")
    found = {entry.path.name: entry for entry in discover([tmp_path])}
    parts = {name: (entry.what.part, entry.what.title) for name, entry in found.items() if entry.what}
    assert parts == {"faces.onnx": ("faces", "YuNet"), "other.onnx": ("", "an ONNX graph")}
    assert "is a web page" in found["page.onnx"].problem


def put_vocabulary(folder: Path, name: str = "vocab.txt") -> Path:
    """BERT's, as either file of the repository bert-base-uncased has it."""
    words = layouts.bert_vocabulary()
    text = "\n".join(words) + "\n"
    if name == "tokenizer.json":
        text = json.dumps({"version": "1.0", "model": {"type": "WordPiece", "vocab": {word: index for index, word in enumerate(words)}}})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def test_folders_of_transformers_that_grounding_and_metrics_are_made_of(tmp_path: Path) -> None:
    for name, kind in {"dino": "grounding-dino", "bert": "bert", "cased": "bert", "gpt": "gpt2", "see": "clip", "vit": "vit"}.items():
        write(tmp_path / name / "model.safetensors", {"a": (2,)})
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": kind}))
    for name in ("dino", "bert", "bare"):
        put_vocabulary(tmp_path / name)
    (tmp_path / "cased" / "vocab.txt").write_text("[PAD]\n[UNK]\n")
    found = {entry.path.relative_to(tmp_path).as_posix(): entry.what for entry in discover([tmp_path])}
    assert {name: what and (what.part, what.title) for name, what in found.items()} == {
        "dino": ("grounding", "Grounding DINO in transformers' layout"),
        "bert/vocab.txt": ("bert", "BERT's vocabulary"),
        "bare/vocab.txt": ("bert", "BERT's vocabulary"),
        "cased": ("", "a BERT without the vocabulary of bert-base-uncased"),
        "gpt/model.safetensors": None,
        "see": ("clip", "a CLIP to measure clips with"),
        "vit": ("dino", "a DINO to measure clips with"),
    }


@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer.json"])
def test_a_vocabulary_is_told_by_its_words(name: str, tmp_path: Path) -> None:
    path = put_vocabulary(tmp_path, name)
    assert read_vocabulary(path) == {word: index for index, word in enumerate(layouts.bert_vocabulary())}
    found = told(path)
    assert found.what
    assert (found.what.part, found.path) == ("bert", path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vocab.txt", ""),
        ("vocab.txt", "\n".join(f"word{index}" for index in range(30522))),
        ("vocab.txt", "\n".join(layouts.bert_vocabulary()[:-1])),
        ("vocab.txt", "\udcff"),
        ("tokenizer.json", "{"),
        ("tokenizer.json", "[" * 100_000),
        ("tokenizer.json", '{"model": {"vocab": [["<unk>", 0.0]]}}'),
        ("tokenizer.json", json.dumps({"model": {"vocab": dict.fromkeys(layouts.bert_vocabulary(), "0")}})),
        ("tokenizer.json", json.dumps({"model": {"vocab": dict.fromkeys(layouts.bert_vocabulary(), 1012)}})),
        ("tokenizer.json", " " * 5_000_000),
    ],
)
def test_other_vocabularies_are_not_berts(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert read_vocabulary(tmp_path / name) is None
    assert list(discover([tmp_path])) == []


def test_links_in_circles_and_folders_that_are_not_there(tmp_path: Path) -> None:
    write(tmp_path / "a" / "easy.pt", {"emb_params": (2, 768)})
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert [found.path.name for found in discover([tmp_path, tmp_path / "nowhere"])] == ["easy.pt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_may_not_be_opened_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    assert list(discover([tmp_path])) == []


def test_the_usual_places_are_those_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    assert usual_places() == []
    for place in ("hf/hub", "ComfyUI/models"):
        (tmp_path / place).mkdir(parents=True)
    assert usual_places() == [tmp_path / "hf/hub", tmp_path / "ComfyUI/models"]
