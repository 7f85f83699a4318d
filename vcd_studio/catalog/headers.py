"""Keys and shapes of a file of weights, read without loading a tensor and without running anything that is in it.

safetensors files have them in front (https://github.com/huggingface/safetensors, "Format"). Files written by ``torch.save`` are pickles,
in a zip (since torch 1.6) or bare (before): they are walked with stand-ins for the few names that tensors are built from, and the first
other name ends the reading. Which of these a file is, its first bytes say, never its name.
"""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

Container = Literal["safetensors", "zip", "pickle"]
LONGEST_HEADER = 100 * 2**20
"""Bytes: safetensors' own limit. No pickle of keys is near it either."""
DEEPEST = 3
"""Dicts in dicts: {"state_dict": {"a.weight": …}}, {"string_to_param": {"*": …}}."""


class WeightsError(Exception):
    """One clear sentence about a file of weights that is not what is needed: its name, what it is, the remedy."""


@dataclass(frozen=True)
class Tensor:
    """``shape``, and ``dtype`` as safetensors writes it (F16, BF16, F32, I64 …)."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Header:
    """Every tensor by its key (of nested dicts: joined by dots), and what else stands in front (strings only)."""

    container: Container
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {key: tensor.shape for key, tensor in self.tensors.items()}


def read_header(path: Path) -> Header:
    """The header of a .safetensors, .ckpt, .pt, .pth or .bin file.

    Raises :class:`WeightsError` for what is empty, cut off, no weights at all, or holds code.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(64)
            file.seek(0)
            if not size:
                raise WeightsError(f"{path} is empty; download it again.")
            if start[8:9] == b"{":  # first, for the length before it may look like anything
                return _safetensors(file, size, path)
            if (other := _no_weights(start)) is not None:
                raise WeightsError(f"{path} is {other}.")
            if start.startswith(b"PK\x03\x04"):
                return _zipped(file, path)
            if start.startswith(b"\x80"):
                return Header("pickle", _tensors(_bare(file, path)))
            return _safetensors(file, size, path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}).") from error


