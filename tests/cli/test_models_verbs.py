"""``vcd-studio models``: what is here, what a file is, and packs put together from files told by their keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli

from tests.catalog import layouts
from tests.catalog.test_discovery import put_vocabulary, write


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What a person has on disk."""
    root = tmp_path / "models"
    write(root / "realistic.ckpt", layouts.sd15())
    write(root / "without-vae.ckpt", layouts.sd15(vae=False))
    write(root / "xl.ckpt", layouts.sdxl())
    write(root / "mm.ckpt", layouts.animatediff("v2"))
    write(root / "vae.ckpt", layouts.ldm_vae())
    return root


def test_a_pack_is_put_together_whatever_the_files_are_called_and_listed(tree: Path, studio: Any, studio_home: Path) -> None:
    added = studio("models", "add", "mine", str(tree / "mm.ckpt"), str(tree / "realistic.ckpt"), "--description", "My own", "--json")
    assert added.code == 0
    assert added.json["parts"] == {"base": str(tree / "realistic.ckpt"), "motion_adapter": str(tree / "mm.ckpt")}
    about = tomli.loads((studio_home / "data" / "packs" / "mine" / "pack.toml").read_text())
    assert about["parts"]["base"] == str(tree / "realistic.ckpt")
    listed = [pack for pack in studio("models", "list", "--json").json if pack["state"] != "to fetch"]
    assert [(pack["name"], pack["state"], pack["problem"]) for pack in listed] == [("pocket", "ready", ""), ("mine", "ready", "")]
    assert listed[1]["description"] == "My own"
    assert listed[1]["size"] >= (tree / "realistic.ckpt").stat().st_size


def test_a_pack_whose_file_went_away_says_so_in_the_list(tree: Path, studio: Any) -> None:
    assert studio("models", "add", "mine", str(tree / "mm.ckpt"), str(tree / "realistic.ckpt")).code == 0
    (tree / "mm.ckpt").unlink()
    (broken,) = [pack for pack in studio("models", "list", "--json").json if pack["name"] == "mine"]
    assert f"is not at {tree / 'mm.ckpt'} any more" in broken["problem"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (["realistic.ckpt"], "The pack lacks a motion module (AnimateDiff)"),
        (["mm.ckpt"], "The pack lacks an SD 1.5 checkpoint"),
        (["mm.ckpt", "without-vae.ckpt"], "The pack lacks a VAE"),
        (["mm.ckpt", "xl.ckpt"], "xl.ckpt is an SDXL checkpoint"),
        (["mm.ckpt", "mm.ckpt", "realistic.ckpt"], "are both a motion module (v2); give one of them"),
        (["nowhere.ckpt"], "There is no file"),
    ],
)
def test_what_makes_no_pack_is_refused_and_leaves_nothing(files: list[str], says: str, tree: Path, studio: Any, studio_home: Path) -> None:
    said = studio("models", "add", "mine", *(str(tree / file) for file in files))
    assert said.code == 2
    assert says in said.err
    assert not (studio_home / "data" / "packs" / "mine").exists()


def test_a_vae_of_its_own_makes_up_for_a_checkpoint_without_one_and_a_name_is_taken_once(tree: Path, studio: Any) -> None:
    files = [str(tree / name) for name in ("mm.ckpt", "without-vae.ckpt", "vae.ckpt")]
    assert studio("models", "add", "mine", *files).code == 0
    again = studio("models", "add", "mine", *files)
    assert again.code == 2
    assert 'There is a pack "mine" already' in again.err
    assert studio("models", "add", "../mine", *files).code == 2


def test_a_pack_without_a_base_needs_no_tokenizer_of_its_own_and_a_refused_one_leaves_nothing(
    tree: Path, studio: Any, studio_home: Path
) -> None:
    unet = write(tree / "unet.ckpt", {
        "conv_in.weight": (320, 4, 3, 3), "time_embedding.linear_1.weight": (1280, 320),
        "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": (320, 768),
    })  # fmt: skip
    text = write(tree / "text.ckpt", layouts.clip_text())
    files = [str(path) for path in (unet, text, tree / "vae.ckpt", tree / "mm.ckpt")]
    assert studio("models", "add", "parts", *files[1:]).code == 2
    assert not (studio_home / "data" / "packs" / "parts").exists()
    said = studio("models", "add", "parts", *files, "--json")
    assert said.code == 0, said.err
    assert set(said.json["parts"]) == {"unet", "text_encoder", "vae", "motion_adapter"}


