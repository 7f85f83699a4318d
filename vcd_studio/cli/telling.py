"""What a verb says to the person, and the code that it ends with."""

from __future__ import annotations

import sys

from vcd_studio.project.text import plain

WORK_FAILED = 1
INPUT_WRONG = 2
INTERRUPTED = 130


def tell(text: str) -> None:
    """A line for the person, to stderr."""
    sys.stderr.write(plain(text) + "\n")
    sys.stderr.flush()
