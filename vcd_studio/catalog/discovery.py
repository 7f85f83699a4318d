"""Weights on this machine: any folder is walked, and every file told by its keys, whichever program's tree it lies in.

A folder in diffusers' layout (``model_index.json``, or a ``config.json`` that names a class) is one find, whatever its files are called:
halves, shards, .bin or .safetensors. So are transformers' folders of Grounding DINO and of BERT, of which the vocabulary alone is of use.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vcd_studio.catalog.headers import WeightsError, read_header
from vcd_studio.catalog.recognise import FAMILY, SD1, Recognised, recognise
from vcd_studio.catalog.vocabulary import FILES, read_vocabulary, vocabulary_in
from vcd_studio.locations import hub_cache, weights_dir

SUFFIXES = {".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".onnx"}
DEEPEST = 12
"""Folders in folders: a snapshot in the Hugging Face cache lies six deep."""


@dataclass(frozen=True)
class Found:
    """``what``: None where the file's keys are of no known layout; ``problem``: a sentence where it could not be read."""

    path: Path
    size: int
    what: Recognised | None
    problem: str = ""


def discover(places: Iterable[Path]) -> Iterator[Found]:
    """Everything in ``places``, folder by folder in the order of their names; what cannot be opened is passed over.

    One file found twice, through a link or a cache's two names for it, is told once.
    """
    seen: set[tuple[int, int]] = set()
    for place in places:
        yield from _walk(place.expanduser(), seen, DEEPEST)


def _walk(folder: Path, seen: set[tuple[int, int]], depth: int) -> Iterator[Found]:
    if _seen_before(folder, seen):
        return
    if (found := _diffusers_folder(folder) or _transformers_folder(folder)) is not None:
        yield found
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.is_dir():
            if depth and not entry.name.startswith(".") and entry.name != "blobs":  # the cache's files, under their hashes
                yield from _walk(entry, seen, depth - 1)
        elif entry.suffix in SUFFIXES and entry.is_file() and not _seen_before(entry, seen):
            yield told(entry)
        elif entry.name in FILES and read_vocabulary(entry) is not None and not _seen_before(entry, seen):
            yield _vocabulary(entry)


def _seen_before(path: Path, seen: set[tuple[int, int]]) -> bool:
    try:
        status = path.stat()
    except OSError:
        return True
    key = (status.st_dev, status.st_ino)
    if key in seen:
        return True
    seen.add(key)
    return False


def told(path: Path) -> Found:
    """What one file is."""
    size = path.stat().st_size
    if (graph := _onnx(path, size)) is not None:
        return Found(path, size, graph)
    if path.suffix in (".txt", ".json") and read_vocabulary(path) is not None:
        return _vocabulary(path)
    try:
        return Found(path, size, recognise(read_header(path).shapes))
    except WeightsError as error:
        return Found(path, size, None, str(error))


YUNET = (b"cls_8", b"obj_16", b"bbox_32", b"kps_32")
"""YuNet's outputs, as OpenCV asks for them."""
LARGEST_GRAPH = 64 * 2**20


def _onnx(path: Path, size: int) -> Recognised | None:
    """An ONNX graph (a protobuf whose first field is its version), told by the names of what it gives."""
    if path.suffix != ".onnx" or not 16 < size < LARGEST_GRAPH:
        return None
    try:
        graph = path.read_bytes()
    except OSError:
        return None
    if graph[:1] != b"\x08":
        return None
    if all(name in graph for name in YUNET):
        return Recognised("faces", "onnx", "YuNet")
    return Recognised("", "onnx", "an ONNX graph")


CLASSES = {"MotionAdapter": "motion_adapter", "ControlNetModel": "controlnet", "AutoencoderKL": "vae", "UNet2DConditionModel": "unet"}
NAMES = {"motion_adapter": "a motion module", "controlnet": "a ControlNet", "vae": "a VAE", "unet": "a UNet"}


