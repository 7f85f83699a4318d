"""Packs: networks named by a project, loaded as one :class:`Networks`.

A pack is a folder with a ``pack.toml`` and one folder a part, as diffusers lays them out (``tokenizer, text_encoder, vae, unet,
motion_adapter, scheduler`` and, where it has them, ``controlnet, upscaler, grounding, segmenter, faces``). Or its ``pack.toml`` says under
``[parts]`` where each lies on this machine, as a file or a folder; ``base`` there stands for UNet, VAE, text encoder and tokenizer in one.
"pocket" ships with us; others are looked for in the user's packs folder (``locations.packs_dir()``), which the caller hands in.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, MotionAdapter, UNet2DConditionModel, UNetMotionModel
from transformers import CLIPTextModel, CLIPTokenizer

from vcd_studio.method.protocols import MethodError, Networks
from vcd_studio.models.box_segmenter import BoxSegmenter
from vcd_studio.models.centre_detector import CentreDetector, CentreFaces, CentreGrounding
from vcd_studio.models.folders import from_folder
from vcd_studio.models.rrdbnet import RRDBNet
from vcd_studio.models.single_files import SD15, load_base, load_controlnet, load_motion, load_text_encoder, load_vae

POCKET = Path(__file__).parent.parent / "pocket" / "pack"
NEEDED = ("tokenizer", "text_encoder", "vae", "unet", "motion_adapter", "scheduler")
PARTS = ("base", *NEEDED, "controlnet", "upscaler", "grounding", "segmenter", "faces", "oracle", "clip", "dino")


class PackMissing(MethodError):
    """The pack, or a part of it, is not on this machine; the sentence says what to put where."""


@dataclass(frozen=True)
class Pack:
    """``parts``: where ``pack.toml`` says that a part lies; every other lies in ``folder``, if the pack has it."""

    name: str
    folder: Path
    description: str = ""
    parts: Mapping[str, Path] = field(default_factory=dict)

    def part(self, name: str) -> Path | None:
        """A part's file or folder, or None where the pack has none."""
        if name in self.parts:
            return self.parts[name]
        folder = self.folder / name
        return folder if folder.is_dir() else None

    def weights(self) -> dict[str, Path]:
        """Every weights file by its name in the pack, for hashing."""
        places = {"": self.folder} | {f"{part}/": place for part, place in self.parts.items()}
        found: dict[str, Path] = {}
        for prefix, place in places.items():
            if place.is_file():
                found[prefix + place.name] = place
                continue
            files = sorted(p for p in place.rglob("*") if p.suffix in {".safetensors", ".bin", ".json", ".txt"} and p.is_file())
            found |= {prefix + path.relative_to(place).as_posix(): path for path in files}
        return found


def find_pack(name: str, packs_dir: Path | None = None) -> Pack:
    """The pack called ``name``: "pocket", a folder in ``packs_dir``, or a path. Raises :class:`PackMissing`."""
    places = [POCKET] if name == "pocket" else [packs_dir / name] if packs_dir else []
    if "/" in name:
        places.append(Path(name).expanduser())
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        where = places[0] if places else Path(name)
        raise PackMissing(f'The pack "{name}" is not on this machine; put its diffusers folders ({", ".join(NEEDED)}) into {where}.')
    about = _about(folder)
    pack = Pack(name, folder, str(about.get("description", "")), _parts(folder, about.get("parts", {})))
    needed = ("motion_adapter",) if pack.part("base") else NEEDED
    missing = [part for part in needed if pack.part(part) is None]
    if missing:
        raise PackMissing(f'The pack "{name}" in {folder} lacks {", ".join(missing)}; add the missing diffusers folders.')
    return pack


def _about(folder: Path) -> dict[str, Any]:
    file = folder / "pack.toml"
    try:
        return tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise PackMissing(f"{file} cannot be read: {error}; mend it, or add the pack anew.") from error


def _parts(folder: Path, named: Any) -> dict[str, Path]:
    if not isinstance(named, dict) or not all(isinstance(place, str) for place in named.values()):
        raise PackMissing(f'In {folder / "pack.toml"}, [parts] must say where each part lies, as in base = "/models/base.safetensors".')
    parts = {part: folder / Path(place).expanduser() for part, place in named.items()}
    for part, place in parts.items():
        if part not in PARTS:
            raise PackMissing(f'In {folder / "pack.toml"}, "{part}" is no part of a pack; choose from {", ".join(PARTS)}.')
        if not place.exists():
            remedy = f"put it back, or change {folder / 'pack.toml'}"
            raise PackMissing(f"The {part} of the pack {folder.name} is not at {place} any more; {remedy}.")
    return parts


