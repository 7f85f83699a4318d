"""What the queue calls finished must survive a power cut: files reach the disk before the store says so."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def settle(path: Path) -> None:
    """Wait until a file, or a folder with all that is in it, lies on the disk itself. What somebody removes meanwhile need not."""
    with suppress(FileNotFoundError):
        if path.is_dir():
            for inside in path.iterdir():
                if not inside.is_symlink():
                    settle(inside)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
