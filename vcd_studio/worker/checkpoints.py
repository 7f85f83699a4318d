"""What a killed training goes on from: one file, written whole or not at all, read as tensors and nothing else."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from vcd_studio.project.errors import InputError

CHECKPOINT_FILE = "checkpoint.pt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Replace the folder's checkpoint; the old one stays until the new one is wholly on the disk."""
    part = folder / f"{CHECKPOINT_FILE}.part"
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / CHECKPOINT_FILE)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The folder's checkpoint; None when there is none. InputError when it cannot be read."""
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise InputError(f"The checkpoint {path} cannot be read; remove it to train this run from the start.") from error
    return state


def drop_checkpoint(folder: Path) -> None:
    """A finished training needs none."""
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
