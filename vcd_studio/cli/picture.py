"""A picture in the terminal, between two lines of text: sixel, kitty or half cells, whichever the terminal knows."""

from __future__ import annotations

import sys
from pathlib import Path

COLUMNS, ROWS = 76, 22
"""The most cells a picture may take: it must fit a small terminal together with what is said about it."""


def show_picture(path: Path, graphics: str) -> bool:
    """Draw the picture on stdout; False, and nothing drawn, where stdout is no terminal or ``graphics`` is off."""
    if not sys.stdout.isatty() or graphics == "off":
        return False
    from rich.console import Console
    from rich.segment import Segment, Segments

    from vcd_studio.project.photos import open_photo
    from vcd_studio.terminal import look
    from vcd_studio.tui.widgets.pictures.encode import encode, ready_kitty

    terminal = look(graphics)
    if terminal.graphics == "off":
        return False
    if terminal.graphics == "kitty":
        ready_kitty()
    console = Console()
    room = max(1, min(COLUMNS, console.width)), max(1, min(ROWS, console.height - 6))
    drawn = encode(open_photo(path), room, terminal)
    if drawn.data:
        sys.stdout.write(drawn.data)
        sys.stdout.write("" if drawn.strips else "\n")
        sys.stdout.flush()
    for strip in drawn.strips:
        console.print(Segments([*strip, Segment.line()]))
    return True
