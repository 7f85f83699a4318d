"""``vcd-studio doctor``"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from vcd_studio.cli.answers import EXAMPLE, Json, answer
from vcd_studio.cli.telling import WORK_FAILED

if TYPE_CHECKING:
    from vcd_studio.doctor.finding import Finding
    from vcd_studio.doctor.terminal import TerminalReading

EPILOG = f"{EXAMPLE} vcd-studio doctor"
WIDTH = 18
"""Cells of the name before what was found."""


def doctor(as_json: Json = False) -> None:
    """What on this machine keeps the studio from working well, and what to do; exit code 1 where it cannot work."""
    found: list[Finding] = []

    def findings() -> Iterator[Finding]:
        from vcd_studio.doctor.checks import checks

        for check in checks(_terminal):
            for finding in check.findings():
                found.append(finding)
                yield finding

    if as_json:
        answer([asdict(finding) for finding in findings()], [], True)
    else:
        answer(None, (line for finding in findings() for line in _lines(finding)), False)
    if any(finding.state == "fix" for finding in found):
        raise typer.Exit(WORK_FAILED)


def _lines(finding: Finding) -> Iterator[str]:
    yield f"{finding.state:<8} {finding.check:<{WIDTH}} {finding.found}"
    if finding.remedy:
        yield f"{'':<8} {'':<{WIDTH}} → {finding.remedy}"


def _terminal() -> TerminalReading:
    """The terminal, if the verb was called in one."""
    import os
    import sys

    from vcd_studio.doctor.terminal import read_terminal
    from vcd_studio.terminal import look

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return read_terminal(None, 0, 0)
    size = os.get_terminal_size(sys.stdout.fileno())
    return read_terminal(look(), size.columns, size.lines)
