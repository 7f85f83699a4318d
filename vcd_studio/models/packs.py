"""Packs: a folder of networks in diffusers' layout, named by a project, loaded as one :class:`Networks`.

A pack is a folder holding ``pack.toml`` and one folder a part (``tokenizer, text_encoder, vae, unet, motion_adapter, scheduler`` and,
where it has them, ``controlnet, upscaler, grounding, segmenter, faces``). "pocket" ships with us; others are looked for in the user's
packs folder (``locations.packs_dir()``), which the caller hands in.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, MotionAdapter, UNet2DConditionModel, UNetMotionModel
from transformers import CLIPTextModel, CLIPTokenizer

from vcd_studio.method.protocols import MethodError, Networks
from vcd_studio.models.box_segmenter import BoxSegmenter
from vcd_studio.models.centre_detector import CentreDetector, CentreFaces, CentreGrounding
from vcd_studio.models.rrdbnet import RRDBNet

POCKET = Path(__file__).parent.parent / "pocket" / "pack"
NEEDED = ("tokenizer", "text_encoder", "vae", "unet", "motion_adapter", "scheduler")


class PackMissing(MethodError):
    """The pack, or a part of it, is not on this machine; the sentence says what to put where."""


@dataclass(frozen=True)
class Pack:
    name: str
    folder: Path
    description: str

    def part(self, name: str) -> Path | None:
        """The folder of a part, or None where the pack has none."""
        folder = self.folder / name
        return folder if folder.is_dir() else None

    def weights(self) -> list[Path]:
        """Every weights file, for hashing."""
        return sorted(p for p in self.folder.rglob("*") if p.suffix in {".safetensors", ".bin", ".json", ".txt"} and p.is_file())


def find_pack(name: str, packs_dir: Path | None = None) -> Pack:
    """The pack called ``name``: "pocket", a folder in ``packs_dir``, or a path. Raises :class:`PackMissing`."""
    places = [POCKET] if name == "pocket" else [packs_dir / name] if packs_dir else []
    if "/" in name:
        places.append(Path(name).expanduser())
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        where = places[0] if places else Path(name)
        raise PackMissing(f'The pack "{name}" is not on this machine; put its diffusers folders ({", ".join(NEEDED)}) into {where}.')
    missing = [part for part in NEEDED if not (folder / part).is_dir()]
    if missing:
        raise PackMissing(f'The pack "{name}" in {folder} lacks {", ".join(missing)}; add the missing diffusers folders.')
    about: dict[str, Any] = {}
    if (folder / "pack.toml").is_file():
        about = tomllib.loads((folder / "pack.toml").read_text())
    return Pack(name, folder, str(about.get("description", "")))


def load_pack(
    name: str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, packs_dir: Path | None = None
) -> Networks:
    """Load every part of a pack onto ``device`` in ``dtype``, ready for inference.

    Raises :class:`PackMissing` where it is not there and :class:`MethodError` where a file cannot be read.
    """
    pack = find_pack(name, packs_dir)
    device = torch.device(device)
    try:
        unet = UNet2DConditionModel.from_pretrained(pack.folder / "unet", torch_dtype=dtype)
        adapter = MotionAdapter.from_pretrained(pack.folder / "motion_adapter", torch_dtype=dtype)
        motion_unet = UNetMotionModel.from_unet2d(unet, adapter)
        networks = Networks(
            tokenizer=CLIPTokenizer.from_pretrained(pack.folder / "tokenizer"),
            text_encoder=CLIPTextModel.from_pretrained(pack.folder / "text_encoder", dtype=dtype),
            vae=AutoencoderKL.from_pretrained(pack.folder / "vae", torch_dtype=dtype),
            unet=unet,
            motion_unet=motion_unet,
            scheduler=DDIMScheduler.from_pretrained(pack.folder / "scheduler"),
            controlnet=_optional(ControlNetModel, pack.part("controlnet"), dtype),
            upscaler=_optional(RRDBNet, pack.part("upscaler"), dtype),
            segmenter=_optional(BoxSegmenter, pack.part("segmenter"), dtype),
            device=device,
            dtype=dtype,
        )
        if (grounding := _optional(CentreDetector, pack.part("grounding"), dtype)) is not None:
            networks.grounding = CentreGrounding(grounding.to(device))
        if (faces := _optional(CentreDetector, pack.part("faces"), dtype)) is not None:
            networks.faces = CentreFaces(faces.to(device))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise MethodError(f"The pack {name} in {pack.folder} cannot be loaded: {str(error).splitlines()[0]}") from error
    for network in (networks.text_encoder, networks.vae, unet, motion_unet, networks.controlnet, networks.upscaler, networks.segmenter):
        if isinstance(network, torch.nn.Module):
            network.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
    return networks


def _optional(network: Any, folder: Path | None, dtype: torch.dtype) -> Any:
    return network.from_pretrained(folder, torch_dtype=dtype).eval() if folder is not None else None


def hashes(pack: Pack) -> dict[str, str]:
    """SHA-256 of every file of the pack, by path inside it."""
    return {str(path.relative_to(pack.folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in pack.weights()}


def digest(files: Mapping[str, str]) -> str:
    """One SHA-256 for all of :func:`hashes`: the same for the same pack."""
    return hashlib.sha256("\n".join(f"{file} {files[file]}" for file in sorted(files)).encode()).hexdigest()