def test_check_says_what_every_file_is_and_fails_where_one_is_broken(tree: Path, studio: Any) -> None:
    checked = studio("models", "check", str(tree), "--json")
    assert checked.code == 0
    assert {Path(entry["path"]).name: entry["part"] for entry in checked.json} == {
        "realistic.ckpt": "base", "without-vae.ckpt": "base", "xl.ckpt": "", "mm.ckpt": "motion_adapter", "vae.ckpt": "vae",
    }  # fmt: skip
    (tree / "page.safetensors").write_bytes(b"<html>")
    broken = studio("models", "check", str(tree))
    assert broken.code == 1
    assert "is a web page" in broken.out
    assert "an SDXL checkpoint" in broken.out
    one = studio("models", "check", str(tree / "xl.ckpt"), "--json")
    assert [entry["what"] for entry in one.json] == ["an SDXL checkpoint"]


def test_check_without_places_looks_where_programs_keep_theirs(studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HF_HOME", raising=False)
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    assert studio("models", "check").out.startswith("No weights in the usual places")
    write(tmp_path / "ComfyUI" / "models" / "vae" / "a.ckpt", layouts.ldm_vae())
    assert "a VAE" in studio("models", "check").out
    assert studio("models", "check", str(tmp_path / "nowhere")).code == 2


@pytest.fixture
def grounded(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a pack is made of, Grounding DINO's own file with it, on a machine with an empty cache."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    dino = write(tree / "groundingdino_swint_ogc.pth", {f"model.module.{key}": shape for key, shape in layouts.grounding_dino().items()})
    return [str(tree / "mm.ckpt"), str(tree / "realistic.ckpt"), str(dino)]


def test_grounding_dino_without_berts_vocabulary_is_refused_when_the_pack_is_put_together(
    grounded: list[str], studio: Any, studio_home: Path
) -> None:
    said = studio("models", "add", "mine", *grounded)
    assert said.code == 2
    assert 'The pack "mine" lacks BERT\'s vocabulary, which Grounding DINO reads with; download vocab.txt of' in said.err
    assert not (studio_home / "data" / "packs" / "mine").exists()


def test_berts_vocabulary_is_told_in_a_folder_of_bert(grounded: list[str], tree: Path, studio: Any) -> None:
    words = put_vocabulary(tree / "bert-base-uncased")
    (words.parent / "config.json").write_text('{"model_type": "bert"}')
    added = studio("models", "add", "mine", *grounded, str(words.parent), "--json")
    assert added.code == 0, added.err
    assert added.json["parts"]["grounding"] == grounded[-1]
    assert added.json["parts"]["bert"] == str(words)
    words.write_text("[PAD]\n")
    (broken,) = [pack for pack in studio("models", "list", "--json").json if pack["name"] == "mine"]
    assert "lacks BERT's vocabulary" in broken["problem"]


@pytest.mark.parametrize("place", ["hub/models--google-bert--bert-base-uncased/snapshots/86b5", "ComfyUI/models/bert-base-uncased"])
def test_berts_vocabulary_is_found_where_programs_keep_it(place: str, grounded: list[str], tmp_path: Path, studio: Any) -> None:
    words = put_vocabulary(tmp_path / place, "tokenizer.json")
    added = studio("models", "add", "mine", *grounded, "--json")
    assert added.code == 0, added.err
    assert added.json["parts"]["bert"] == str(words)


def test_transformers_grounding_dino_brings_its_own_vocabulary(grounded: list[str], tree: Path, studio: Any) -> None:
    folder = put_vocabulary(tree / "grounding-dino-tiny").parent
    (folder / "config.json").write_text('{"model_type": "grounding-dino"}')
    added = studio("models", "add", "mine", *grounded[:2], str(folder), "--json")
    assert added.code == 0, added.err
    assert {added.json["parts"][part] for part in ("grounding", "bert")} == {str(folder), str(folder / "vocab.txt")}
    weights = write(folder / "model.safetensors", {"model.backbone.conv_encoder.a": (1,), "model.text_backbone.a": (1,)})
    alone = studio("models", "add", "other", *grounded[:2], str(weights))
    assert alone.code == 2
    assert "is Grounding DINO in transformers' layout without its folder" in alone.err
