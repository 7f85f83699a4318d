"""Packs whose parts lie anywhere on the machine, as files or folders; broken ones are refused in one sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from vcd_studio.catalog.digests import digest, hashes
from vcd_studio.catalog.packs import POCKET, PackMissing, find_pack
from vcd_studio.method.protocols import MethodError
from vcd_studio.models import load_pack
from vcd_studio.models.folders import variant_of


def write_pack(folder: Path, parts: dict[str, Path | str], extra: str = "") -> Path:
    folder.mkdir(parents=True)
    lines = [f'{part} = "{place}"' for part, place in parts.items()]
    (folder / "pack.toml").write_text("\n".join([extra, "[parts]", *lines]) + "\n")
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Pocket's own networks as a pipeline's folder, as people have Stable Diffusion."""
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        shutil.copytree(POCKET / part, tmp_path / "base" / part)
    return tmp_path / "base"


def test_parts_lie_anywhere(base: Path, tmp_path: Path) -> None:
    parts = {"base": base, "motion_adapter": POCKET / "motion_adapter", "scheduler": "../../base/scheduler"}
    write_pack(tmp_path / "packs" / "mine", parts)
    networks = load_pack("mine", packs_dir=tmp_path / "packs")
    pocket = load_pack("pocket")
    assert torch.equal(networks.motion_unet.conv_in.weight, pocket.motion_unet.conv_in.weight)
    assert torch.equal(networks.text_encoder.get_input_embeddings().weight, pocket.text_encoder.get_input_embeddings().weight)
    assert networks.controlnet is networks.faces is None
    assert networks.scheduler.config == pocket.scheduler.config


def test_a_part_of_its_own_goes_before_the_bases(base: Path, tmp_path: Path) -> None:
    other = UNet2DConditionModel.from_pretrained(POCKET / "unet")
    torch.nn.init.ones_(other.conv_in.weight)
    other.save_pretrained(tmp_path / "other")
    write_pack(tmp_path / "packs" / "mine", {"base": base, "unet": tmp_path / "other", "motion_adapter": POCKET / "motion_adapter"})
    networks = load_pack("mine", packs_dir=tmp_path / "packs")
    assert networks.unet.conv_in.weight.eq(1).all()
    assert networks.motion_unet.conv_in.weight.eq(1).all()


def test_every_file_counts_for_the_packs_hash(base: Path, tmp_path: Path) -> None:
    write_pack(tmp_path / "packs" / "mine", {"base": base, "motion_adapter": POCKET / "motion_adapter"})
    pack = find_pack("mine", tmp_path / "packs")
    before = hashes(pack)
    assert {"base/unet/config.json", "base/vae/diffusion_pytorch_model.safetensors", "motion_adapter/config.json"} < set(before)
    (base / "unet" / "config.json").write_text((base / "unet" / "config.json").read_text() + "\n")
    assert digest(hashes(pack)) != digest(before)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"base": "/nowhere/sd15.ckpt", "motion_adapter": "."}, r"The base of the pack mine is not at /nowhere/sd15\.ckpt any more;"),
        ({"bass": "."}, 'pack.toml, "bass" is no part of a pack; choose from base, '),
        ({"base": "."}, "lacks motion_adapter"),
    ],
)
def test_what_is_wrong_with_a_pack_is_said(parts: dict[str, Path | str], says: str, tmp_path: Path) -> None:
    write_pack(tmp_path / "mine", parts)
    with pytest.raises(PackMissing, match=says):
        find_pack("mine", tmp_path)


@pytest.mark.parametrize("text", ["[parts", "parts = 3", "[parts]\nbase = 3", "\udcff"])
def test_a_pack_file_that_cannot_be_read_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "pack.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(PackMissing, match=r"pack\.toml"):
        find_pack("mine", tmp_path)


def test_a_folder_with_a_web_page_for_weights_is_named(base: Path, tmp_path: Path) -> None:
    (base / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"<!DOCTYPE html>")
    write_pack(tmp_path / "packs" / "mine", {"base": base, "motion_adapter": POCKET / "motion_adapter"})
    with pytest.raises(MethodError, match=r"unet/diffusion_pytorch_model\.safetensors is a web page"):
        load_pack("mine", packs_dir=tmp_path / "packs")


WHOLE, HALF = "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"


@pytest.mark.parametrize(
    ("names", "dtype", "variant"),
    [
        ([WHOLE], torch.float16, None),
        ([WHOLE, HALF], torch.float32, None),
        ([WHOLE, HALF], torch.float16, "fp16"),
        ([HALF], torch.float32, "fp16"),
        (["model-00001-of-00002.fp16.safetensors", "model.non_ema.safetensors"], torch.float32, "fp16"),
        (["diffusion_pytorch_model.fp16-00001-of-00002.safetensors"], torch.float16, "fp16"),
        (["pytorch_model.bin"], torch.float16, None),
    ],
)
def test_which_variant_is_read(names: list[str], dtype: torch.dtype, variant: str | None) -> None:
    assert variant_of([Path(name) for name in names], dtype) == variant


@pytest.mark.parametrize("options", [{"variant": "fp16"}, {"variant": "fp16", "max_shard_size": "2MB"}, {"safe_serialization": False}])
def test_variants_shards_and_bins_load_alike(options: dict[str, object], base: Path, tmp_path: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(POCKET / "unet", torch_dtype=torch.float16)
    shutil.rmtree(base / "unet")
    unet.save_pretrained(base / "unet", **options)
    write_pack(tmp_path / "packs" / "mine", {"base": base, "motion_adapter": POCKET / "motion_adapter"})
    loaded = load_pack("mine", packs_dir=tmp_path / "packs").unet
    assert all(torch.equal(a.float(), b.float()) for a, b in zip(unet.parameters(), loaded.parameters(), strict=True))
