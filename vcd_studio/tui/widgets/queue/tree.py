"""Batches that open into jobs, and jobs that open into their stages."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from vcd_studio.tui.messages import Snapshot
from vcd_studio.tui.widgets.queue.groups import MOST, Group
from vcd_studio.tui.widgets.queue.labels import batch_label, job_label, stage_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vcd_studio.jobs.model import Job

COLOURS = {"running": "accent", "done": "success", "failed": "error", "set-aside": "warning", "paused": "warning"}


@dataclass(frozen=True)
class Line:
    """What a node stands for: a batch, a job (of it), a stage of that; or, with nothing but a batch and `more`, jobs that are not shown."""

    batch: str | None = None
    job: int | None = None
    stage: int | None = None
    more: bool = False


class JobTree(Tree[Line]):
    """The queue, running jobs first; posts Chosen when the cursor comes to another batch or job."""

    HELP = """The queue. Jobs that were enqueued together are one line; Enter opens it into jobs, and a job into its stages.
What is done on a batch's line is done to all its jobs that it fits: c cancels, r retries, p pauses or resumes, t runs them next,
K and J move them, + and - change their priority. F forks a clip."""
    DEFAULT_CSS = "JobTree { background: $background; padding: 0; border: none; scrollbar-size: 0 1; }"
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Open", id="tree.open", tooltip="Open a batch into its jobs, a job into its stages; or close it"),
        Binding("right", "open_node", "Open", show=False, id="tree.right", tooltip="Open a batch into its jobs, a job into its stages"),
        Binding("left", "close_node", "Close", show=False, id="tree.left", tooltip="Close the job, then the batch"),
    ]

    @dataclass
    class Chosen(Message):
        """The cursor stands on this job, on one of its stages, or on the batch of which it comes first."""

        job: int | None

    def __init__(self, id: str | None = None) -> None:
        super().__init__("queue", id=id)
        self.show_root = False
        self.guide_depth = 2
        self._snapshot = Snapshot()
        self._groups: dict[str | int, Group] = {}  # by batch, or by the number of a job alone; in their order
        self._opened_by_itself: set[Line] = set()
        self._opened_by_filter: set[Line] = set()
        self._open: set[Line] = set()  # batches and jobs that are open, be they shown now or filtered out
        self._chosen_now: tuple[str | None, int | None] = None, None
        self._drawn: dict[Line, object] = {}  # what the words of a line were made of
        self._at: tuple[Line | None, int] = None, 0  # where the cursor was when the lines were last made anew

    @property
    def line(self) -> Line:
        """Where the cursor is."""
        return (self.cursor_node.data if self.cursor_node is not None else None) or Line()

    @property
    def job(self) -> int | None:
        """The job under the cursor, be it on the job or on one of its stages; of a batch the first."""
        return self.line.job if self.line.job is not None else next(iter(self.jobs), None)

    @property
    def jobs(self) -> tuple[int, ...]:
        """All jobs that the line under the cursor stands for."""
        line = self.line
        if line.job is not None:
            return (line.job,)
        group = self._groups.get(line.batch) if line.batch is not None and not line.more else None
        return tuple(job.id for job in group.jobs) if group is not None else ()

    def show(self, groups: "Sequence[Group]", snapshot: Snapshot, *, opened: bool = False) -> None:
        """Bring the lines up to date: the same ones in the same order only get new words, where they changed, so nothing jumps.

        `opened`: open all batches, until it is said no more.
        """
        if not opened:
            self._close_again()
        self._groups = {_key(group): group for group in groups}
        self._snapshot = snapshot
        if [_line(group) for group in groups] != [node.data for node in self.root.children] or any(map(self._has_moved, self._batches())):
            self._rebuild()
        for node in self.root.children:
            if opened and _is_batch(node):
                self._open_for_filter(node)
            self._write(node)

    def _open_for_filter(self, node: TreeNode[Line]) -> None:
        if node.data is not None and not node.is_expanded and node.data not in self._opened_by_filter:
            self._opened_by_filter.add(node.data)
            node.expand()

    def _close_again(self) -> None:
        for node in self.root.children:
            if node.data in self._opened_by_filter:
                node.collapse()
        self._open -= self._opened_by_filter
        self._opened_by_filter.clear()

    def _batches(self) -> "list[TreeNode[Line]]":
        """Those that are, or were, open."""
        return [node for node in self.root.children if node.children and _is_batch(node)]

    def _has_moved(self, node: TreeNode[Line]) -> bool:
        """Whether a batch's jobs are not those that its line opens into."""
        jobs = [job.id for job in self._group(node).jobs[:MOST]]
        return jobs != [child.data.job for child in node.children if child.data is not None and not child.data.more]

    def _group(self, node: TreeNode[Line]) -> Group:
        assert node.data is not None, "every line stands for something"
        key = node.data.batch or node.data.job
        assert key is not None, "a batch, or a job alone"
        return self._groups[key]

    def _rebuild(self) -> None:
        if self.cursor_node is not None:
            self._at = self.cursor_node.data, self.cursor_line
        for node in self._lines():
            if node.data is not None and node.allow_expand:
                (self._open.add if node.is_expanded else self._open.discard)(node.data)
        self.clear()
        self._drawn.clear()
        self.move_cursor(None)  # until it is put again it stands on no job, and least of all on one that is not shown any more
        self._chosen_now = None, None
        self.root.expand()
        for group in self._groups.values():
            if group.batch is None:
                self._add_job(self.root, group.jobs[0], None)
            else:
                line = Line(group.batch)
                label = self._label(line, *self._batch_words(group))  # written at once: each later word has the whole tree reckoned again
                node = self.root.add(label or "", line, expand=line in self._open)
                if line in self._open:
                    self._fill(node)
        self.call_after_refresh(self._put_cursor)

    def _fill(self, node: TreeNode[Line]) -> None:
        """The jobs of a batch, once it is opened."""
        group = self._group(node)
        for job in group.jobs[:MOST]:
            self._add_job(node, job, group.batch)
        if (rest := len(group.jobs) - MOST) > 0:
            node.add_leaf(Text(f"… and {rest} more; / finds them", "dim"), Line(group.batch, more=True))

    def _add_job(self, parent: TreeNode[Line], job: "Job", batch: str | None) -> None:
        line = Line(batch, job.id)
        node = parent.add(self._label(line, *self._job_words(job)) or "", line, expand=line in self._open)
        for stage in self._snapshot.stages.get(job.id, ()):
            node.add_leaf(stage_label(stage, self._colour), Line(batch, job.id, stage.id))

    def _write(self, node: TreeNode[Line]) -> None:
        """The words of a top line and of what it has opened into, where what they were made of has changed."""
        group = self._group(node)
        if group.batch is None:
            self._write_job(node, group.jobs[0])
            return
        if (label := self._label(Line(group.batch), *self._batch_words(group))) is not None:
            node.set_label(label)
        for child, job in zip(node.children, group.jobs, strict=False):
            if child.data is not None and not child.data.more:
                self._write_job(child, job)

    def _write_job(self, node: TreeNode[Line], job: "Job") -> None:
        assert node.data is not None, "every line stands for something"
        if (label := self._label(node.data, *self._job_words(job))) is not None:
            node.set_label(label)
            for child, stage in zip(node.children, self._snapshot.stages.get(job.id, ()), strict=False):
                child.set_label(stage_label(stage, self._colour))
        if job.state == "running" and node.data not in self._opened_by_itself:
            self._opened_by_itself.add(node.data)
            node.expand()

    def _label(self, line: Line, made_of: object, make: "Callable[[], Text]") -> Text | None:
        """The words of a line; None where what they are made of is what it was."""
        known, self._drawn[line] = self._drawn.get(line), (made_of, self.app.theme)
        return make() if known != self._drawn[line] else None

    def _batch_words(self, group: Group) -> "tuple[object, Callable[[], Text]]":
        snapshot = self._snapshot
        stages = [snapshot.stages.get(job.id, ()) for job in group.jobs]
        left = snapshot.left.of(group.jobs) if snapshot.left is not None else None
        made_of = group, stages, left.words() if left is not None else ""
        return made_of, lambda: batch_label(group, stages, left, self._colour)

    def _job_words(self, job: "Job") -> "tuple[object, Callable[[], Text]]":
        stages = self._snapshot.stages.get(job.id, ())
        seconds = self._snapshot.left.jobs.get(job.id) if self._snapshot.left is not None else None
        return (job, stages, seconds), lambda: job_label(job, stages, seconds, self._colour)

    def _lines(self) -> "Iterator[TreeNode[Line]]":
        """All lines there are, be they open or not."""
        for node in self.root.children:
            yield node
            for child in node.children:
                yield child
                yield from child.children

    def _put_cursor(self) -> None:
        """Where it was before; where that is gone, on the line in its place."""
        before, place = self._at
        top = list(self.root.children)
        target = next((node for node in self._lines() if node.data == before), None)
        if target is None and top:
            target = top[max(0, min(place, len(top) - 1))]
        if target is not None:
            self.move_cursor(target)

    def _colour(self, state: str) -> str:
        return self.app.theme_variables.get(COLOURS.get(state, ""), "")

    def render_label(self, node: TreeNode[Line], base_style: Style, style: Style) -> Text:
        """The label as it is: our marks take the place of textual's arrows. Under the cursor it has the cursor's colours alone."""
        label = node.label.copy() if isinstance(node.label, Text) else Text(str(node.label))
        if node is self.cursor_node:
            label = Text(label.plain, no_wrap=True, overflow="ellipsis")
        if node.allow_expand:
            label = Text("▾" if node.is_expanded else "▸").append_text(label)
        label.stylize_before(style)
        return label

    def on_tree_node_expanded(self, event: Tree.NodeExpanded[Line]) -> None:
        """A batch gets its jobs when it is first opened."""
        node = event.node
        if _is_batch(node) and not node.children and node in self.root.children:  # it may be gone by now
            self._fill(node)
            self._write(node)

    def on_tree_node_highlighted(self, event: Tree.NodeHighlighted[Line]) -> None:
        """Say which job the cursor is on, once."""
        chosen = self.line.batch, self.line.job
        if chosen != self._chosen_now:
            self._chosen_now = chosen
            self.post_message(self.Chosen(self.job))

    def action_open_node(self) -> None:
        """Open the batch or job under the cursor."""
        if self.cursor_node is not None:
            self.cursor_node.expand()

    def action_close_node(self) -> None:
        """Close the job, from its stages too; where it is closed, the batch."""
        node = self.cursor_node
        if node is None:
            return
        if not (node.allow_expand and node.is_expanded) and node.parent is not None and node.parent is not self.root:
            node = node.parent
            self.move_cursor(node)
        node.collapse()


def _is_batch(node: TreeNode[Line]) -> bool:
    return node.data is not None and node.data.job is None and not node.data.more


def _key(group: Group) -> str | int:
    return group.batch or group.jobs[0].id


def _line(group: Group) -> Line:
    return Line(group.batch) if group.batch is not None else Line(None, group.jobs[0].id)
