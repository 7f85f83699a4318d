"""Identity: the photos with their masks, one of them large, and the training below."""

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Static
from textual.worker import get_current_worker

from vcd_studio.project.text import plain
from vcd_studio.tui.messages import Snapshot
from vcd_studio.tui.screens.base import StudioScreen
from vcd_studio.tui.screens.dialogs import identity_forms
from vcd_studio.tui.screens.dialogs.dialogs import Confirm
from vcd_studio.tui.widgets.identity.boxes import BoxPicking
from vcd_studio.tui.widgets.identity.reading import Seen, read_identity
from vcd_studio.tui.widgets.pictures.grid import PictureGrid, Tile
from vcd_studio.tui.widgets.pictures.picture import Picture
from vcd_studio.tui.widgets.pictures.source import MASK_STYLES, MaskStyle, Source
from vcd_studio.tui.widgets.training.panel import TrainingPanel
from vcd_studio.tui.widgets.training.runs import RunsView, SeenRun, about_run, as_planned, run_named

if TYPE_CHECKING:
    from vcd_studio.describer.reading import Description
    from vcd_studio.jobs.model import Job
    from vcd_studio.project.found_boxes import FoundBoxes, Pick
    from vcd_studio.project.identity import Identity, Photo
    from vcd_studio.project.project import Project

STATE_WORDS = {
    "automatic": "mask found automatically",
    "corrected": "mask corrected by hand",
    "whole": "the whole photo is used",
    "left-out": "left out of training",
}
NOTHING = "No identity yet.\n\n  n  adds one from a folder of photos of the same person, pet or thing"
NO_PROJECT = "No project is open.\n\n  1  shows the projects; there n begins one, Enter opens one"