@dataclass(frozen=True)
class Base:
    """What draws a picture."""

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    vae: AutoencoderKL
    unet: UNet2DConditionModel
    scheduler: Any


def load_pack(
    name: str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, packs_dir: Path | None = None
) -> Networks:
    """Load every part of a pack onto ``device`` in ``dtype``, ready for inference.

    Raises :class:`PackMissing` where it is not there and :class:`MethodError` where a file cannot be read.
    """
    pack = find_pack(name, packs_dir)
    device = torch.device(device)
    try:
        base = _base(pack, dtype)
        motion_unet = UNetMotionModel.from_unet2d(base.unet, _motion_adapter(pack, dtype))
        networks = Networks(
            tokenizer=base.tokenizer,
            text_encoder=base.text_encoder,
            vae=base.vae,
            unet=base.unet,
            motion_unet=motion_unet,
            scheduler=base.scheduler,
            controlnet=_controlnet(pack, dtype),
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
    for network in (base.text_encoder, base.vae, base.unet, motion_unet, networks.controlnet, networks.upscaler, networks.segmenter):
        if isinstance(network, torch.nn.Module):
            network.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
    return networks


def _base(pack: Pack, dtype: torch.dtype) -> Base:
    """UNet, VAE and text encoder: out of one file, a pipeline's folder, or a folder each. A part of its own goes before the base's."""
    whole = pack.part("base")
    unet = vae = text = None
    if whole is not None and whole.is_file():
        unet, vae, text = load_base(whole, dtype)
    if (place := _place(pack, "unet", whole)) is not None:
        unet = from_folder(UNet2DConditionModel, place, dtype)
    if (place := _place(pack, "vae", whole)) is not None:
        vae = load_vae(place, dtype) if place.is_file() else from_folder(AutoencoderKL, place, dtype)
    if (place := _place(pack, "text_encoder", whole)) is not None:
        text = load_text_encoder(place, dtype) if place.is_file() else from_folder(CLIPTextModel, place, dtype)
    if vae is None:
        raise PackMissing(f"{whole} has no VAE in it; name one under [parts] in {pack.folder / 'pack.toml'}.")
    if text is None:
        raise PackMissing(f"{whole} has no text encoder in it; name one under [parts] in {pack.folder / 'pack.toml'}.")
    assert unet is not None, "find_pack saw one"
    tokenizer = CLIPTokenizer.from_pretrained(_place(pack, "tokenizer", whole) or SD15 / "tokenizer")
    scheduler = DDIMScheduler.from_pretrained(pack.part("scheduler") or SD15 / "scheduler")  # AnimateDiff's betas, never the base's own
    return Base(tokenizer, text, vae, unet, scheduler)


def _place(pack: Pack, part: str, whole: Path | None) -> Path | None:
    """Where a part of the base lies: on its own, or in the base's folder."""
    own = pack.part(part)
    inside = whole / part if whole is not None and whole.is_dir() else None
    return own or (inside if inside is not None and inside.is_dir() else None)


def _motion_adapter(pack: Pack, dtype: torch.dtype) -> MotionAdapter:
    place = pack.part("motion_adapter")
    assert place is not None, "find_pack saw one"
    return load_motion(place, dtype) if place.is_file() else from_folder(MotionAdapter, place, dtype)


def _controlnet(pack: Pack, dtype: torch.dtype) -> ControlNetModel | None:
    place = pack.part("controlnet")
    if place is None:
        return None
    return load_controlnet(place, dtype) if place.is_file() else from_folder(ControlNetModel, place, dtype)


def _optional(network: Any, folder: Path | None, dtype: torch.dtype) -> Any:
    return network.from_pretrained(folder, torch_dtype=dtype).eval() if folder is not None else None


def hashes(pack: Pack) -> dict[str, str]:
    """SHA-256 of every file of the pack, by its name in it."""
    return {name: _sha256(path) for name, path in pack.weights().items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(files: Mapping[str, str]) -> str:
    """One SHA-256 for all of :func:`hashes`: the same for the same pack."""
    return hashlib.sha256("\n".join(f"{file} {files[file]}" for file in sorted(files)).encode()).hexdigest()
