"""The studio and its terminal: it ends with it, also where no signal tells it to, and draws as it was asked to."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vcd_studio.locations import settings_path
from vcd_studio.terminal import Terminal
from vcd_studio.tui import app


def test_a_terminal_that_goes_without_a_word_ends_the_studio(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vcd_studio.cli", "--graphics", "off"], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "VCD_HOME": str(tmp_path), "TERM": "xterm-256color"}, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    drawn = b""
    while b"Welcome" not in re.sub(rb"\x1b\[[^a-zA-Z]*[a-zA-Z]", b"", drawn):
        drawn += os.read(ours, 65536)
    os.close(ours)  # it is no controlling terminal, so that no SIGHUP comes
    try:
        assert process.wait(timeout=60) == 1
    finally:
        process.kill()
        process.wait()


def test_a_mode_from_the_command_line_goes_before_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(app, "look", lambda graphics: asked.append(graphics) or Terminal("off"))
    monkeypatch.setattr(app.StudioApp, "run", lambda self: 0)
    assert app.open_studio(None, None) == 0
    settings_path().parent.mkdir(parents=True)
    settings_path().write_text('graphics = "halfcell"\n', encoding="utf-8")
    for mode in (None, "auto", "sixel"):
        assert app.open_studio(None, mode) == 0
    monkeypatch.setenv("VCD_GRAPHICS", "off")
    assert app.open_studio(None, None) == 0
    assert asked == ["auto", "halfcell", "auto", "sixel", "off"]
