"""The training of one identity: its progress, its curves and its last previews."""

from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Static

from vcd_studio.project.text import plain
from vcd_studio.tui.widgets.chrome.bars import STATE_MARKS, progress
from vcd_studio.tui.widgets.pictures.picture import Picture
from vcd_studio.tui.widgets.pictures.source import Source
from vcd_studio.tui.widgets.training.curve import Curve
from vcd_studio.tui.widgets.training.runs import SeenRun

if TYPE_CHECKING:
    from vcd_studio.jobs.model import Job, Stage

PREVIEWS = 3


class TrainingPanel(Widget):
    """A line of progress over the curves of loss and token norm (left) and the newest previews (right)."""

    DEFAULT_CSS = """
    TrainingPanel { layout: vertical; height: 8; background: $surface; }
    TrainingPanel #progress { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    TrainingPanel #row { height: 1fr; }
    TrainingPanel Curve { padding: 0 1; }
    TrainingPanel Picture { width: 14; height: 1fr; margin-right: 1; }
    """

    def compose(self) -> ComposeResult:
        yield Static(markup=False, id="progress")
        with Horizontal(id="row"):
            yield Curve("loss", smoothed=True, empty="no loss yet: t trains", id="loss")
            yield Curve("norm", id="norm")
            for at in range(PREVIEWS):
                yield Picture(id=f"preview-{at}", classes="-older" if at < PREVIEWS - 1 else "")

    def show_run(self, seen: SeenRun | None) -> None:
        """The run's curves and previews, the newest rightmost."""
        self.query_one("#loss", Curve).show(seen.losses if seen else [], seen.steps if seen else 0)
        self.query_one("#norm", Curve).show(seen.norms if seen else [], seen.steps if seen else 0)
        previews = list(seen.run.previews[-PREVIEWS:]) if seen else []
        for at in range(PREVIEWS):
            place = at - (PREVIEWS - len(previews))
            self.query_one(f"#preview-{at}", Picture).show(Source(previews[place]) if place >= 0 else None)

    def show_job(self, job: "Job | None", stages: "tuple[Stage, ...]", otherwise: str) -> None:
        """How far the newest segmenting or training job is; `otherwise` where there is none worth telling."""
        line = Text(no_wrap=True, overflow="ellipsis")
        stage = next((stage for stage in stages if stage.state == "running"), None)
        if job is None or job.state in ("done", "cancelled"):
            line.append(otherwise)
        elif job.error:
            line.append(f"{STATE_MARKS[job.state]} {plain(job.title)}: {plain(job.error)}", self.app.theme_variables.get("error", ""))
        else:
            line.append(f"{STATE_MARKS[job.state]} {plain(job.title)} ")
            if stage:
                line.append_text(progress(stage, 16, self.app.theme_variables.get("accent", "")))
                line.append(f"  {plain(stage.message)}" if stage.message else "", "dim")
            else:
                line.append(job.state, "dim")
        self.query_one("#progress", Static).update(line)
