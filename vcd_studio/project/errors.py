"""What a person is told when something they gave is not right."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class InputError(Exception):
    """One clear sentence that names the file, the value and the remedy. Ends a command with exit code 2."""

    exit_code = 2


class ProjectError(InputError):
    """Something is wrong in a project's file; ``file`` and ``line`` (from 1) say where, as far as it is known."""

    def __init__(self, message: str, file: Path | None = None, line: int | None = None) -> None:
        self.message = message
        self.file = file
        self.line = line
        super().__init__(f"{place(file, line)}{message}")


@dataclass(frozen=True)
class Problem:
    """One finding of ``Project.check``."""

    file: Path
    line: int | None
    message: str

    def __str__(self) -> str:
        return f"{place(self.file, self.line)}{self.message}"


def place(file: Path | None, line: int | None) -> str:
    """``file, line 3: `` as far as it is known, safe to show."""
    from vcd_studio.project.text import plain

    if file is None:
        return ""
    return f"{plain(str(file))}, line {line}: " if line else f"{plain(str(file))}: "
