"""SHA-256 of weights; gigabytes are read once, and again only when a file has changed."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path

from vcd_studio.catalog.packs import Pack

KNOWN = "sha256.json"
"""In the cache folder: path → [size, time of change in ns, SHA-256]."""
WORTH_KEEPING = 2**24
"""Bytes from which on a file's hash is kept: smaller ones are read faster than looked up."""


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes(pack: Pack, cache: Path | None = None) -> dict[str, str]:
    """SHA-256 of every file of the pack, by its name in it; those of large files are kept in the folder ``cache``."""
    known = _read(cache / KNOWN) if cache else {}
    found, new = {}, False
    for name, path in pack.weights().items():
        status = path.stat()
        key, as_of = str(path.resolve()), [status.st_size, status.st_mtime_ns]
        kept = known.get(key)
        if kept is not None and kept[:2] == as_of:
            found[name] = str(kept[2])
            continue
        found[name] = sha256_of(path)
        if status.st_size >= WORTH_KEEPING:
            known[key], new = [*as_of, found[name]], True
    if cache and new:
        _write(cache / KNOWN, known)
    return found


def digest(files: Mapping[str, str]) -> str:
    """One SHA-256 for all of :func:`hashes`: the same for the same pack."""
    return hashlib.sha256("\n".join(f"{file} {files[file]}" for file in sorted(files)).encode()).hexdigest()


def _read(path: Path) -> dict[str, list[int | str]]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):  # none yet, or half of one: everything is read again
        return {}
    whole = isinstance(found, dict) and all(isinstance(entry, list) and len(entry) == 3 for entry in found.values())
    return found if whole else {}


def _write(path: Path, known: Mapping[str, list[int | str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    part.write_text(json.dumps(known), encoding="utf-8")
    part.replace(path)