def _no_weights(start: bytes) -> str | None:
    """What people find on their disks under the names of weights."""
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, as a server sends it for a login or an error; download the file itself"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file it stands for; run git lfs pull beside it"
    if start.startswith(b"GGUF"):
        return "a GGUF file, which is for other programs; get the .safetensors"
    if start.startswith((b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!")):
        return "a packed archive; unpack it first"
    return None


def _safetensors(file: IO[bytes], size: int, path: Path) -> Header:
    strange = f"{path} is no file of weights that is known here (neither safetensors nor written by torch.save)."
    if size < 8:
        raise WeightsError(strange)
    (length,) = struct.unpack("<Q", file.read(8))
    if length > LONGEST_HEADER:
        raise WeightsError(strange)
    text = file.read(length)
    if not text.startswith(b"{"):
        raise WeightsError(strange)
    if len(text) < length:
        raise WeightsError(_cut_off(path))
    try:
        found = json.loads(text)
        metadata = found.pop("__metadata__", {})
        tensors = {key: Tensor(tuple(int(n) for n in entry["shape"]), str(entry["dtype"])) for key, entry in found.items()}
        end = max((int(entry["data_offsets"][1]) for entry in found.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise WeightsError(strange) from error
    if size < 8 + length + end:
        raise WeightsError(_cut_off(path))
    return Header("safetensors", tensors, {str(key): str(value) for key, value in metadata.items()} if isinstance(metadata, dict) else {})


def _cut_off(path: Path) -> str:
    return f"{path} is cut off or damaged; download it again."


def _zipped(file: IO[bytes], path: Path) -> Header:
    try:
        with zipfile.ZipFile(file) as archive:
            record = next((info for info in archive.infolist() if info.filename.split("/", 1)[-1] == "data.pkl"), None)
            if record is None:
                raise WeightsError(f"{path} is a zip file without weights in it; unpack it first.")
            if record.file_size > LONGEST_HEADER:
                raise WeightsError(f"{path} has more keys than any file of weights; it was left alone.")
            with archive.open(record) as pickled:
                return Header("zip", _tensors(_unpickled(pickled, path)))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error) as error:  # zipfile's own
        raise WeightsError(_cut_off(path)) from error


def _bare(file: IO[bytes], path: Path) -> Any:
    """torch's layout before 1.6: a magic number, a version, the machine, and then what was saved."""
    if _unpickled(file, path) != 0x1950A86A20F9469CFC6C:
        raise WeightsError(f"{path} is a pickle, but none that torch wrote; it was refused, and nothing in it was run.")
    for _ in ("version", "machine"):
        _unpickled(file, path)
    return _unpickled(file, path)


def _unpickled(file: IO[bytes], path: Path) -> Any:
    try:
        return _Unpickler(file, path).load()
    except (WeightsError, OSError):
        raise
    except EOFError as error:
        raise WeightsError(_cut_off(path)) from error
    except Exception as error:  # a pickle can go wrong in every way there is
        raise WeightsError(f"{path} is damaged: its list of tensors cannot be read; download it again.") from error


@dataclass(frozen=True)
class _Storage:
    dtype: str


class _Mapping(dict[Any, Any]):
    """An OrderedDict, which state dicts are; what hangs on it (``_metadata``) may."""


class _ParameterDict(_Mapping):
    """torch's: old embedding files are made of it."""

    def __setstate__(self, state: Any) -> None:
        parameters = state.get("_parameters") if isinstance(state, dict) else None
        if isinstance(parameters, dict):
            self.update(parameters)


class _Inert(dict[Any, Any]):
    """Stands for an object of no interest here: takes anything and stays empty."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def __setitem__(self, key: Any, value: Any) -> None:
        return None

    def __setstate__(self, state: Any) -> None:
        return None

    def append(self, item: Any) -> None:
        return None

    extend = append


STORAGES = {
    "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16", "DoubleStorage": "F64", "LongStorage": "I64",
    "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8", "BoolStorage": "BOOL",
}  # fmt: skip
INERT = {
    ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar"), ("numpy", "dtype"), ("_codecs", "encode"),
    ("torch", "Size"), ("torch", "device"), ("torch.torch_version", "TorchVersion"),
    ("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"), ("pytorch_lightning.utilities.parsing", "AttributeDict"),
    ("argparse", "Namespace"),
}  # fmt: skip
"""Names that training programs leave in checkpoints; here they build nothing."""


def _rebuilt(storage: Any, offset: int, size: tuple[int, ...], *_: Any) -> Tensor:
    return Tensor(tuple(int(n) for n in size), storage.dtype if isinstance(storage, _Storage) else "?")


def _parameter(data: Any, *_: Any) -> Any:
    return data


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__(file, encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and (name in STORAGES or name == "UntypedStorage"):
            return _Storage(STORAGES.get(name, "?"))
        if module == "torch.storage" and name in ("UntypedStorage", "TypedStorage"):
            return _Storage("?")
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_tensor", "_rebuild_tensor_v3"):
            return _rebuilt
        if module == "torch._utils" and name == "_rebuild_parameter":
            return _parameter
        if (module, name) == ("collections", "OrderedDict"):
            return _Mapping
        if (module, name) == ("torch.nn.modules.container", "ParameterDict"):
            return _ParameterDict
        if module in ("builtins", "__builtin__") and name in ("set", "frozenset"):
            return set
        if (module, name) in INERT:
            return _Inert
        raise WeightsError(
            f"{self._path} holds more than weights ({module}.{name}, which could run as code); it was refused, and nothing in it was run. "
            "Get it as .safetensors."
        )

    def persistent_load(self, identifier: Any) -> Any:
        if isinstance(identifier, tuple) and identifier[:1] == ("module",):  # before 1.6: a class (find_class let it in) with its source
            return identifier[1]
        storage = identifier[1] if isinstance(identifier, tuple) and len(identifier) > 1 else None
        return storage if isinstance(storage, _Storage) else _Storage("?")


def _tensors(saved: Any) -> dict[str, Tensor]:
    return dict(_walk(saved, "", DEEPEST))


def _walk(saved: Any, prefix: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    if isinstance(saved, Tensor):
        yield prefix, saved
    elif isinstance(saved, dict) and depth:
        for key, value in saved.items():
            yield from _walk(value, f"{prefix}.{key}" if prefix else str(key), depth - 1)
