"""The training of one identity: its progress, its loss curve and its last previews."""

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
from vcd_studio.tui.widgets.training.curve import LossCurve

if TYPE_CHECKING:
    from vcd_studio.jobs.model import Job, Stage
    from vcd_studio.project.identity import Run

PREVIEWS = 3


class TrainingPanel(Widget):
    """A line of progress over the curve (left) and the newest previews (right)."""

    DEFAULT_CSS = """
    TrainingPanel { layout: vertical; height: 8; background: $surface; }
    TrainingPanel #progress { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    TrainingPanel #row { height: 1fr; }
    TrainingPanel LossCurve { padding: 0 1; min-width: 30; }
    TrainingPanel Picture { width: 14; height: 1fr; margin-right: 1; }
    """

    def compose(self) -> ComposeResult:
        yield Static(markup=False, id="progress")
        with Horizontal(id="row"):
            yield LossCurve()
            for at in range(PREVIEWS):
                yield Picture(id=f"preview-{at}")

    def show_run(self, run: "Run | None", losses: list[tuple[int, float]], steps: int) -> None:
        """The run's curve and previews."""
        self.query_one(LossCurve).show(losses, steps)
        previews = list(run.previews[-PREVIEWS:]) if run else []
        for at in range(PREVIEWS):
            picture = self.query_one(f"#preview-{at}", Picture)
            picture.show(Source(previews[at]) if at < len(previews) else None)

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
