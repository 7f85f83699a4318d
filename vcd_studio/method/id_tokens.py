"""ID tokens: K token embeddings that stand for one identity (paper section 4.2), and the files they travel in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vcd_studio.method.protocols import MethodError

KEY = "emb_params"
"""The tensor's name in our files: what AUTOMATIC1111 and ComfyUI look for, and diffusers takes."""

ADJECTIVE = r"(?!(?:and|or|with|a|an|the|in|on|at|by|of|to|is|near)\b)[\w-]+"
"""A word that may stand between an ID token and its noun."""


@dataclass(frozen=True)
class IdTokens:
    """``token`` is what prompts write, ``embeddings`` its K rows (K, width) in fp32, ``noun`` what it is."""

    token: str
    noun: str
    embeddings: Tensor
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The K entries of the tokenizer, named as diffusers names them."""
        return [self.token, *(f"{self.token}_{i}" for i in range(1, len(self.embeddings)))]

    @property
    def norm(self) -> float:
        """Mean length of a row."""
        return float(self.embeddings.norm(dim=-1).mean())

    def save(self, path: Path) -> None:
        """Safetensors with metadata, written whole or not at all."""
        part = path.with_name(path.name + ".part")
        metadata = {**self.metadata, "token": self.token, "noun": self.noun}
        save_file({KEY: self.embeddings.float().cpu().contiguous()}, part, metadata)
        part.replace(path)

    @classmethod
    def load(cls, path: Path, token: str | None = None, noun: str | None = None) -> IdTokens:
        """Our files, and other trainers': safetensors with one tensor, or .pt/.bin as AUTOMATIC1111 and the paper publish them.

        ``token`` and ``noun`` stand in where the file does not say. Raises MethodError.
        """
        rows, metadata = _read_safetensors(path) if path.suffix == ".safetensors" else (_read_pickle(path), {})
        rows = rows.detach().float().reshape(-1, rows.shape[-1]).clone()
        token, noun = token or metadata.get("token"), noun or metadata.get("noun")
        if not token or not noun:
            raise MethodError(f"{path} does not say whose tokens these are: give a token and a noun.")
        return cls(token, noun, rows, metadata)


def _read_safetensors(path: Path) -> tuple[Tensor, dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            keys = list(file.keys())
            key = KEY if KEY in keys else keys[0]
            if len(keys) != 1 and key != KEY:
                raise MethodError(f"{path} holds {len(keys)} tensors ({', '.join(keys[:4])}): not the tokens of one text encoder.")
            return file.get_tensor(key), dict(file.metadata() or {})
    except (SafetensorError, OSError, IndexError) as error:
        raise MethodError(f"{path} cannot be read as safetensors: {error}.") from error


def _read_pickle(path: Path) -> Tensor:
    try:
        with torch.serialization.safe_globals([torch.nn.ParameterDict]):
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the bytes make it raise
        raise MethodError(f"{path} cannot be read as an embedding file: it holds more than tensors, or is damaged.") from error
    params = content.get("string_to_param", content) if isinstance(content, Mapping) else None
    tensors = [value for value in dict(params).values() if isinstance(value, Tensor)] if params is not None else [content]
    if len(tensors) != 1 or not isinstance(tensors[0], Tensor) or not tensors[0].ndim:
        raise MethodError(f"{path} is not an embedding file: it should hold one tensor of tokens.")
    return tensors[0]


def install(tokens: IdTokens, tokenizer: Any, text_encoder: Any) -> list[int]:
    """Give the tokens their entries and rows, and return their ids. No other row changes by a bit; a second time overwrites."""
    table = text_encoder.get_input_embeddings()
    if tokens.embeddings.shape[-1] != table.weight.shape[-1]:
        raise MethodError(
            f"The tokens {tokens.token} are {tokens.embeddings.shape[-1]} numbers wide, but this text encoder reads "
            f"{table.weight.shape[-1]}: they were trained for another family of models."
        )
    tokenizer.add_tokens([name for name in tokens.names if name not in tokenizer.get_added_vocab()])
    if len(tokenizer) > table.weight.shape[0]:
        table = text_encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    ids = [int(tokenizer.convert_tokens_to_ids(name)) for name in tokens.names]
    with torch.no_grad():
        table.weight[ids] = tokens.embeddings.to(table.weight)
    return ids


def expand(prompt: str, tokens: Sequence[IdTokens]) -> str:
    """``a <rex> running`` → ``a <rex> <rex>_1 … dog running``: all K tokens, and the noun where the writer left it out."""
    for identity in tokens:
        pattern = re.compile(re.escape(identity.token) + r"(?!_\d)")
        noun = re.compile(rf"\s+(?:{ADJECTIVE}\s+){{0,2}}{re.escape(identity.noun)}\b", re.IGNORECASE)
        pieces = pattern.split(prompt)
        prompt = pieces[0]
        for piece in pieces[1:]:
            named = noun.match(piece)
            prompt += " ".join(identity.names) + ("" if named else f" {identity.noun}") + piece
    return prompt
