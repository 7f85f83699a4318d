"""The packs that we know where to get: each a base, a motion module and what stands beside them (``shipped.toml``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import tomli

from vcd_studio.catalog.packs import PackMissing

TABLE = Path(__file__).with_name("shipped.toml")


@dataclass(frozen=True)
class ShippedFile:
    """One file of weights: which ``part`` it is, and where on the hub (``repo``, ``name``) it is published.

    ``bytes`` is about what it takes; ``sha256`` is known for some.
    """

    part: str
    title: str
    repo: str
    name: str
    bytes: int
    licence: str
    purpose: str
    sha256: str = ""


@dataclass(frozen=True)
class ShippedPack:
    """``files`` in the order of their fetching; ``trains_on``: the pack whose base ID tokens for this one are trained on, "" for itself;
    ``defaults``: generation settings that its motion module asks for; ``lora_strength``: of a LoRA among the files."""

    name: str
    description: str
    files: tuple[ShippedFile, ...]
    trains_on: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    lora_strength: float = 1.0

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


@cache
def _table() -> dict[str, Any]:
    return tomli.loads(TABLE.read_text(encoding="utf-8"))


def shipped_names() -> list[str]:
    return list(_table()["packs"])


def motions() -> list[str]:
    """What a base can be moved by; the first is the usual one."""
    return list(_table()["motions"])


def shipped_pack(name: str, motion: str = "", *, small: bool = False) -> ShippedPack:
    """The pack ``name`` (of :func:`shipped_names`) with ``motion`` (of :func:`motions`). Another motion than the usual becomes part of
    its name. PackMissing for names that are not known."""
    table = _table()
    usual = motions()[0]
    motion = motion or usual
    if name not in table["packs"]:
        raise PackMissing(f'There is no pack "{name}" to pull; there are {", ".join(shipped_names())}. Others are added: models add.')
    if motion not in table["motions"]:
        raise PackMissing(f'There is no motion "{motion}"; choose one of {", ".join(motions())}.')
    pack, moved = table["packs"][name], table["motions"][motion]
    keys = [pack["base"], *moved["files"], *table["beside"]["small" if small else "full"]]
    return ShippedPack(
        name if motion == usual else f"{name}-{motion}",
        pack["description"],
        tuple(ShippedFile(**table["files"][key]) for key in keys),
        pack.get("trains_on", ""),
        moved.get("defaults", {}),
        moved.get("strength", 1.0),
    )
