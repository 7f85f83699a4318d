"""What is said of the terminal, from readings; a real one is a pseudo-terminal that answers."""

from __future__ import annotations

import math
import os
import pty
import subprocess
import sys
import threading
from typing import Any

import pytest

from vcd_studio.doctor.terminal import TerminalReading, Tmux, check_terminal
from vcd_studio.terminal import Terminal

GOOD = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
SIXEL = Terminal("sixel", 10, 20, 0.004)


def found(
    check: str, terminal: Terminal | None = SIXEL, size: tuple[int, int] = (100, 30), encoding: str = "utf-8",
    environment: dict[str, str] = GOOD, tmux: Tmux | None = None,
) -> Any:  # fmt: skip
    findings = check_terminal(TerminalReading(terminal, *size, encoding, environment, tmux))
    return next(finding for finding in findings if finding.check == check)


def test_a_good_terminal_has_nothing_to_mend() -> None:
    findings = check_terminal(TerminalReading(SIXEL, 80, 24, "UTF-8", GOOD))
    assert [(finding.check, finding.state) for finding in findings] == [
        (check, "ok") for check in ("terminal", "colours", "characters", "pictures", "connection")
    ]


def test_without_a_terminal_that_is_all_there_is_to_say() -> None:
    (only,) = check_terminal(TerminalReading(None, 0, 0, "utf-8", {}))
    assert only.state == "ok"
    assert "verbs work" in only.found


@pytest.mark.parametrize("size", [(79, 24), (80, 23)])
def test_a_window_that_is_too_small(size: tuple[int, int]) -> None:
    assert found("terminal", size=size).state == "warning"
    assert f"{size[0]}×{size[1]}" in found("terminal", size=size).found


@pytest.mark.parametrize(
    ("environment", "tmux", "remedy"),
    [
        ({"TERM": "dumb"}, None, "TERM=xterm-256color"),
        ({}, None, "TERM=xterm-256color"),
        ({"TERM": "xterm-256color"}, None, "COLORTERM=truecolor"),
        (GOOD | {"NO_COLOR": "1"}, None, "unset NO_COLOR"),
        (GOOD, Tmux("3.5", frozenset({"256"})), "terminal-features"),
    ],
)
def test_fewer_colours_than_there_could_be(environment: dict[str, str], tmux: Tmux | None, remedy: str) -> None:
    assert found("colours", environment=environment, tmux=tmux).state == "warning"
    assert remedy in found("colours", environment=environment, tmux=tmux).remedy


@pytest.mark.parametrize("features", [None, frozenset({"RGB"})])
def test_a_tmux_that_does_not_say_otherwise_has_all_colours(features: frozenset[str] | None) -> None:
    assert found("colours", tmux=Tmux("3.5", features)).state == "ok"


@pytest.mark.parametrize(("encoding", "state"), [("utf8", "ok"), ("UTF-8", "ok"), ("ascii", "warning"), ("iso-8859-1", "warning")])
def test_characters(encoding: str, state: str) -> None:
    assert found("characters", encoding=encoding).state == state


@pytest.mark.parametrize(
    ("terminal", "tmux", "state", "remedy"),
    [
        (Terminal("kitty"), None, "ok", ""),
        (Terminal("off"), None, "warning", "--graphics auto"),
        (Terminal("halfcell"), None, "warning", "another terminal"),
        (Terminal("halfcell"), Tmux("3.3a", None), "warning", "leave tmux"),
        (SIXEL, Tmux("3.7", frozenset({"RGB", "sixel"})), "ok", ""),
        (SIXEL, Tmux("3.7", frozenset({"RGB"})), "warning", "--graphics halfcell"),  # drawn by tmux, blank around it
        (SIXEL, Tmux("3.7", None), "warning", "--graphics halfcell"),
    ],
)
def test_pictures(terminal: Terminal, tmux: Tmux | None, state: str, remedy: str) -> None:
    assert found("pictures", terminal, tmux=tmux).state == state
    assert remedy in found("pictures", terminal, tmux=tmux).remedy


@pytest.mark.parametrize(
    ("round_trip", "state", "says"),
    [(0.004, "ok", "4 ms"), (0.6, "warning", "600 ms"), (math.inf, "warning", "did not say within 1.5 s"), (None, "ok", "not asked")],
)
def test_how_far_away_it_is(round_trip: float | None, state: str, says: str) -> None:
    one = found("connection", Terminal("sixel", 10, 20, round_trip), environment=GOOD | {"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"})
    assert one.state == state
    assert one.found.startswith("over SSH")
    assert says in one.found


ASKS = "import math, sys; from vcd_studio.terminal import look; print(look(seconds=float(sys.argv[1])))"


@pytest.mark.parametrize(("answer", "seconds", "says"), [(b"\x1b[?62;4c", "60", "graphics='sixel'"), (b"", "0", "round_trip=inf")])
def test_the_probe_tells_what_answered_and_how_soon(answer: bytes, seconds: str, says: str) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", ASKS, seconds], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    said = bytearray()

    def be_a_terminal() -> None:
        told = False
        while True:
            try:
                said.extend(os.read(ours, 4096))
            except OSError:  # the other end is closed
                return
            if b"\x1b[c" in said and not told:
                told = True
                os.write(ours, answer)

    terminal = threading.Thread(target=be_a_terminal)
    terminal.start()
    assert process.wait(timeout=60) == 0
    terminal.join(timeout=60)
    os.close(ours)
    assert says in said.decode()
    assert ("round_trip=inf" in said.decode()) == (not answer)
