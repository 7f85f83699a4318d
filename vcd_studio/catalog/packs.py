"""Packs: networks named by a project, told by their parts.

A pack is a folder with a ``pack.toml`` and one folder a part, as diffusers lays them out (``tokenizer, text_encoder, vae, unet,
motion_adapter, scheduler`` and, where it has them, ``controlnet, upscaler, grounding, segmenter, faces``). Or its ``pack.toml`` says under
``[parts]`` where each lies on this machine, as a file or a folder; ``base`` there stands for UNet, VAE, text encoder and tokenizer in one,
and ``bert`` is the vocabulary for Grounding DINO's own files. ``trains_on`` names the pack whose base ID tokens are trained on,
``[defaults]`` generation settings that its clips begin with, and each ``[[lora]]`` a ``file`` that they always wear, at its ``strength``.
What lies in its folder ``loras`` is worn by clips that name it.
"pocket" ships with us; others are looked for in the user's packs folder (``locations.packs_dir()``), which the caller hands in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli
import tomli_w

from vcd_studio.catalog.discovery import discover, is_grounding_dino, told
from vcd_studio.catalog.headers import WeightsError
from vcd_studio.catalog.recognise import Recognised
from vcd_studio.catalog.vocabulary import usual_vocabulary, vocabulary_in

POCKET = Path(__file__).parent.parent / "pocket" / "pack"
LORAS = "loras"
NEEDED = ("tokenizer", "text_encoder", "vae", "unet", "motion_adapter", "scheduler")
PARTS = ("base", *NEEDED, "controlnet", "upscaler", "grounding", "bert", "segmenter", "faces", "oracle", "clip", "dino")

USUAL_SIZE = 512
"""SD 1.5's side in pixels."""


class PackMissing(WeightsError):
    """The pack, or a part of it, is not on this machine; the sentence says what to put where."""


@dataclass(frozen=True)
class PackLora:
    """A LoRA that belongs to a pack, as AnimateLCM's does to its motion module."""

    file: Path
    strength: float = 1.0


@dataclass(frozen=True)
class Pack:
    """``parts``: where ``pack.toml`` says that a part lies; every other lies in ``folder``, if the pack has it."""

    name: str
    folder: Path
    description: str = ""
    parts: Mapping[str, Path] = field(default_factory=dict)
    trains_on: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    loras: tuple[PackLora, ...] = ()

    @property
    def file(self) -> Path:
        return self.folder / "pack.toml"

    def part(self, name: str) -> Path | None:
        """A part's file or folder, or None where the pack has none."""
        if name in self.parts:
            return self.parts[name]
        folder = self.folder / name
        return folder if folder.is_dir() else None

    @property
    def size(self) -> int:
        """Side in pixels of the clips that its UNet was made for: its configs' word, else SD 1.5's, which ships without them."""
        try:
            unet, vae = (json.loads((self.part(name) or self.folder).joinpath("config.json").read_bytes()) for name in ("unet", "vae"))
            return int(unet["sample_size"]) << (len(vae["block_out_channels"]) - 1)
        except (OSError, ValueError, KeyError, TypeError):
            return USUAL_SIZE

    @property
    def brought(self) -> list[Path]:
        """LoRA that clips of this pack may name."""
        return sorted((self.folder / LORAS).glob("*.safetensors"))

    def vocabulary(self) -> Path | None:
        """BERT's, which its Grounding DINO reads with: the pack's own, the one in its grounding's folder, or one in the usual places."""
        if (own := self.part("bert")) is not None:
            return vocabulary_in(own)
        grounding = self.part("grounding")
        return (vocabulary_in(grounding) if grounding is not None else None) or usual_vocabulary()

    def weights(self) -> dict[str, Path]:
        """Every weights file by its name in the pack, for hashing; a LoRA that clips may name is hashed with those that do."""
        places = {"": self.folder} | {f"{part}/": place for part, place in self.parts.items()}
        places |= {f"lora/{number}/": lora.file for number, lora in enumerate(self.loras)}
        found: dict[str, Path] = {}
        for prefix, place in places.items():
            if place.is_file():
                found[prefix + place.name] = place
                continue
            files = sorted(p for p in place.rglob("*") if p.suffix in {".safetensors", ".bin", ".json", ".txt"} and p.is_file())
            files = [path for path in files if self.folder / LORAS not in path.parents]
            found |= {prefix + path.relative_to(place).as_posix(): path for path in files}
        return found