def _diffusers_folder(folder: Path) -> Found | None:
    if (index := _json(folder / "model_index.json")) is not None:
        return Found(folder, _size(folder), _pipeline(folder, str(index.get("_class_name", ""))))
    config = _json(folder / "config.json")
    part = CLASSES.get(str(config.get("_class_name", ""))) if config is not None else None
    if config is None or part is None:
        return None
    return Found(folder, _size(folder), _one_part(part, config))


def _pipeline(folder: Path, name: str) -> Recognised:
    reads = (_json(folder / "unet" / "config.json") or {}).get("cross_attention_dim")
    if name == "StableDiffusionPipeline" and reads in FAMILY:
        title = f"an {FAMILY[reads]} checkpoint"
        return Recognised("base" if reads == SD1 else "", "diffusers", title, {"vae": "inside", "text encoder": "inside"})
    return Recognised("", "diffusers", f"a {name or 'pipeline without a name'}")


def _one_part(part: str, config: dict[str, Any]) -> Recognised:
    name = NAMES[part]
    if part == "motion_adapter":
        if len(config.get("block_out_channels", ())) < 4:
            return Recognised("", "diffusers", f"{name} for SDXL")
        frames, middle = config.get("motion_max_seq_length", 32), config.get("use_motion_mid_block", True)
        version = "v1" if frames == 24 else "v2" if middle else "v3"
        return Recognised("motion_adapter", "diffusers", f"{name} ({version})", {"version": version, "frames": str(frames)})
    if part == "vae":
        usable = config.get("latent_channels", 4) == 4
        return Recognised(part if usable else "", "diffusers", name if usable else f"{name} with another number of latent channels")
    reads = config.get("cross_attention_dim")
    family = FAMILY.get(reads, f"a base whose text is {reads} wide") if isinstance(reads, int) else "another base"
    return Recognised(part if reads == SD1 else "", "diffusers", f"{name} for {family}")


GROUNDING_DINO = "grounding-dino"


def is_grounding_dino(place: Path) -> bool:
    """Whether what grounds nouns is Grounding DINO: a file, or transformers' folder. Pocket's own is neither."""
    return place.is_file() or _model_type(place) == GROUNDING_DINO


def _model_type(folder: Path) -> object:
    return (_json(folder / "config.json") or {}).get("model_type")


JUDGES = {"clip": "clip", "vit": "dino", "dinov2": "dino"}
"""transformers' names for what the paper's metrics see with."""


def _transformers_folder(folder: Path) -> Found | None:
    kind = _model_type(folder)
    if kind == GROUNDING_DINO:
        return Found(folder, _size(folder), Recognised("grounding", "transformers", "Grounding DINO in transformers' layout"))
    if kind == "bert" and (words := vocabulary_in(folder)) is not None:
        return _vocabulary(words)
    if (judge := JUDGES.get(str(kind))) is not None:
        return Found(folder, _size(folder), Recognised(judge, "transformers", f"a {judge.upper()} to measure clips with"))
    if kind == "bert":
        return Found(folder, _size(folder), Recognised("", "transformers", "a BERT without the vocabulary of bert-base-uncased"))
    return None


def _vocabulary(path: Path) -> Found:
    return Found(path, path.stat().st_size, Recognised("bert", "transformers", "BERT's vocabulary"))


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


TREES = (
    "~/ComfyUI/models",
    "~/stable-diffusion-webui/models",
    "~/stable-diffusion-webui/embeddings",
    "~/stable-diffusion-webui/extensions/sd-webui-animatediff/model",
)


def usual_places() -> list[Path]:
    """Where weights lie without anybody saying so: the Hugging Face cache, what was fetched here, and ComfyUI's and AUTOMATIC1111's trees
    in the home folder."""
    return [place for place in (hub_cache(), weights_dir(), *(Path(name).expanduser() for name in TREES)) if place.is_dir()]
