"""The terminal: how large it is, what it can draw, how far away it is."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from vcd_studio.doctor.finding import Finding
from vcd_studio.project.text import quoted
from vcd_studio.terminal import PROBE_SECONDS, Terminal

COLUMNS, ROWS = 80, 24
SLOW = 0.25  # seconds from a key to its effect that a person begins to wait for
RICH = ("truecolor", "24bit")


@dataclass(frozen=True)
class Tmux:
    """A running tmux; ``features``: what it knows of the terminal around it ("RGB", "sixel" …), None where it does not tell."""

    version: str
    features: frozenset[str] | None


@dataclass(frozen=True)
class TerminalReading:
    """``terminal``: as :func:`vcd_studio.terminal.look` found it, None where there is none; the size in cells."""

    terminal: Terminal | None
    columns: int
    rows: int
    encoding: str
    environment: Mapping[str, str]
    tmux: Tmux | None = None


def read_terminal(terminal: Terminal | None, columns: int, rows: int) -> TerminalReading:
    """The rest of what is asked about a terminal; its own answers were read before, while nobody else listened to it."""
    encoding = getattr(sys.__stderr__, "encoding", None) or "unknown"  # the screens are drawn there
    return TerminalReading(terminal, columns, rows, encoding, os.environ, read_tmux() if "TMUX" in os.environ else None)


def read_tmux() -> Tmux | None:
    """What the tmux around this process says; None where it does not answer."""
    question = ["tmux", "display-message", "-p", "#{version} #{client_termfeatures}"]
    try:
        said = subprocess.run(question, capture_output=True, text=True, check=True, timeout=5).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    version, _, features = said.strip().partition(" ")
    return Tmux(version, frozenset(features.split(",")) if features else None)


def check_terminal(reading: TerminalReading) -> list[Finding]:
    """All that is found about it; without one, that only verbs can be used."""
    if reading.terminal is None:
        return [Finding("terminal", "ok", "none here: the verbs work, the screens need one")]
    return [
        _size(reading),
        _colours(reading),
        _characters(reading.encoding),
        _pictures(reading.terminal, reading.tmux),
        _connection(reading.terminal, reading.environment),
    ]


def _size(reading: TerminalReading) -> Finding:
    found = f"{reading.columns}×{reading.rows}, TERM {quoted(reading.environment.get('TERM', ''))}"
    if reading.columns < COLUMNS or reading.rows < ROWS:
        found += f": the screens want {COLUMNS}×{ROWS}"
        return Finding("terminal", "warning", found, "make the window larger, or its letters smaller")
    return Finding("terminal", "ok", found)


def _colours(reading: TerminalReading) -> Finding:
    name, environment = reading.environment.get("TERM", ""), reading.environment
    if "NO_COLOR" in environment:
        return Finding("colours", "warning", "none: NO_COLOR is set", "unset NO_COLOR")
    if name in ("", "dumb", "unknown"):
        remedy = "set TERM to your terminal's name, for example: export TERM=xterm-256color"
        return Finding("colours", "warning", f"unknown: TERM is {quoted(name)}", remedy)
    if environment.get("COLORTERM", "").lower() not in RICH:
        found = "256 or fewer, so pictures look coarse: COLORTERM promises no more (SSH does not hand it on)"
        return Finding("colours", "warning", found, "export COLORTERM=truecolor")
    if reading.tmux is not None and reading.tmux.features is not None and "RGB" not in reading.tmux.features:
        found = "256: tmux does not know that the terminal around it can show 16 million; it asks when it is attached again"
        return Finding("colours", "warning", found, "tmux set -as terminal-features ',*:RGB'")
    return Finding("colours", "ok", "16 million")


def _characters(encoding: str) -> Finding:
    if encoding.lower().replace("-", "").replace("_", "") == "utf8":
        return Finding("characters", "ok", "UTF-8")
    return Finding("characters", "warning", f"{encoding}: lines and half cells cannot be shown", "export LC_ALL=C.UTF-8")


def _pictures(terminal: Terminal, tmux: Tmux | None) -> Finding:
    around = f" in tmux {tmux.version}" if tmux else ""
    cell = f"cells of {terminal.cell_width}×{terminal.cell_height} pixels"
    if terminal.graphics == "off":
        return Finding("pictures", "warning", "switched off", "vcd-studio --graphics auto")
    if terminal.graphics == "halfcell":
        remedy = "sixel or kitty graphics show them whole: another terminal, or --graphics sixel|kitty if yours has them"
        if tmux:
            remedy = "leave tmux, or use one built with sixel in a terminal that shows sixel"
        return Finding("pictures", "warning", f"half cells{around}: two pixels a character", remedy)
    if tmux and terminal.graphics == "sixel" and (tmux.features is None or "sixel" not in tmux.features):
        found = f"sixel{around}, but tmux does not know that the terminal around it can show them: they may stay blank"
        return Finding("pictures", "warning", found, "vcd-studio --graphics halfcell")
    return Finding("pictures", "ok", f"{terminal.graphics}{around}, {cell}")


def _connection(terminal: Terminal, environment: Mapping[str, str]) -> Finding:
    where = "over SSH" if environment.get("SSH_CONNECTION") or environment.get("SSH_TTY") else "local"
    if terminal.round_trip is None:
        return Finding("connection", "ok", f"{where}, not asked how far away")
    if math.isinf(terminal.round_trip):
        found = f"{where}; the terminal did not say within {PROBE_SECONDS} s what it can draw"
        return Finding("connection", "warning", found, "tell it what the terminal has: vcd-studio --graphics sixel|kitty|halfcell")
    found = f"{where}, answers after {terminal.round_trip * 1000:.0f} ms"
    if terminal.round_trip > SLOW:
        return Finding("connection", "warning", found, "vcd-studio --graphics halfcell sends the least")
    return Finding("connection", "ok", found)