def find_pack(name: str, packs_dir: Path | None = None) -> Pack:
    """The pack called ``name``: "pocket", a folder in ``packs_dir``, or a path. Raises :class:`PackMissing`."""
    places = _places(name, packs_dir)
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        where = places[0] if places else Path(name)
        raise PackMissing(f'The pack "{name}" is not on this machine; put its diffusers folders ({", ".join(NEEDED)}) into {where}.')
    about = _about(folder)
    pack = Pack(
        name, folder, str(about.get("description", "")), _parts(folder, about.get("parts", {})),
        str(about.get("trains_on", "")), _defaults(folder, about.get("defaults", {})), _loras(folder, about.get("lora", [])),
    )  # fmt: skip
    ours = ("tokenizer", "scheduler") if pack.parts else ()  # SD 1.5's own travel with us
    needed = ("motion_adapter",) if pack.part("base") else [part for part in NEEDED if part not in ours]
    missing = [part for part in needed if pack.part(part) is None]
    if missing:
        raise PackMissing(f'The pack "{name}" in {folder} lacks {", ".join(missing)}; add the missing diffusers folders.')
    _words(pack)
    return pack


def _places(name: str, packs_dir: Path | None) -> list[Path]:
    places = [POCKET] if name == "pocket" else [packs_dir / name] if packs_dir else []
    return [*places, Path(name).expanduser()] if "/" in name else places


def loras_of(name: str, packs_dir: Path | None = None) -> list[Path]:
    """Folders in which the pack's own LoRA may lie, whether there are any or not."""
    return [place / LORAS for place in _places(name, packs_dir)]


def _words(pack: Pack) -> Path | None:
    """BERT's vocabulary, where the pack's grounding reads with it. Raises :class:`PackMissing` where it is nowhere."""
    grounding = pack.part("grounding")
    if grounding is None or not is_grounding_dino(grounding):
        return None
    if (found := pack.vocabulary()) is None:
        lacks = "BERT's vocabulary, which Grounding DINO reads with"
        remedy = "download vocab.txt of google-bert/bert-base-uncased, and give it with the other files, or as bert under [parts]"
        raise PackMissing(f'The pack "{pack.name}" lacks {lacks}; {remedy}.')
    return found


def _about(folder: Path) -> dict[str, Any]:
    file = folder / "pack.toml"
    try:
        return tomli.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
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


def _defaults(folder: Path, named: Any) -> dict[str, Any]:
    if not isinstance(named, dict):
        raise PackMissing(f"In {folder / 'pack.toml'}, [defaults] must hold generation settings, as in steps = 25.")
    return named


def _loras(folder: Path, named: Any) -> tuple[PackLora, ...]:
    try:
        loras = tuple(PackLora(folder / Path(entry["file"]).expanduser(), float(entry.get("strength", 1.0))) for entry in named)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PackMissing(f'In {folder / "pack.toml"}, a [[lora]] must have a file = "…" and may have a strength = 0.8.') from error
    if gone := next((lora for lora in loras if not lora.file.exists()), None):
        remedy = f"put it back, or change {folder / 'pack.toml'}"
        raise PackMissing(f"The LoRA of the pack {folder.name} is not at {gone.file} any more; {remedy}.")
    return loras


def packs_in(packs_dir: Path) -> list[str]:
    """Names of the packs that were added, and pocket."""
    added = sorted(path.name for path in packs_dir.iterdir() if path.is_dir()) if packs_dir.is_dir() else []
    return ["pocket", *added]


