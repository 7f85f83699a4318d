"""A picture printed between lines of text: in the mode the person chose, never into a pipe."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from vcd_studio.cli.picture import ROWS, show_picture

SHOW = """
import sys
from pathlib import Path
from vcd_studio.cli.picture import show_picture
print(show_picture(Path(sys.argv[1]), sys.argv[2]))
"""


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    Image.new("RGB", (64, 32), (255, 95, 31)).save(tmp_path / "sheet.png")
    return tmp_path / "sheet.png"


def shown(sheet: Path, mode: str) -> bytes:
    """What a terminal gets."""
    reader, writer = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "40"}
    process = subprocess.Popen(
        [sys.executable, "-c", SHOW, str(sheet), mode], stdin=writer, stdout=writer, stderr=subprocess.PIPE, env=environment
    )
    os.close(writer)
    seen = b""
    try:
        while part := os.read(reader, 65536):
            seen += part
    except OSError:  # Linux: the other end is closed
        _, errors = process.communicate(timeout=60)
    os.close(reader)
    assert process.returncode == 0, errors
    return seen


def test_half_cells_are_rows_of_blocks(sheet: Path) -> None:
    seen = shown(sheet, "halfcell")
    rows = [row for row in seen.split(b"\r\n") if "▀".encode() in row]
    assert 1 < len(rows) <= ROWS
    assert seen.endswith(b"True\r\n")


def test_sixel_is_one_string_and_a_line_end(sheet: Path) -> None:
    seen = shown(sheet, "sixel")
    assert seen.count(b"\x1bP") == 1  # after the questions about the cells
    assert seen.endswith(b"\x1b\\\r\nTrue\r\n")


def test_nothing_is_drawn_where_none_is_wanted_or_nobody_looks(sheet: Path) -> None:
    assert shown(sheet, "off") == b"False\r\n"
    assert show_picture(sheet, "sixel") is False
