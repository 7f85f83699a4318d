"""How verbs answer: JSON for scripts, a table or lines for a person. Text from outside is shown, never obeyed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated, Any

import typer

from vcd_studio.project.errors import InputError
from vcd_studio.project.text import plain, quoted

EXAMPLE = "Example:"

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Follow = Annotated[bool, typer.Option("--follow", help="Stay and show the progress until it is done (the work goes on without you too).")]
NoWorker = Annotated[bool, typer.Option("--no-worker", help="Put it into the queue only; do not start a worker.")]
Priority = Annotated[int, typer.Option("--priority", metavar="N", help="-99 to 99: before all of a lower one, after all of a higher.")]
On = Annotated[str | None, typer.Option("--on", metavar="CLUSTER", help="Hand it to a cluster that is already there: slurm.")]
ProjectPath = Annotated[Path, typer.Argument(metavar="PROJECT", help="The project's folder.")]


def group(name: str, about: str, example: str) -> typer.Typer:
    """An empty group of verbs."""
    return typer.Typer(name=name, help=about, epilog=f"{EXAMPLE} {example}", no_args_is_help=True, rich_markup_mode=None)


def answer(value: Any, lines: Iterable[str], as_json: bool) -> None:
    """To stdout: ``value`` as JSON (ASCII, so that nothing in it is obeyed), or the lines."""
    if as_json:
        sys.stdout.write(json.dumps(value, indent=2, default=_plain_json) + "\n")
    else:
        for line in lines:
            sys.stdout.write(plain(line) + "\n")
    sys.stdout.flush()


def table(head: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> list[str]:
    """Aligned columns, widest cell counted in terminal cells; ``empty`` where there are no rows."""
    from rich.cells import cell_len

    cells = [["" if cell is None else plain(str(cell)) for cell in row] for row in rows]
    if not cells:
        return [empty]
    cells.insert(0, list(head))
    widths = [max(cell_len(row[column]) for row in cells) for column in range(len(head))]
    return ["  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def duration(seconds: float | None) -> str:
    """``3.2 s``, ``2 min 05 s``, ``1 h 02 min``; a dash where it is not known."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: int) -> str:
    """Bytes as a person reads them."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError("the last unit takes everything")


def words_of(text: str) -> list[str]:
    """``"t2v, face"`` → both."""
    return [word.strip() for word in text.split(",") if word.strip()]


def seeds_of(text: str) -> list[int]:
    """``"1,2"`` → both; InputError for anything else."""
    try:
        seeds = [int(word) for word in words_of(text)]
    except ValueError:
        seeds = []
    if not seeds:
        raise InputError(f"{quoted(text)} are no seeds; give whole numbers with commas between, for example --seeds 1,2.")
    return seeds


def _plain_json(value: Any) -> Any:
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no place in an answer")
