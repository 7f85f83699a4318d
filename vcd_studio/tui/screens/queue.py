"""Queue: batches, their jobs and stages, the log of the job under the cursor, and what its running step looks like."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from vcd_studio.project.text import plain
from vcd_studio.tui.messages import CardsRead, Snapshot
from vcd_studio.tui.meter import read_on
from vcd_studio.tui.screens.base import StudioScreen
from vcd_studio.tui.screens.dialogs.dialogs import Confirm
from vcd_studio.tui.widgets.chrome.bars import clock, rate
from vcd_studio.tui.widgets.chrome.filter import FilterLine
from vcd_studio.tui.widgets.pictures.picture import Picture
from vcd_studio.tui.widgets.pictures.source import Source
from vcd_studio.tui.widgets.queue.groups import batch_sizes, grouped
from vcd_studio.tui.widgets.queue.log import JobLog, LogPane
from vcd_studio.tui.widgets.queue.meter import DeviceMeter
from vcd_studio.tui.widgets.queue.tree import JobTree

if TYPE_CHECKING:
    from vcd_studio.devices import Reading
    from vcd_studio.jobs.batches import Verb
    from vcd_studio.jobs.forking import Fork
    from vcd_studio.jobs.model import Event, Job
    from vcd_studio.jobs.store import Store

LINES = 500  # of a log, read at once
OPENED = 40  # jobs that a filter finds, at most, for their batches to open by themselves
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
    QueueScreen #preview { width: 24; height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "unfilter", "Show all", id="queue.unfilter", tooltip="Take the filter away"),
        Binding("c", "cancel", "Cancel", id="queue.cancel", tooltip="Cancel this job or batch, and no other"),
        Binding("r", "retry", "Retry", id="queue.retry", tooltip="Put failed, cancelled or set-aside jobs back; finished stages stay"),
        Binding("p", "pause", "Pause", id="queue.pause", tooltip="Pause this job or batch after its step, or resume it"),
        Binding("t", "now", "Next", id="queue.now", tooltip="Run this job or batch next; what runs is not disturbed"),
        Binding("K,ctrl+up", "shift(-1)", "Sooner", id="queue.sooner", tooltip="One place nearer to the front"),
        Binding("J,ctrl+down", "shift(1)", "Later", id="queue.later", tooltip="One place further back"),
        Binding("plus", "priority(1)", "Higher", show=False, id="queue.higher", tooltip="A higher priority: before all of a lower one"),
        Binding("minus", "priority(-1)", "Lower", show=False, id="queue.lower", tooltip="A lower priority: after all of a higher one"),
        Binding("F", "fork", "Fork", show=False, id="queue.fork", tooltip="This clip again from any stage on, with other settings"),
        Binding("g", "worker", "Worker", id="queue.worker", tooltip="Start a worker, or stop it after its step"),
        Binding("slash", "filter", "Filter", id="queue.filter", tooltip="Only jobs whose title, project, batch or state holds these words"),
        Binding(
            "d", "details", "Details", show=False, id="queue.details", tooltip="All about this job: settings, result, error and traceback"
        ),
        Binding("f", "follow", "Follow", show=False, id="queue.follow", tooltip="To the end of the log, which is followed from then on"),
        Binding("X", "clear", "Clear finished", show=False, id="queue.clear", tooltip="Forget finished jobs; what they made stays"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._log_of: int | None = None
        self._last_event = 0
        self._log_is_new = False  # the lines of the job before still stand there
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
                yield LogPane()
                yield Picture(id="preview")

    def on_mount(self) -> None:
        """The tree has the keys; the cards are read from now on."""
        super().on_mount()
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
            found = tuple(job for job in found if line.matches(*_searched(job)))
        line.found(len(found), len(snapshot.jobs))
        shown = grouped(found, batch_sizes(snapshot.jobs))
        tree.show(shown, snapshot, opened=bool(line.words.strip()) and len(found) <= OPENED)
        more, hidden = self.query_one("#more", Static), len(found) - sum(len(group.jobs) for group in shown)
        more.display = hidden > 0
        more.update(f"… and {hidden} more, waiting or ended before these; / finds them")
        if tree.job is not None or not found:  # else the cursor is on its way, and says where it comes to
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
        """The job under the cursor; of a batch the first."""
        wanted = self.query_one(JobTree).job
        return next((job for job in self.studio.snapshot.jobs if job.id == wanted), None)

    @property
    def jobs(self) -> "list[Job]":
        """All jobs that the line under the cursor stands for."""
        wanted = set(self.query_one(JobTree).jobs)
        return [job for job in self.studio.snapshot.jobs if job.id in wanted]

    def to_copy(self) -> str:
        """What came of the job under the cursor: its error, or the folder it made; else its title."""
        job = self.job
        if job is None:
            return ""
        made = next((str(job.result[key]) for key in ("clip", "run", "report") if key in job.result), "")
        return job.error or made or job.title

    def _show_job(self, job_id: int | None) -> None:
        if job_id != self._log_of:
            self._log_of, self._last_event, self._log_is_new = job_id, 0, True
        job = next((job for job in self.studio.snapshot.jobs if job.id == job_id), None)
        stages = self.studio.snapshot.stages.get(job_id, ()) if job_id is not None else ()
        preview = next((stage.preview for stage in reversed(stages) if stage.preview), None)
        self.query_one("#preview", Picture).show(Source(Path(preview)) if preview else None, "no preview" if job else "")
        title = Text(no_wrap=True, overflow="ellipsis")
        if job is not None:
            title.append(f"Log of #{job.id} {plain(job.title)}", "bold")
            if running := next((stage for stage in stages if stage.state == "running"), None):
                words = [f"{running.name} {running.step}/{running.steps}", rate(running)]
                words += [f"ETA {clock(running.eta)}"] if running.eta is not None else []
                title.append("".join(f" · {word}" for word in words if word))
            if job.error:
                title.append(f" · {plain(job.error)} · d details", self.app.theme_variables.get("error", ""))
        self.query_one("#title", Static).update(title, layout=False)
        if job_id is None and self._log_is_new:
            self._write(None, [])
        elif job_id is not None:
            after = self._last_event
            queue = self.studio.queue
            self.attempt(
                lambda: queue.store.events(job_id, after, LINES), lambda events: self._write(job_id, events), group="log", exclusive=True
            )

    def _write(self, job_id: int | None, events: "list[Event]") -> None:
        if job_id == self._log_of and self._log_is_new:  # only now: one layout for the old lines' going and the new ones' coming
            self._log_is_new = False
            self.query_one(JobLog).clear()
        lines = []
        for event in events:
            if job_id != self._log_of or event.id <= self._last_event:
                continue
            self._last_event = event.id
            line = Text().append(f"{event.time.astimezone():%H:%M:%S} ", "dim")
            colour = {"warning": "warning", "error": "error"}.get(event.level, "")
            line.append(plain(event.text), self.app.theme_variables.get(colour, "") if colour else "")
            lines.append(line)
        self.query_one(JobLog).add(lines)

    def on_log_pane_said(self, message: LogPane.Said) -> None:
        """For the status line."""
        self.say(message.words)

    # ── verbs ──

    def _chosen(self, verb: "Verb") -> "list[Job]":
        """What a verb is to be done to: the job under the cursor, or those of the batch that it fits. Where there is none, that is said."""
        from vcd_studio.jobs.batches import fitting

        jobs = self.jobs
        if not jobs:
            self.say("There is no job under the cursor.")
        elif len(jobs) > 1 and not (jobs := fitting(jobs, verb)):
            self.say(f"Nothing here to {verb}.")
        return jobs

    def _do(self, verb: "Callable[[Store], list[Job]]", words: str, *, wanting: bool = False) -> None:
        """On a thread; `wanting`: see to it that a worker is there for what the verb has put into the line."""
        queue = self.studio.queue

        def then(done: "list[Job]") -> None:
            said = f"{_named(done)}: {words}"
            self.enqueued(said, {job.device for job in done}) if wanting else self.say(said)

        self.attempt(lambda: verb(queue.store), then)

    def action_cancel(self) -> None:
        """Cancel a job that waits; ask first where it runs, or where there are several."""
        if not (jobs := self._chosen("cancel")):
            return
        numbers, running = [job.id for job in jobs], sum(job.state == "running" for job in jobs)
        words = "cancelled" if not running else "cancelled; what runs stops after its step" if len(jobs) > 1 else "will stop after its step"

        def answered(yes: bool | None) -> None:
            if yes:
                self._do(lambda store: store.each(store.cancel, numbers), words)

        if len(jobs) == 1 and not running:
            answered(True)
            return
        if len(jobs) == 1:
            question = f"Cancel #{jobs[0].id} {jobs[0].title}?"
            lines = ["It is running; it stops after its step. Finished stages are kept."]
        else:
            question = f"Cancel {len(jobs)} jobs?"
            lines = [str(jobs[0].settings.get("written", jobs[0].title))]
            lines += [f"{running} running: stopped after the step. Finished stages are kept."] if running else []
            lines += [f"{len(self.jobs) - len(jobs)} of the batch have ended, and stay as they are."] if len(self.jobs) > len(jobs) else []
        self.app.push_screen(Confirm(question, lines, "cancel it" if len(jobs) == 1 else "cancel them"), answered)

    def action_retry(self) -> None:
        """Put jobs back into the line."""
        if numbers := [job.id for job in self._chosen("retry")]:
            self._do(lambda store: store.each(store.retry, numbers), "back in the line", wanting=True)

    def action_pause(self) -> None:
        """Pause; where there is nothing to pause any more, resume."""
        from vcd_studio.jobs.batches import fitting

        resumed = [job.id for job in fitting(self.jobs, "resume")]
        if resumed and not fitting(self.jobs, "pause"):
            self._do(lambda store: store.each(store.resume, resumed), "in the line again", wanting=True)
        elif jobs := self._chosen("pause"):
            numbers = [job.id for job in jobs]
            running = any(job.state == "running" for job in jobs)
            self._do(lambda store: store.each(store.pause, numbers), "pauses after its step" if running else "paused")

    def action_now(self) -> None:
        """To the front of the line."""
        if numbers := [job.id for job in self._chosen("move")]:

            def run_next(store: "Store") -> "list[Job]":
                from vcd_studio.jobs.batches import run_now

                return run_now(store, numbers)

            self._do(run_next, "next to run", wanting=True)

    def action_priority(self, by: int) -> None:
        """Higher or lower than it was."""
        if numbers := [job.id for job in self._chosen("priority")]:

            def change(store: "Store") -> "list[Job]":
                return store.each(lambda number: store.set_priority(number, store.job(number).priority + by), numbers)

            self._do(change, "a higher priority" if by > 0 else "a lower priority")

    def action_shift(self, by: int) -> None:
        """Past the line before, or after: a job of an open batch past one job, anything else past a job or batch."""
        from vcd_studio.jobs.batches import fitting, shift

        numbers, line, queue = [job.id for job in fitting(self.jobs, "move")], self.query_one(JobTree).line, self.studio.queue
        whole = line.batch is None or line.job is None
        end = "It is the first of the line." if by < 0 else "It is the last of the line."

        def told(moved: "list[Job]") -> None:
            self.say(f"{_named(moved)}: {'sooner' if by < 0 else 'later'}" if moved else end)

        if numbers:
            self.attempt(lambda: shift(queue.store, numbers, by, whole_batches=whole), told)
        else:
            self.say("Only waiting jobs can be moved.")

    def action_fork(self) -> None:
        """Ask for the stage, the settings and the seed; then, with the cost, whether to enqueue it."""
        from vcd_studio.tui.screens.dialogs.fork import ForkClip, confirm_fork

        job, queue = self.job, self.studio.queue
        if job is None or job.kind != "generate":
            self.say("There is no clip under the cursor.")
            return

        def planned(fork: "Fork | None") -> None:
            if fork is not None:
                self.app.push_screen(confirm_fork(fork), lambda yes: enqueue(fork) if yes else None)

        def enqueue(fork: "Fork") -> None:
            from vcd_studio.jobs.forking import enqueue_fork

            self.attempt(lambda: enqueue_fork(queue.store, fork), lambda made: self.enqueued(f"Enqueued: {made.title}"))

        self.app.push_screen(ForkClip(queue.store, job), planned)

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
        """To the log's end."""
        self.query_one(JobLog).to_end()

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
        if (job := self.job) is None:
            self.say("There is no job under the cursor.")
        else:
            from vcd_studio.tui.screens.dialogs.dialogs import Page
            from vcd_studio.tui.widgets.queue.details import details

            self.app.push_screen(Page(f"Job {job.id}", details(job, self.studio.snapshot.stages.get(job.id, ()))))


def _searched(job: "Job") -> tuple[object, ...]:
    """Where the words of a filter are looked for."""
    return f"#{job.id}", job.kind, job.state, job.title, job.project.name, job.batch or ""


def _named(jobs: "list[Job]") -> str:
    return f"#{jobs[0].id}" if len(jobs) == 1 else f"{len(jobs)} jobs"
