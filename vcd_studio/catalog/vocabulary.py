"""BERT's vocabulary (bert-base-uncased), which Grounding DINO reads nouns with: of BERT, its files hold the weights alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from vcd_studio.locations import hub_cache

WORDS = 30522
MARKS = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
"""Where Grounding DINO expects them: phrases end at the last two."""
FILES = ("vocab.txt", "tokenizer.json")
LARGEST = 4 * 2**20
"""Bytes: of bert-base-uncased, vocab.txt has 232 thousand and tokenizer.json 466 thousand."""
REPOSITORIES = ("google-bert/bert-base-uncased", "bert-base-uncased")


def read_vocabulary(path: Path) -> dict[str, int] | None:
    """Every word piece and its number, out of a vocab.txt or tokenizer.json; None for anything but bert-base-uncased's."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return None
        text = path.read_text(encoding="utf-8")
        words = _of_tokenizer(text) if path.suffix == ".json" else {word: index for index, word in enumerate(text.rstrip("\n").split("\n"))}
    except (OSError, ValueError, RecursionError):
        return None
    counted = all(type(index) is int for index in words.values()) and sorted(words.values()) == list(range(WORDS))
    return words if counted and MARKS.items() <= words.items() else None


def _of_tokenizer(text: str) -> dict[str, int]:
    found = json.loads(text)
    for key in ("model", "vocab"):
        found = found.get(key, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}


def vocabulary_in(place: Path) -> Path | None:
    """The file that holds it: ``place`` itself, or one in that folder."""
    return next((file for file in (place, *(place / name for name in FILES)) if read_vocabulary(file) is not None), None)


def usual_vocabulary() -> Path | None:
    """Where it lies without anybody saying so: the Hugging Face cache, and where ComfyUI's nodes for Grounding DINO keep it."""
    return next((file for folder in _usual_folders() if (file := vocabulary_in(folder)) is not None), None)


def _usual_folders() -> Iterator[Path]:
    for repository in REPOSITORIES:
        yield from sorted(hub_cache().glob(f"models--{repository.replace('/', '--')}/snapshots/*"))
    yield Path("~/ComfyUI/models/bert-base-uncased").expanduser()
