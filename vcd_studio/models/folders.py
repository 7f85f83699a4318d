"""diffusers' folders as people have them: whole or in shards, .safetensors or .bin, in 32 bits or as a variant in 16."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from vcd_studio.catalog.headers import WeightsError, read_header
from vcd_studio.method.protocols import MethodError

SHARD = r"(?:-\d{5}-of-\d{5})?"
VARIANT = re.compile(rf"^(?:diffusion_pytorch_model|model|pytorch_model){SHARD}\.(fp16|bf16){SHARD}\.(?:safetensors|bin)$")


def from_folder(network: Any, folder: Path, dtype: torch.dtype) -> Any:
    """``network`` (a class with from_pretrained) out of ``folder``.

    MethodError, with the file's name, for what is no plain weights, and where some are missing, which would be made up at random.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin"))
    for path in files:
        try:
            read_header(path)
        except WeightsError as error:
            raise MethodError(str(error)) from error
    options: dict[str, Any] = {"variant": variant} if (variant := variant_of(files, dtype)) else {}
    name = "dtype" if network.__module__.startswith("transformers.") else "torch_dtype"
    loaded, about = network.from_pretrained(folder, local_files_only=True, output_loading_info=True, **{name: dtype}, **options)
    if missing := sorted(about["missing_keys"]):
        raise MethodError(f"{folder} lacks {missing[0]} and {len(missing) - 1} more of its weights; download it again.")
    return loaded


def variant_of(files: list[Path], dtype: torch.dtype) -> str | None:
    """Which variant to read: the one in 16 bits where 16 bits are wanted or nothing else is there."""
    variants = {match[1] for path in files if (match := VARIANT.match(path.name))}
    plain = [path for path in files if not VARIANT.match(path.name) and "non_ema" not in path.name]
    if not variants or (plain and dtype == torch.float32):
        return None
    return "fp16" if "fp16" in variants else variants.pop()


def weights_in(folder: Path, dtype: torch.dtype) -> list[Path]:
    """The files that :func:`from_folder` reads in this folder: one variant's shards, as safetensors where there are any."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin") and "non_ema" not in path.name)
    variant = variant_of(files, dtype)
    chosen = [path for path in files if (match[1] if (match := VARIANT.match(path.name)) else None) == variant]
    return [path for path in chosen if path.suffix == ".safetensors"] or chosen
