"""The training runs of one identity side by side: what each was trained with, its curves, and a picture for every so many steps."""

import math
import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Static

from vcd_studio.project.text import plain
from vcd_studio.tui.widgets.pictures.grid import PictureGrid, Tile
from vcd_studio.tui.widgets.pictures.source import Source
from vcd_studio.tui.widgets.training.curve import Curve, Points, read_curves

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vcd_studio.jobs.model import Job
    from vcd_studio.project.identity import Identity, Run

MOST = 3  # runs side by side, where the screen is wide; two where it is not
_STEP = re.compile(r"(\d+)$")


@dataclass(frozen=True)
class SeenRun:
    """One run as it was read: its curves, and what it was trained with, as far as that is recorded."""

    run: "Run"
    losses: Points = field(default_factory=list)
    norms: Points = field(default_factory=list)
    steps: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    steady_loss: float | None = None
    nearest: bool = False

    @property
    def name(self) -> str:
        """`run-002`"""
        return self.run.name

    def as_planned(self, settings: dict[str, Any]) -> "SeenRun":
        """The run, with what it is to be trained with; its own record is written last."""
        return replace(self, settings=settings, steps=settings.get("steps", self.steps))


def read_runs(identity: "Identity") -> tuple[SeenRun, ...]:
    """Every run with its curves, oldest first, and which of several came nearest. Call it on a thread."""
    runs = tuple(_read(run, identity.training.steps) for run in identity.runs())
    if sum(seen.steady_loss is not None for seen in runs) < 2:
        return runs
    nearest = identity.nearest_run().name
    return tuple(replace(seen, nearest=seen.name == nearest) for seen in runs)


def as_planned(runs: tuple[SeenRun, ...], jobs: "Iterable[Job]") -> tuple[SeenRun, ...]:
    """The runs; one that is not finished has the steps and settings that its job says."""
    training = {str(job.result.get("run")): job for job in jobs if job.kind == "train"}
    return tuple(
        seen.as_planned(training[str(seen.run.folder)].settings.get("training", {}))
        if not seen.run.finished and str(seen.run.folder) in training
        else seen
        for seen in runs
    )


def run_named(name: str, runs: tuple[SeenRun, ...]) -> SeenRun | None:
    """The run of this name, else the newest; None where there is none."""
    return next((seen for seen in runs if seen.name == name), runs[-1] if runs else None)


def about_run(shown: SeenRun, used: str | None, token: str) -> str:
    """Whether prompts that name `token` use this run, and the key that lets them."""
    name = plain(shown.name)
    if not shown.run.finished:
        return f"{name} is not finished"
    steady = "" if shown.steady_loss is None else f" · steady loss {shown.steady_loss:.4f}{', the lowest' if shown.nearest else ''}"
    if shown.name == used:
        return f"{name} is trained: prompts may name {plain(token)}{steady}"
    return f"{name} is trained; prompts use {plain(used or 'none')}: U uses this one{steady}"


def _read(run: "Run", planned: int) -> SeenRun:
    try:
        found = run.loss_path.stat()
        losses, norms = _curves(run.loss_path, found.st_mtime_ns, found.st_size)
    except OSError:  # imported tokens have no curve
        losses, norms = [], []
    steps = losses[-1][0] if run.finished and losses else planned
    record = run.record()
    steady = record.get("steady_loss")
    known = run.finished and isinstance(steady, float) and math.isfinite(steady)
    return SeenRun(run, losses, norms, steps, record.get("settings", {}), steady if known else None)


@lru_cache(maxsize=64)
def _curves(path: Path, changed: int, size: int) -> tuple[Points, Points]:
    """A finished run's file is read once."""
    return read_curves(path)


def preview_tiles(run: "Run") -> list[Tile]:
    """The run's previews, each under its step."""
    tiles = []
    for path in run.previews:
        step = _STEP.search(path.stem)
        tiles.append(Tile(path.name, Source(path), f"step {int(step[1])}" if step else path.stem))
    return tiles


class RunColumn(Widget):
    """One run, from its settings down to its previews."""

    DEFAULT_CSS = """
    RunColumn { width: 1fr; height: 1fr; layout: vertical; padding: 0 1; border-left: blank; }
    RunColumn.-shown { border-left: thick $primary; }
    RunColumn > Static { height: 3; }
    RunColumn > Curve { height: 2fr; }
    RunColumn > PictureGrid { height: 3fr; }
    """

    def compose(self) -> ComposeResult:
        yield Static(markup=False)
        yield Curve("loss", smoothed=True, empty="no loss kept", id="column-loss")
        yield Curve("norm", empty="no norm kept", id="column-norm")
        yield PictureGrid((10, 5), noun="preview", empty="no previews")

    def fill(self, seen: SeenRun, used: bool, shown: bool) -> None:
        """Show this run; `shown` is the one that < and > go to and U takes."""
        self.set_class(shown, "-shown")
        run, settings = seen.run, seen.settings
        head = Text()
        head.append(plain(run.name), "bold")
        head.append(" · used by prompts" if used else "" if run.finished else " · not finished")
        head.append(" · nearest" if seen.nearest else "").append("\n")
        words = [f"{settings.get('method', 'tokens')}", f"{seen.steps} steps"] if settings else ["settings unknown"]
        words += [f"steady loss {seen.steady_loss:.4f}"] if seen.steady_loss is not None else []
        words += [f"{settings['tokens']} tokens"] if "tokens" in settings else []
        words += [f"rate {settings['learning_rate']}"] if "learning_rate" in settings else []
        words += [f"seed {settings['seed']}"] if "seed" in settings else []
        head.append(plain(" · ".join(words)), "dim")
        self.query_one(Static).update(head)
        self.query_one("#column-loss", Curve).show(seen.losses, seen.steps)
        self.query_one("#column-norm", Curve).show(seen.norms, seen.steps)
        self.query_one(PictureGrid).fill(preview_tiles(run))


class RunsView(Horizontal):
    """As many runs as fit, the shown one always among them."""

    DEFAULT_CSS = "RunsView { height: 1fr; display: none; }"

    def compose(self) -> ComposeResult:
        for _ in range(MOST):
            yield RunColumn()

    def show(self, runs: tuple[SeenRun, ...], used: str | None, shown: str) -> None:
        """Fill the columns."""
        fit = MOST if self.app.size.width >= 100 else MOST - 1
        at = next((at for at, seen in enumerate(runs) if seen.name == shown), len(runs) - 1)
        first = max(0, min(at - fit // 2, len(runs) - fit))
        for place, column in enumerate(self.query(RunColumn)):
            column.display = place < fit and first + place < len(runs)
            if column.display:
                seen = runs[first + place]
                column.fill(seen, seen.name == used, seen.name == shown)
