"""How far a download is, on stderr: a bar with rate and time left where a person looks on, a line for each tenth otherwise."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from vcd_studio.cli.answers import size
from vcd_studio.cli.telling import tell

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

TENTHS = 10


class Transfer:
    """Shows one file after another."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._task: TaskID | None = None
        self._file, self._tenth = "", -1

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

            name, rate, left = TextColumn("{task.description}", markup=False), TransferSpeedColumn(), TimeRemainingColumn()
            self._bars = Progress(name, BarColumn(), DownloadColumn(), rate, left, console=Console(stderr=True))
            self._bars.start()
        return self

    def show(self, file: str, done: int, total: int) -> None:
        """Bytes ``done`` of ``total`` of ``file`` are here."""
        other, self._file = file != self._file, file
        if self._bars is None:
            tenth = TENTHS * done // max(total, 1)
            if other or tenth != self._tenth:
                self._tenth = tenth
                tell(f"{file}: {size(done)} of {size(total)}")
            return
        if other or self._task is None:
            self._task = self._bars.add_task(file, total=total)
        self._bars.update(self._task, completed=done)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bars is not None:
            self._bars.stop()
