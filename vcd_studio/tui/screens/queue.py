"""Queue: every job with its stages, the log of the one under the cursor, and what its running step looks like."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import RichLog, Static

from vcd_studio.project.text import plain
from vcd_studio.tui.messages import CardsRead, Snapshot
from vcd_studio.tui.meter import read_on
from vcd_studio.tui.screens.base import StudioScreen
from vcd_studio.tui.screens.dialogs.dialogs import Confirm
from vcd_studio.tui.widgets.chrome.filter import FilterLine
from vcd_studio.tui.widgets.pictures.picture import Picture
from vcd_studio.tui.widgets.pictures.source import Source
from vcd_studio.tui.widgets.queue.meter import DeviceMeter
from vcd_studio.tui.widgets.queue.tree import JobTree, shortened

if TYPE_CHECKING:
    from vcd_studio.devices import Reading
    from vcd_studio.jobs.model import Event, Job
    from vcd_studio.jobs.store import Store

LINES = 500  # of a log, read at once
EMPTY = """The queue is empty.

Identity (2) segments and trains, Prompts (3) enqueue clips.
What they enqueue stands here, and stays when you leave."""


class QueueScreen(StudioScreen):
    """All jobs of this user, of every project."""

    MODE = "queue"
    HELP = """The queue of all your projects. A worker does the jobs, whether the studio is open or not; g starts or stops it.
