"""Files of ID tokens for other programs: the same rows, under the name that each program looks for. No tensor is loaded for it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Literal

from vcd_studio.catalog.headers import WeightsError, read_header

Format = Literal["diffusers", "comfyui", "a1111"]
KEY = "emb_params"
"""What AUTOMATIC1111 and ComfyUI look for; the token's name is the file's. diffusers takes the name that the tensor has."""


def renamed(tokens: Path, key: str) -> bytes:
    """The file ``tokens`` (safetensors, one tensor of K rows) with its tensor called ``key``. WeightsError where it is something else."""
    header = read_header(tokens)
    if header.container != "safetensors" or len(header.tensors) != 1:
        raise WeightsError(f"{tokens} is no file of ID tokens: it should be safetensors with one tensor.")
    whole = tokens.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    front = json.loads(whole[8 : 8 + length])
    metadata = front.pop("__metadata__", {})
    (entry,) = front.values()
    text = json.dumps({"__metadata__": {**metadata, "format": "pt"}, key: entry}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + whole[8 + length :]


def for_program(tokens: Path, token: str, program: Format) -> bytes:
    """The file's content as ``program`` reads it."""
    return renamed(tokens, token if program == "diffusers" else KEY)


def how_to_use(out: Path, token: str, noun: str, program: Format) -> str:
    """Where to put it, and what to write."""
    if program == "diffusers":
        return f'pipe.load_textual_inversion("{out}"), then write "a {token} {noun}" in the prompt.'
    folder, prefix = ("models/embeddings", "embedding:") if program == "comfyui" else ("embeddings", "")
    return f'Put it into {folder}, then write "a {prefix}{out.stem} {noun}" in the prompt.'
