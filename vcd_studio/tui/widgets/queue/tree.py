"""Jobs that open into their stages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from vcd_studio.project.text import plain
from vcd_studio.tui.messages import Snapshot
from vcd_studio.tui.widgets.chrome.bars import STATE_MARKS, bar, clock, progress

if TYPE_CHECKING:
    from vcd_studio.jobs.model import Job, Stage

BAR = 10
MOST = 400  # jobs on the tree at once: more of them nobody reads, and a filter finds the others
COLOURS = {"running": "accent", "done": "success", "failed": "error", "set-aside": "warning", "paused": "warning"}


@dataclass(frozen=True)
class Line:
    """What a node stands for: a job, or one of its stages."""

    job: int
    stage: int | None = None


def shortened(jobs: "Sequence[Job]") -> "Sequence[Job]":
    """All jobs, or of too many those that matter first: what runs, the front of the line, and what ended last."""
    if len(jobs) <= MOST:
        return jobs
    ended = next((at for at, job in enumerate(jobs) if job.is_finished), len(jobs))
    front = min(ended, max(MOST // 2, MOST - (len(jobs) - ended)))
    return [*jobs[:front], *jobs[ended : ended + MOST - front]]


class JobTree(Tree[Line]):
    """The queue, running jobs first; posts Chosen when the cursor comes to another job."""

    HELP = "The queue. Enter opens a job into its stages; c cancels, r retries, p pauses or resumes, K and J move the job under the cursor."
    DEFAULT_CSS = "JobTree { background: $background; padding: 0; border: none; scrollbar-size-vertical: 1; }"
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Stages", id="tree.open", tooltip="Open the job into its stages, or close it"),
        Binding("right", "open_node", "Open", show=False, id="tree.right", tooltip="Open the job into its stages"),
        Binding("left", "close_node", "Close", show=False, id="tree.left", tooltip="Close the job"),
    ]

    @dataclass
    class Chosen(Message):
        """The cursor stands on this job, or on one of its stages."""

        job: int | None

    def __init__(self, id: str | None = None) -> None:
        super().__init__("queue", id=id)
        self.show_root = False
        self.guide_depth = 2
        self._opened_by_itself: set[int] = set()
        self._open: set[int] = set()  # jobs that are open, be they shown now or filtered out
        self._job_now: int | None = None
        self._drawn: dict[int, tuple[Job, Sequence[Stage], str]] = {}  # what the words of a job were made of, and for which theme
        self._at: tuple[Line | None, int] = None, 0  # where the cursor was when the lines were last made anew

    @property
    def job(self) -> int | None:
        """The job under the cursor, be it on the job or on one of its stages."""
        line = self.cursor_node.data if self.cursor_node is not None else None
        return line.job if line is not None else None

    def show(self, snapshot: Snapshot) -> None:
        """Bring the lines up to date: the same jobs in the same order only get new words, where they changed, so nothing jumps."""
        wanted = [(job.id, len(snapshot.stages.get(job.id, ()))) for job in snapshot.jobs]
        present = [(node.data.job, len(node.children)) for node in self.root.children if node.data]
        if wanted != present:
            self._rebuild(snapshot)
        for node, job in zip(self.root.children, snapshot.jobs, strict=False):
            stages, drawn = snapshot.stages.get(job.id, ()), self._drawn.get(job.id)
            if drawn is None or drawn[0] is not job or drawn[1] is not stages or drawn[2] != self.app.theme:
                self._drawn[job.id] = job, stages, self.app.theme
                node.set_label(self._job_label(job, stages))
                for child, stage in zip(node.children, stages, strict=False):
                    child.set_label(self._stage_label(stage))
            if job.state == "running" and job.id not in self._opened_by_itself:
                self._opened_by_itself.add(job.id)
                node.expand()

    def _rebuild(self, snapshot: Snapshot) -> None:
        if self.cursor_node is not None:
            self._at = self.cursor_node.data, self.cursor_line
        for node in self.root.children:
            if node.data is not None:
                (self._open.add if node.is_expanded else self._open.discard)(node.data.job)
        self.clear()
        self._drawn.clear()
        self.move_cursor(None)  # until it is put again it stands on no job, and least of all on one that is not shown any more
        self._job_now = None
        self.root.expand()
        for job in snapshot.jobs:
            stages = snapshot.stages.get(job.id, ())
            self._drawn[job.id] = job, stages, self.app.theme
            node = self.root.add(self._job_label(job, stages), Line(job.id), expand=job.id in self._open)
            for stage in stages:
                node.add_leaf(self._stage_label(stage), Line(job.id, stage.id))
        self.call_after_refresh(self._put_cursor)

    def _put_cursor(self) -> None:
        """Where it was before; where that is gone, on the job in its place."""
        before, place = self._at
        jobs = list(self.root.children)
        target = next((line for node in jobs for line in (node, *node.children) if line.data == before), None)
        if target is None and jobs:
            target = jobs[max(0, min(place, len(jobs) - 1))]
        if target is not None:
            self.move_cursor(target)

    def _colour(self, state: str) -> str:
        return self.app.theme_variables.get(COLOURS.get(state, ""), "")

    def _job_label(self, job: "Job", stages: "tuple[Stage, ...]") -> Text:
        colour = self._colour(job.state)
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{STATE_MARKS[job.state]} ", colour)
        state = f"{job.request} asked" if job.request else job.state
        share = sum(stage.progress for stage in stages) / len(stages) if stages else 0.0
        text.append_text(bar(share, BAR, colour))
        text.append(f" {share:>4.0%} ").append(f"{state:<12}", colour)
        left = [stage.eta for stage in stages if stage.eta is not None]
        if left:
            text.append(f"ETA {clock(sum(left))} ")
        elif job.seconds is not None:
            text.append(f"{clock(job.seconds)} ", "dim")
        text.append(f"#{job.id} {plain(job.title)}")
        text.append(f" · {plain(job.project.name)}", "dim")
        return text

    def _stage_label(self, stage: "Stage") -> Text:
        colour = self._colour(stage.state)
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{STATE_MARKS.get(stage.state, '·')} {stage.name:<8}", colour)
        text.append_text(progress(stage, BAR, colour))
        if stage.state == "done" and stage.seconds is not None:
            text.append(f"  {clock(stage.seconds)}", "dim")
        if stage.message:
            text.append(f"  {plain(stage.message)}", "dim")
        return text

    def render_label(self, node: TreeNode[Line], base_style: Style, style: Style) -> Text:
        """The label as it is: our marks take the place of textual's arrows."""
        label = node.label.copy() if isinstance(node.label, Text) else Text(str(node.label))
        if node.allow_expand and node.children:
            label = Text("▾" if node.is_expanded else "▸").append_text(label)
        label.stylize_before(style)
        return label

    def on_tree_node_highlighted(self, event: Tree.NodeHighlighted[Line]) -> None:
        """Say which job the cursor is on, once."""
        if self.job != self._job_now:
            self._job_now = self.job
            self.post_message(self.Chosen(self.job))

    def action_open_node(self) -> None:
        """Open the job under the cursor."""
        if self.cursor_node is not None:
            self.cursor_node.expand()

    def action_close_node(self) -> None:
        """Close the job, from its stages too."""
        node = self.cursor_node
        if node is None:
            return
        if node.data is not None and node.data.stage is not None and node.parent is not None:
            node = node.parent
            self.move_cursor(node)
        node.collapse()