The line below says how long all of it will take, as far as that is known. Above the log stands each NVIDIA card: its memory, load and
temperature, and processes on it that are no workers of yours. / filters, Escape shows everything again."""
    DEFAULT_CSS = """
    QueueScreen #body { layout: vertical; }
    QueueScreen JobTree { height: 3fr; }
    QueueScreen #more { height: 1; padding: 0 1; color: $text-muted; display: none; }
    QueueScreen #empty { display: none; height: 3fr; padding: 1 3; }
    QueueScreen.-empty #empty { display: block; }
    QueueScreen.-empty JobTree { display: none; }
    QueueScreen #title { height: 1; background: $surface; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    QueueScreen #below { height: 2fr; min-height: 8; }
    QueueScreen RichLog { width: 1fr; height: 1fr; padding: 0 1; background: $surface; scrollbar-size-vertical: 1; }
    QueueScreen #preview { width: 24; height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "unfilter", "Show all", id="queue.unfilter", tooltip="Take the filter away"),
        Binding("c", "cancel", "Cancel", id="queue.cancel", tooltip="Cancel this job, and no other"),
        Binding("r", "retry", "Retry", id="queue.retry", tooltip="Put a failed, cancelled or set-aside job back; finished stages stay"),
        Binding("p", "pause", "Pause", id="queue.pause", tooltip="Pause this job after its step, or resume it"),
        Binding("K,ctrl+up", "shift(-1)", "Sooner", id="queue.sooner", tooltip="One place nearer to the front"),
        Binding("J,ctrl+down", "shift(1)", "Later", id="queue.later", tooltip="One place further back"),
        Binding("g", "worker", "Worker", id="queue.worker", tooltip="Start a worker, or stop it after its step"),
        Binding("slash", "filter", "Filter", id="queue.filter", tooltip="Only jobs whose title, project or state holds these words"),
        Binding(
            "d", "details", "Details", show=False, id="queue.details", tooltip="All about this job: settings, result, error and traceback"
        ),
        Binding("f", "follow", "Follow", show=False, id="queue.follow", tooltip="Let the log follow its end, or stay where it is"),
        Binding("X", "clear", "Clear finished", show=False, id="queue.clear", tooltip="Forget finished jobs; what they made stays"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._log_of: int | None = None
        self._last_event = 0
        self._stop = threading.Event()

    def body(self) -> ComposeResult:
        with Vertical(id="body"):
            yield JobTree()
            yield Static(markup=False, id="more")
            yield FilterLine()
            yield Static(EMPTY, markup=False, id="empty")
            yield DeviceMeter()
            yield Static(markup=False, id="title")
            with Horizontal(id="below"):
                yield RichLog(wrap=True, min_width=1, markup=False, highlight=False, max_lines=5000)
                yield Picture(id="preview")

    def on_mount(self) -> None:
        """The tree has the keys; the cards are read from now on."""
        super().on_mount()
        self.query_one(RichLog).can_focus = True
        self.query_one(JobTree).focus()
        threading.Thread(target=read_on, args=(self._tell_cards, self._stop), name="device meter", daemon=True).start()

    def on_unmount(self) -> None:
        """The cards are read no longer."""
        self._stop.set()

    # ── showing ──

    def _tell_cards(self, reading: "Reading") -> None:
        """From the reading thread."""
        if self.is_running and not self._stop.is_set():
            self.post_message(CardsRead(reading))

    def on_cards_read(self, message: CardsRead) -> None:
        """Bring the meter up to date where it is seen."""
        if self.is_active:
            ours = {worker.pid for worker in self.studio.snapshot.workers if worker.state != "dead"}
            self.query_one(DeviceMeter).show(message.reading, ours)

    def queue_changed(self, snapshot: Snapshot) -> None:
        """The lines, the running step's picture, and what the log has gained."""
        self.set_class(not snapshot.jobs, "-empty")
        tree, line = self.query_one(JobTree), self.query_one(FilterLine)
        found = snapshot.jobs
        if line.words:
            found = tuple(job for job in found if line.matches(f"#{job.id}", job.kind, job.state, job.title, job.project.name))
        line.found(len(found), len(snapshot.jobs))
        jobs = tuple(shortened(found))
        tree.show(replace(snapshot, jobs=jobs))
        more = self.query_one("#more", Static)
        more.display = len(jobs) < len(found)
        more.update(f"… and {len(found) - len(jobs)} more, waiting or ended before these; / finds them")
        if tree.job is not None or not jobs:  # else the cursor is on its way, and says where it comes to
            self._show_job(tree.job)

    def on_job_tree_chosen(self, message: JobTree.Chosen) -> None:
        """Another job's log."""
        self._show_job(message.job)

    def on_filter_line_changed(self, message: FilterLine.Changed) -> None:
        """Fewer lines, or more."""
        self.queue_changed(self.studio.snapshot)
        self.refresh_bindings()

    def on_filter_line_done(self, message: FilterLine.Done) -> None:
        """The tree has the keys again."""
        if message.clear or not self.query_one(FilterLine).words.strip():
            self.action_unfilter()
        self.query_one(JobTree).focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is something to show again only where something may be hidden."""
        if action in ("filter", "unfilter"):
            line = next(iter(self.query(FilterLine)), None)
            return line is not None and (line.is_open if action == "unfilter" else not line.is_written)
        return True

    def action_filter(self) -> None:
        """Ask for words."""
        self.query_one(FilterLine).open()

    def action_unfilter(self) -> None:
        """All jobs again."""
        self.query_one(FilterLine).clear()
        self.refresh_bindings()

    @property
    def job(self) -> "Job | None":
        """The job under the cursor."""
        wanted = self.query_one(JobTree).job
        return next((job for job in self.studio.snapshot.jobs if job.id == wanted), None)

    def to_copy(self) -> str:
        """What came of the job under the cursor: its error, or the folder it made; else its title."""
        job = self.job
        if job is None:
            return ""
        made = next((str(job.result[key]) for key in ("clip", "run", "report") if key in job.result), "")
        return job.error or made or job.title

    def _show_job(self, job_id: int | None) -> None:
        if job_id != self._log_of:
            self._log_of, self._last_event = job_id, 0
            self.query_one(RichLog).clear()
        job = next((job for job in self.studio.snapshot.jobs if job.id == job_id), None)
        stages = self.studio.snapshot.stages.get(job_id, ()) if job_id is not None else ()
        preview = next((stage.preview for stage in reversed(stages) if stage.preview), None)
        self.query_one("#preview", Picture).show(Source(Path(preview)) if preview else None, "no preview" if job else "")
        title = Text(no_wrap=True, overflow="ellipsis")
        if job is not None:
            title.append(f"Log of #{job.id} {plain(job.title)}", "bold")
            if job.error:
                title.append(f" · {plain(job.error)} · d details", self.app.theme_variables.get("error", ""))
        self.query_one("#title", Static).update(title)
        if job_id is not None:
            after = self._last_event
            queue = self.studio.queue
            self.attempt(
                lambda: queue.store.events(job_id, after, LINES), lambda events: self._write(job_id, events), group="log", exclusive=True
            )

    def _write(self, job_id: int, events: "list[Event]") -> None:
        log = self.query_one(RichLog)
        for event in events:
            if job_id != self._log_of or event.id <= self._last_event:
                continue
            self._last_event = event.id
            line = Text(f"{event.time.astimezone():%H:%M:%S} ", "dim")
            colour = {"warning": "warning", "error": "error"}.get(event.level, "")
            line.append(plain(event.text), self.app.theme_variables.get(colour, "") if colour else "")
            log.write(line)

    # ── verbs ──

    def _chosen(self) -> "Job | None":
        """The job under the cursor; where there is none, that is said."""
        job = self.job
        if job is None:
            self.say("There is no job under the cursor.")
        return job

    def _do(self, verb: "Callable[[Store, int], Any]", words: str) -> None:
        job = self._chosen()
        if job is None:
            return
        queue = self.studio.queue
        self.attempt(lambda: verb(queue.store, job.id), lambda _: self.say(f"#{job.id}: {words}"))

    def action_cancel(self) -> None:
        """Ask, then cancel this job."""
        job = self._chosen()
        if job is None:
            return
        if job.state != "running":
            self._do(lambda store, number: store.cancel(number), "cancelled")
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._do(lambda store, number: store.cancel(number), "will stop after its step")

        self.app.push_screen(
            Confirm(f"Cancel #{job.id} {job.title}?", ["It is running; it stops after its step. Finished stages are kept."], "cancel it"),
            answered,
        )

    def action_retry(self) -> None:
        """Put the job back into the line."""
        job = self._chosen()
        if job is not None:
            queue = self.studio.queue
            self.attempt(lambda: queue.store.retry(job.id), lambda _: self.enqueued(f"#{job.id} is back in the line"))

    def action_pause(self) -> None:
        """Pause or resume."""
        job = self._chosen()
        if job is not None and (job.state == "paused" or job.request == "pause"):
            queue = self.studio.queue
            self.attempt(lambda: queue.store.resume(job.id), lambda _: self.enqueued(f"#{job.id} goes on"))
        elif job is not None:
            self._do(lambda store, number: store.pause(number), "pauses after its step" if job.state == "running" else "paused")

    def action_shift(self, by: int) -> None:
        """One place nearer to the front, or further back."""
        job = self.job
        line = [one.id for one in self.studio.snapshot.jobs if one.state in ("queued", "paused")]
        if job is None or job.id not in line:
            self.say("Only waiting jobs can be moved.")
            return
        place = line.index(job.id) + by
        if 0 <= place < len(line):
            self._do(lambda store, number: store.move(number, place), f"place {place + 1} of {len(line)}")

    def action_worker(self) -> None:
        """Start a worker where none is alive; else ask whether to stop it."""
        alive = [worker for worker in self.studio.snapshot.workers if worker.state != "dead"]
        workers = self.studio.queue.workers
        if not alive:
            device = self.studio.settings.device if self.studio.settings else "auto"
            self.say("Starting a worker …")
            self.attempt(lambda: workers.start(device), lambda _: self.say("A worker is there."), group="worker")
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.say("The worker ends after its step …")
                self.attempt(lambda: workers.stop(None), lambda _: self.say("The worker has ended."), group="worker")

        names = ", ".join(f"{worker.device} (pid {worker.pid}, {worker.state})" for worker in alive)
        self.app.push_screen(
            Confirm(f"Stop the worker on {names}?", ["It finishes its step and saves; its job goes back into the line."], "stop it"),
            answered,
        )

    def action_follow(self) -> None:
        """Follow the log's end, or not."""
        log = self.query_one(RichLog)
        log.auto_scroll = not log.auto_scroll
        self.say("The log follows its end." if log.auto_scroll else "The log stays where it is.")

    def action_clear(self) -> None:
        """Ask, then forget finished jobs."""
        done = sum(job.is_finished for job in self.studio.snapshot.jobs)
        if not done:
            self.say("No job has finished.")
            return
        queue = self.studio.queue

        def answered(yes: bool | None) -> None:
            if yes:
                self.attempt(queue.store.clear_finished, lambda count: self.say(f"{count} jobs were cleared away."))

        self.app.push_screen(
            Confirm(
                f"Clear {done} finished jobs away?", ["Their clips, masks and trainings stay; only their lines and logs go."], "clear them"
            ),
            answered,
        )

    def action_details(self) -> None:
        """Everything about the job, its traceback last."""
        job = self._chosen()
        if job is not None:
            from vcd_studio.tui.screens.dialogs.dialogs import Page
            from vcd_studio.tui.widgets.queue.details import details

            self.app.push_screen(Page(f"Job {job.id}", details(job, self.studio.snapshot.stages.get(job.id, ()))))