FEW_STEPS: Mapping[str, Mapping[str, Any]] = {"lcm": {"scheduler": "lcm", "steps": 6, "guidance": 1.5}}
"""Generation settings that motion modules of a kind were distilled for, where their keys tell the kind."""
ADDED = (
    "base", "unet", "vae", "text_encoder", "motion_adapter", "controlnet", "upscaler", "grounding", "bert", "segmenter", "faces", "lora",
    "clip", "dino",
)  # fmt: skip
"""What a pack can be put together from, as files or folders."""


def add_pack(
    packs_dir: Path,
    name: str,
    places: Sequence[Path],
    description: str = "",
    *,
    trains_on: str = "",
    defaults: Mapping[str, Any] | None = None,
    lora_strength: float = 1.0,
) -> Pack:
    """A pack of files and folders that lie anywhere: each is told by its keys, which part it is. Nothing is copied.

    ``defaults`` are generation settings that its clips begin with; a motion module that needs few steps brings its own.
    Raises :class:`WeightsError` where one is no part of a pack, is there twice, or what every pack needs is not among them.
    """
    folder = packs_dir / name
    if name == "pocket" or folder.exists():
        raise PackMissing(f'There is a pack "{name}" already; choose another name, or remove {folder} first.')
    parts: dict[str, Path] = {}
    loras: list[Path] = []
    whats: dict[str, Recognised] = {}
    for place in (given.expanduser().absolute() for given in places):
        path, what = _usable(place)
        if what.part == "lora":
            loras.append(path)
            continue
        if what.part in parts:
            raise PackMissing(f"{parts[what.part]} and {path} are both {what.title}; give one of them.")
        parts[what.part], whats[what.part] = path, what
    _check_whole(parts, whats)
    if (words := _words(Pack(name, folder, parts=parts))) is not None:
        parts["bert"] = words
    folder.mkdir(parents=True)
    about = {
        "name": name, "description": description, "trains_on": trains_on, "parts": {part: str(place) for part, place in parts.items()},
        "defaults": dict(FEW_STEPS.get(whats["motion_adapter"].facts.get("version", ""), {})) | dict(defaults or {}),
        "lora": [{"file": str(path), "strength": lora_strength} for path in loras],
    }  # fmt: skip
    (folder / "pack.toml").write_text(tomli_w.dumps({key: value for key, value in about.items() if value}), encoding="utf-8")
    return find_pack(name, packs_dir)


def _usable(place: Path) -> tuple[Path, Recognised]:
    """What a place holds, and the file or folder that holds it."""
    if not place.exists():
        raise PackMissing(f"There is no file {place}; check the path.")
    found = next(discover([place]), None) if place.is_dir() else told(place)
    if found is None or (found.what is None and not found.problem):
        remedy = "give a checkpoint, a motion module, or a folder that diffusers wrote"
        raise PackMissing(f"{place} is of no layout that is known here: {remedy}.")
    if found.what is None:
        raise WeightsError(found.problem)
    if found.what.part not in ADDED:
        raise PackMissing(f"{place} is {found.what.title}; a pack is put together from {', '.join(ADDED)}, for SD 1.5.")
    return found.path, found.what


def _check_whole(parts: Mapping[str, Path], whats: Mapping[str, Recognised]) -> None:
    inside = whats["base"].facts if "base" in whats else {"vae": "missing", "text encoder": "missing"}
    lacking = [] if "base" in parts or "unet" in parts else ["an SD 1.5 checkpoint"]
    if not lacking:
        lacking += ["a VAE"] if inside["vae"] == "missing" and "vae" not in parts else []
        lacking += ["a CLIP text encoder"] if inside["text encoder"] == "missing" and "text_encoder" not in parts else []
    lacking += [] if "motion_adapter" in parts else ["a motion module (AnimateDiff)"]
    if lacking:
        raise PackMissing(f"The pack lacks {' and '.join(lacking)}; give the file with the others.")