class IdentityScreen(StudioScreen):
    """One identity of the open project."""

    MODE = "identity"
    HELP = """An identity: photos of one person, pet or thing, their masks, and the training of its ID tokens.
S finds all masks, s that of the photo under the cursor, t trains; w, x and u say how that photo is used; e draws its mask by hand.
r shows the training runs side by side, < and > go to another, U uses it; p pauses the training, c stops it.
Where several boxes were found, b goes through them, Space marks some, B makes the mask of those.
f changes noun and thresholds and segments again."""
    DEFAULT_CSS = """
    IdentityScreen #body { layout: vertical; }
    IdentityScreen #line { height: 1; padding: 0 1; background: $surface; text-wrap: nowrap; text-overflow: ellipsis; }
    IdentityScreen.-large #photos { width: 12; }
    IdentityScreen.-large TrainingPanel { display: none; }
    IdentityScreen #photos-row { height: 1fr; }
    IdentityScreen #photos { width: 3fr; height: 1fr; }
    IdentityScreen #side { width: 2fr; min-width: 40; height: 1fr; padding-left: 1; }
    IdentityScreen #large { width: 1fr; height: 1fr; }
    IdentityScreen #facts { height: auto; min-height: 2; max-height: 5; }
    IdentityScreen #nothing { display: none; padding: 1 3; height: 1fr; }
    IdentityScreen.-narrow TrainingPanel .-older { display: none; }
    IdentityScreen.-runs RunsView { display: block; }
    IdentityScreen.-runs #photos-row, IdentityScreen.-runs TrainingPanel #row { display: none; }
    IdentityScreen.-runs TrainingPanel { height: 1; display: block; }
    IdentityScreen.-empty #nothing { display: block; }
    IdentityScreen.-empty #photos-row, IdentityScreen.-empty TrainingPanel { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New", id="identity.new", tooltip="Add an identity from a folder of photos"),
        Binding("a", "add_photos", "Add photos", show=False, id="identity.add_photos", tooltip="Copy more photos into this identity"),
        Binding("s", "segment(False)", "Segment", id="identity.segment", tooltip="Find the mask of the photo under the cursor"),
        Binding("S", "segment(True)", "Segment all", id="identity.segment_all", tooltip="Find the masks of all photos on automatic"),
        Binding("t", "train", "Train", id="identity.train", tooltip="Train this identity's ID tokens"),
        Binding("T", "train_with", "Train with…", show=False, id="identity.train_with", tooltip="Train again with other settings"),
        Binding("r", "runs", "Runs", show=False, id="identity.runs", tooltip="The training runs side by side, and back to the photos"),
        Binding("less_than_sign", "run(-1)", "Run before", show=False, id="identity.run_before", tooltip="Show the training run before"),
        Binding("greater_than_sign", "run(1)", "Next run", show=False, id="identity.run_next", tooltip="Show the next training run"),
        Binding("U", "use_run", "Use this run", show=False, id="identity.use_run", tooltip="Let prompts use the training run shown"),
        Binding("p", "pause", "Pause", show=False, id="identity.pause", tooltip="Pause the training after its step, or go on with it"),
        Binding("c", "stop", "Stop", show=False, id="identity.stop", tooltip="Stop the training, or the segmenting, for good"),
        Binding("m", "mask", "Mask view", id="identity.mask", tooltip="Mask as outline, veil over the background, alone, or hidden"),
        Binding("e", "edit", "Edit mask", id="identity.edit", tooltip="Draw this photo's mask by hand"),
        Binding("b", "box", "Next box", show=False, id="identity.box", tooltip="Go through the boxes that were found in this photo"),
        Binding("space", "mark", "Mark box", show=False, id="identity.mark", tooltip="Mark this box, to make the mask of several"),
        Binding("B", "cut", "Mask of boxes", show=False, id="identity.cut", tooltip="Make the mask of the marked boxes, or of this one"),
        Binding("f", "find", "Find with…", show=False, id="identity.find", tooltip="Change noun and thresholds, and segment again"),
        Binding("M", "take_mask", "Take mask", show=False, id="identity.take_mask", tooltip="Take a mask drawn in another program"),
        Binding("w", "state('whole')", "Whole", id="identity.whole", tooltip="Use the whole photo, without a mask"),
        Binding("x", "state('left-out')", "Leave out", id="identity.leave_out", tooltip="Leave this photo out of training"),
        Binding("u", "state('automatic')", "Auto", id="identity.automatic", tooltip="Use the mask that segmenting finds"),
        Binding("N", "noun", "Noun", show=False, id="identity.noun", tooltip="Say what it is in other words, and whether a person agreed"),
        Binding("d", "describe", "Describe", show=False, id="identity.describe", tooltip="Ask the describer what the photos show"),
        Binding("left_square_bracket", "other(-1)", "Identity before", show=False, id="identity.before", tooltip="The identity before"),
        Binding("right_square_bracket", "other(1)", "Next identity", show=False, id="identity.next", tooltip="The next identity"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.seen = Seen()
        self.mask_style: MaskStyle = "outline"
        self.boxes = BoxPicking()
        self._run_name = ""
        self._job_states: tuple[object, ...] = ()

    def body(self) -> ComposeResult:
        with Vertical(id="body"):
            yield Static(markup=False, id="line")
            with Horizontal(id="photos-row"):
                yield PictureGrid((12, 5), noun="photo", empty="no photos: a adds some", id="photos")
                with Vertical(id="side"):
                    yield Picture(id="large")
                    yield Static(markup=False, id="facts")
            yield Static(NO_PROJECT, markup=False, id="nothing")
            yield RunsView()
            yield TrainingPanel()

    def on_mount(self) -> None:
        """The large photo follows the cursor among the small ones."""
        super().on_mount()
        self.watch(self.query_one("#photos", PictureGrid), "current", self._another_photo, init=False)

    # ── reading and showing ──

    def project_changed(self) -> None:
        """Read the identity again."""
        project, wanted = self.project, self.studio.identity_name
        if project is None:
            self._show(Seen())
        else:
            self.attempt(lambda: read_identity(project, wanted), self._show, group="read", exclusive=True)

    def queue_changed(self, snapshot: Snapshot) -> None:
        """Show the job's progress; a step or a finished stage may mean new masks, losses and previews."""
        job = self._job(snapshot)
        stages = snapshot.stages.get(job.id, ()) if job else ()
        self.query_one(TrainingPanel).show_job(job, stages, self._otherwise())
        states = (job.id, job.state, *((stage.state, stage.step, stage.preview) for stage in stages)) if job else ()
        if states != self._job_states:
            self._job_states = states
            self.project_changed()

    def _job(self, snapshot: Snapshot) -> "Job | None":
        """The newest segmenting or training job of the identity shown; one that runs goes first."""
        identity = self.seen.identity
        if self.project is None or identity is None:
            return None
        mine = [
            job
            for job in snapshot.of_project(self.project.path)
            if job.kind in ("segment", "train") and job.settings.get("identity") == identity.name
        ]
        return min(mine, key=lambda job: (job.state != "running", -job.id), default=None)

    def _otherwise(self) -> str:
        seen = self.seen
        if seen.identity is None:
            return ""
        if seen.identity.consent is False:
            return f"{plain(seen.identity.name)} did not agree: nothing is trained or made; N gives another answer"
        if (shown := self.shown_run) is not None:
            return about_run(shown, seen.used, seen.identity.token)
        if not any(photo.has_mask for photo in seen.photos):
            return "S finds the masks, t trains"
        return "t trains"

    @property
    def shown_run(self) -> SeenRun | None:
        """The run whose curves are shown: the one that < and > went to, else the newest."""
        return run_named(self._run_name, self.runs)

    @property
    def runs(self) -> tuple[SeenRun, ...]:
        """All runs, oldest first; one that is not finished has the steps and settings that its job says."""
        return as_planned(self.seen.runs, self.studio.snapshot.jobs)

    def _show(self, seen: Seen) -> None:
        changed = (self.seen.identity.name if self.seen.identity else "") != (seen.identity.name if seen.identity else "")
        self.seen = seen
        if changed:
            self._run_name = ""
        self.set_class(seen.identity is None, "-empty")
        self.query_one("#nothing", Static).update(
            Text(plain(seen.problem, lines=True) if seen.problem else NOTHING if self.project else NO_PROJECT)
        )
        self._show_line()
        self._show_tiles()
        panel = self.query_one(TrainingPanel)
        self._show_runs()
        if seen.identity is not None:
            self.studio.identity_name = seen.identity.name
            if changed:
                self._focus()
        job = self._job(self.studio.snapshot)
        panel.show_job(job, self.studio.snapshot.stages.get(job.id, ()) if job else (), self._otherwise())

    def _show_line(self) -> None:
        seen, line = self.seen, Text(no_wrap=True, overflow="ellipsis")
        identity = seen.identity
        if identity is not None:
            masks = sum(photo.has_mask for photo in seen.photos)
            place = f" ({seen.names.index(identity.name) + 1} of {len(seen.names)}, [ ] turn)" if len(seen.names) > 1 else ""
            line.append(plain(identity.name), "bold")
            answer = {None: "", True: " (agreed)", False: " (did not agree)"}[identity.consent]
            line.append(f"{place} · {plain(identity.noun)}{answer} · {plain(identity.token)} · {len(seen.photos)} photos, {masks} masks · ")
            line.append(plain(seen.used) if seen.used else "not trained")
        self.query_one("#line", Static).update(line)

    def _show_tiles(self) -> None:
        marks = {"automatic": "·", "corrected": "*", "whole": "□", "left-out": "×"}
        tiles = []
        for photo in self.seen.photos:
            mark = marks[photo.state]
            if photo.state == "automatic" and photo.has_mask:
                mark = "!" if photo.name in self.seen.found and self.seen.found[photo.name].warnings else "✓"
            tiles.append(Tile(photo.name, self._source(photo), photo.name, mark, "dim" if photo.state == "left-out" else ""))
        self.query_one("#photos", PictureGrid).fill(tiles)
        self._show_large()

    def _source(self, photo: "Photo") -> Source:
        masked = photo.has_mask and photo.state in ("automatic", "corrected")
        return Source(photo.path, photo.mask_path if masked else None, self.mask_style if masked else "none")

    @property
    def photo(self) -> "Photo | None":
        """The photo under the cursor."""
        tile = self.query_one("#photos", PictureGrid).current
        return next((photo for photo in self.seen.photos if tile and photo.name == tile.key), None)

    def to_copy(self) -> str:
        """The path of the photo under the cursor; of the run shown, where the runs are."""
        shown, photo = self.shown_run, self.photo
        if self.has_class("-runs") and shown is not None:
            return str(shown.run.folder)
        return str(photo.path) if photo else ""

    def _show_large(self) -> None:
        photo = self.photo
        self.query_one("#large", Picture).show(replace(self._source(photo), boxes=self.boxes.shown(self.found)) if photo else None, "")
        facts = Text(overflow="ellipsis")
        if photo:
            masked = photo.state != "automatic" or photo.has_mask
            words = STATE_WORDS[photo.state] if masked else "no mask yet: s finds it, e draws it, w does without"
            facts.append(f"{plain(photo.name)}\n", "bold").append(words)
            if photo.has_mask and photo.state in ("automatic", "corrected"):
                facts.append(f" · shown: {self.mask_style} (m)", "dim")
        if self.found is not None:
            facts.append(self.boxes.words(self.found))
        self.query_one("#facts", Static).update(facts)

    # ── boxes ──

    @property
    def found(self) -> "FoundBoxes | None":
        """What grounding saw in the photo under the cursor, unless its mask is not made of that."""
        photo = self.photo
        return self.seen.found.get(photo.name) if photo is not None and photo.state == "automatic" else None

    def action_box(self) -> None:
        """The next box of this photo."""
        found = self.found
        if found is None or not found.box:
            self.say("No boxes are known of this photo: s looks for them.")
            return
        self.boxes.next(found)
        self._show_large()

    def action_mark(self) -> None:
        """This box is one of those that the mask will be made of, or is no longer."""
        if self.boxes.cursor is None:
            self.action_box()
        else:
            self.boxes.mark()
            self._show_large()

    def action_cut(self) -> None:
        """Enqueue the mask of the marked boxes."""
        if pick := self.boxes.picked:
            self._segment(self.photo, pick)
        else:
            self.say("b goes to a box, Space marks several; then B makes the mask of them.")

    # ── runs ──

    def _show_runs(self) -> None:
        shown = self.shown_run
        self.query_one(TrainingPanel).show_run(shown)
        if shown is None:
            self.remove_class("-runs")
        elif self.has_class("-runs"):
            self.query_one(RunsView).show(self.runs, self.seen.used, shown.name)

    def _focus(self) -> None:
        """The keys go to the photos, or to the previews of the shown run."""
        grid = self.query("RunColumn.-shown PictureGrid") if self.has_class("-runs") else self.query("#photos")
        if grid:
            grid.first().focus()

    def action_runs(self) -> None:
        """The runs side by side in place of the photos, and back."""
        if not self.seen.runs:
            self.say("Nothing is trained yet: t trains.")
            return
        self.toggle_class("-runs")
        self._show_runs()
        self.call_after_refresh(self._focus)

    def action_run(self, by: int) -> None:
        """Show the run before or the next one."""
        shown, runs = self.shown_run, self.runs
        if shown is None:
            self.say("Nothing is trained yet: t trains.")
            return
        self._run_name = runs[(runs.index(shown) + by) % len(runs)].name
        self._show_runs()
        self._focus()
        self.queue_changed(self.studio.snapshot)

    def action_use_run(self) -> None:
        """Prompts use the shown run from now on."""
        identity, shown = self.seen.identity, self.shown_run
        if identity is None or shown is None:
            self.say("Nothing is trained yet: t trains.")
            return

        def done(_: object) -> None:
            self.say(f"Prompts that name {identity.token} use {shown.name} from now on; queued clips keep theirs.")
            self.project_changed()

        self.attempt(lambda: identity.use_run(shown.name), done, group="use")

    # ── the job at work ──

    def _open_job(self) -> "Job | None":
        job = self._job(self.studio.snapshot)
        if job is None or job.is_finished:
            self.say("Nothing of this identity is waiting or running: t trains.")
            return None
        return job

    def action_pause(self) -> None:
        """Pause the training after its step, or go on with it."""
        if (job := self._open_job()) is None:
            return
        store = self.studio.queue.store
        if job.state == "paused" or job.request == "pause":
            self.attempt(lambda: store.resume(job.id), lambda _: self.enqueued(f"#{job.id} goes on"))
        else:
            words = "pauses after its step; p goes on" if job.state == "running" else "is paused; p goes on"
            self.attempt(lambda: store.pause(job.id), lambda _: self.say(f"#{job.id} {words}"))

    def action_stop(self) -> None:
        """Ask, then stop the training for good."""
        if (job := self._open_job()) is None:
            return
        store = self.studio.queue.store

        def answered(yes: bool | None) -> None:
            if yes:
                told = f"#{job.id} is stopped; r on the queue screen takes it up again."
                self.attempt(lambda: store.cancel(job.id), lambda _: self.say(told))

        kept = "What it has learnt so far stays in its folder."
        self.app.push_screen(Confirm(f"Stop #{job.id} {job.title}?", [kept], "stop it"), answered)

    def on_picture_grid_opened(self, message: PictureGrid.Opened) -> None:
        """The photo takes the room of the training, and gives it back."""
        if message.grid.id == "photos":
            self.toggle_class("-large")

    def _another_photo(self) -> None:
        self.boxes.forget()
        self._show_large()

    # ── verbs ──

    def _identity(self) -> "tuple[Project, Identity] | None":
        if self.project is None:
            self.say("Open a project first: 1 shows them.")
        elif self.seen.identity is None:
            self.say("Add an identity first: n does it.")
        else:
            return self.project, self.seen.identity
        return None

    def action_mask(self) -> None:
        """The next way to show masks."""
        self.mask_style = MASK_STYLES[(MASK_STYLES.index(self.mask_style) + 1) % len(MASK_STYLES)]
        self._show_tiles()

    def action_state(self, state: str) -> None:
        """How the photo under the cursor is used."""
        identity, photo = self.seen.identity, self.photo
        if identity is not None and photo is not None:
            self.attempt(lambda: identity.set_mask_state(photo.name, state), lambda _: self.project_changed(), group="state")

    def action_other(self, by: int) -> None:
        """Another identity of this project."""
        names = self.seen.names
        if self.seen.identity is not None and len(names) > 1:
            self.studio.identity_name = names[(names.index(self.seen.identity.name) + by) % len(names)]
            self.project_changed()

    def action_segment(self, everything: bool) -> None:
        """Enqueue the segmenting of all photos on automatic, or of the one under the cursor."""
        if everything or self.photo is not None:
            self._segment(None if everything else self.photo)

    def _segment(self, photo: "Photo | None", pick: "Pick" = "best") -> None:
        if (found := self._identity()) is not None:
            from vcd_studio.jobs.enqueue import enqueue_segment
            from vcd_studio.jobs.needed import need_pack

            project, name = found[0], found[1].name
            queue = self.studio.queue

            def work() -> str:
                need_pack(project.pack)
                job = enqueue_segment(queue.store, project, name, photo=photo.name if photo else None, pick=pick)
                return f"Enqueued: {job.title}"

            self.boxes.forget()
            self.attempt(work, self.enqueued)

    def action_find(self) -> None:
        """Ask for noun and thresholds, keep them, and segment again."""
        if (found := self._identity()) is None:
            return
        identity, photo = found[1], self.photo

        def done(which: str | None) -> None:
            if which is not None:
                self.project_changed()
                self._segment(photo if which == "this photo" else None)

        self.app.push_screen(identity_forms.finding(identity), done)

    def action_edit(self) -> None:
        """Draw the mask of the photo under the cursor."""
        identity, photo = self.seen.identity, self.photo
        if identity is None or photo is None:
            return
        if self.studio.terminal.graphics == "off":
            self.say("Pictures are off here; draw the mask in another program, and M takes it.")
            return
        from vcd_studio.tui.screens.mask_editor import MaskEditor

        self.app.push_screen(MaskEditor(identity, photo), lambda _: self.project_changed())

    def action_take_mask(self) -> None:
        """Ask for a mask file, and keep a copy of it as this photo's mask."""
        identity, photo = self.seen.identity, self.photo
        if identity is not None and photo is not None:
            self.app.push_screen(identity_forms.mask_file(identity, photo), lambda done: self.project_changed() if done else None)

    def action_train(self) -> None:
        """Enqueue a training with the identity's own settings."""
        self._train({})

    def _train(self, overrides: dict[str, object]) -> None:
        if (found := self._identity()) is not None:
            from vcd_studio.jobs.enqueue import enqueue_train
            from vcd_studio.jobs.needed import need_pack
            from vcd_studio.project.identity import check_agreed

            project, name = found[0], found[1].name
            queue = self.studio.queue

            def work() -> str:
                identity = project.identity(name)  # as the file says now: an answer may have been written there meanwhile
                unanswered = check_agreed([identity])
                need_pack(project.pack, training=True)
                title = enqueue_train(queue.store, project, identity, overrides).title
                return f"Nobody said whether {name} agreed (N does) · enqueued: {title}" if unanswered else f"Enqueued: {title}"

            self.attempt(work, self.enqueued)

    def action_train_with(self) -> None:
        """Ask for other settings, then train."""
        if (found := self._identity()) is None:
            return
        training, shown = found[1].training, self.shown_run
        before = shown.settings if shown is not None else {}
        form = identity_forms.training_settings(training, before)
        self.app.push_screen(form, lambda values: self._train(values) if values else None)

    def action_noun(self) -> None:
        """Ask for another noun."""
        if (found := self._identity()) is not None:
            self._ask_noun(found[1], found[1].noun)

    def _ask_noun(self, identity: "Identity", noun: str, note: str = "") -> None:
        form = identity_forms.noun_of(identity, noun, note)
        self.app.push_screen(form, lambda done: self.project_changed() if done else None)

    def action_describe(self) -> None:
        """Ask the describer what the photos show; its noun is offered, not written."""
        if (found := self._identity()) is None or (describer := self.describer) is None:
            return
        identity = found[1]

        def work() -> "Description":
            from vcd_studio.describer.questions import describe_identity

            worker = get_current_worker()
            return describe_identity(describer, identity, lambda: worker.is_cancelled)

        self.say(f"The describer is asked what {identity.name} is …")
        self.attempt(work, lambda said: self._described(identity, said), group="describe", exclusive=True)

    def _described(self, identity: "Identity", said: "Description") -> None:
        """Offer the noun, unless another identity or screen is looked at by now."""
        words = said.noun + (f" (class {said.coco_class})" if said.coco_class not in ("", said.noun) else "")
        shown = self.seen.identity
        if self.app.screen is self and shown is not None and shown.name == identity.name:
            self.say("")
            self._ask_noun(shown, said.noun, f"The describer says: {words}. {said.line}")
        else:
            self.say(f"The describer says {identity.name} is: {words}")

    def action_new(self) -> None:
        """Ask for photos, name and noun, and add the identity."""
        project = self.project
        if project is None:
            self.say("Open a project first: 1 shows them.")
            return
        self.app.push_screen(identity_forms.new_identity(project), self._added)

    def _added(self, identity: "Identity | None") -> None:
        if identity is not None:
            self.studio.identity_name = identity.name
            self.say(f"{identity.name} is added: S finds the masks, t trains.")
            self.project_changed()

    def action_add_photos(self) -> None:
        """Ask for a folder and copy its photos into this identity."""
        if (found := self._identity()) is None:
            return
        project, identity = found

        def done(added: int | None) -> None:
            if added is not None:
                self.say(f"{added} photos were added." if added != 1 else "One photo was added.")
                self.project_changed()

        self.app.push_screen(identity_forms.more_photos(project, identity), done)
