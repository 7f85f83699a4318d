"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "fix"]


@dataclass(frozen=True)
class Finding:
    """One line of what was found; "fix": the studio cannot work without the remedy, "warning": it works worse."""

    check: str
    state: State
    found: str
    remedy: str = ""


GIB = 1024**3


def gib(count: int) -> str:
    """Bytes as ``23.5 GiB``."""
    return f"{count / GIB:.1f} GiB"
