"""Identity: the photos with their masks, one of them large, and the training below."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Static
from textual.worker import get_current_worker

from vcd_studio.project.errors import InputError
from vcd_studio.project.text import plain
from vcd_studio.tui.messages import Snapshot
from vcd_studio.tui.screens.base import StudioScreen
from vcd_studio.tui.screens.dialogs.form import Field, Form, Values
from vcd_studio.tui.widgets.pictures.grid import PictureGrid, Tile
from vcd_studio.tui.widgets.pictures.picture import Picture
from vcd_studio.tui.widgets.pictures.source import MASK_STYLES, MaskStyle, Source
from vcd_studio.tui.widgets.training.curve import read_losses
from vcd_studio.tui.widgets.training.panel import TrainingPanel

if TYPE_CHECKING:
    from vcd_studio.describer.reading import Description
    from vcd_studio.jobs.model import Job
    from vcd_studio.project.identity import Identity, Photo, Run
    from vcd_studio.project.project import Project

STATE_WORDS = {
    "automatic": "mask found automatically",
    "corrected": "mask corrected by hand",
    "whole": "the whole photo is used",
    "left-out": "left out of training",
}
CONSENT = {"not asked": None, "yes, agreed": True, "no": False}
NOTHING = "No identity yet.\n\n  n  adds one from a folder of photos of the same person, pet or thing"
NO_PROJECT = "No project is open.\n\n  1  shows the projects; there n begins one, Enter opens one"


@dataclass(frozen=True)
class Seen:
    """What was read of one identity; `problem` says why there is none."""

    names: tuple[str, ...] = ()
    identity: "Identity | None" = None
    photos: "tuple[Photo, ...]" = ()
    run: "Run | None" = None
    runs: int = 0
    losses: list[tuple[int, float]] = field(default_factory=list)
    steps: int = 0
    problem: str = ""


def read(project: "Project", wanted: str) -> Seen:
    """Read one identity (the first one unless `wanted` is there) with its newest run. Call it on a thread."""
    names = tuple(project.identity_names())
    if not names:
        return Seen()
    name = wanted if wanted in names else names[0]
    try:
        identity = project.identity(name)
        runs = identity.runs()
        run = runs[-1] if runs else None
        losses = read_losses(run.loss_path) if run and run.loss_path.is_file() else []
        steps = losses[-1][0] if run and run.finished and losses else identity.training.steps
        return Seen(names, identity, tuple(identity.photos()), run, len(runs), losses, steps)
    except (InputError, OSError) as error:
        return Seen(names, problem=str(error))


class IdentityScreen(StudioScreen):
    """One identity of the open project."""

    MODE = "identity"
    HELP = """An identity: photos of one person, pet or thing, their masks, and the training of its ID tokens.
s finds the masks, t trains; w, x and u say how the photo under the cursor is used; m shows the mask as outline, veil, alone, or not."""
    DEFAULT_CSS = """
    IdentityScreen #body { layout: vertical; }
    IdentityScreen #line { height: 1; padding: 0 1; background: $surface; text-wrap: nowrap; text-overflow: ellipsis; }
    IdentityScreen.-large PictureGrid { width: 12; }
    IdentityScreen.-large TrainingPanel { display: none; }
    IdentityScreen #photos-row { height: 1fr; }
    IdentityScreen PictureGrid { width: 3fr; height: 1fr; }
    IdentityScreen #side { width: 2fr; min-width: 40; height: 1fr; padding-left: 1; }
    IdentityScreen #large { width: 1fr; height: 1fr; }
    IdentityScreen #facts { height: 2; }
    IdentityScreen #nothing { display: none; padding: 1 3; height: 1fr; }
    IdentityScreen.-empty #nothing { display: block; }
    IdentityScreen.-empty #photos-row, IdentityScreen.-empty TrainingPanel { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New", id="identity.new", tooltip="Add an identity from a folder of photos"),
        Binding("a", "add_photos", "Add photos", show=False, id="identity.add_photos", tooltip="Copy more photos into this identity"),
        Binding("s", "segment", "Segment", id="identity.segment", tooltip="Find the masks of all photos that are on automatic"),
        Binding("t", "train", "Train", id="identity.train", tooltip="Train this identity's ID tokens"),
        Binding("T", "train_with", "Train with…", show=False, id="identity.train_with", tooltip="Train with other steps, rate or tokens"),
        Binding("m", "mask", "Mask view", id="identity.mask", tooltip="Mask as outline, veil over the background, alone, or hidden"),
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
        self._job_states: tuple[object, ...] = ()

    def body(self) -> ComposeResult:
        with Vertical(id="body"):
            yield Static(markup=False, id="line")
            with Horizontal(id="photos-row"):
                yield PictureGrid((12, 5), noun="photo", empty="no photos: a adds some")
                with Vertical(id="side"):
                    yield Picture(id="large")
                    yield Static(markup=False, id="facts")
            yield Static(NO_PROJECT, markup=False, id="nothing")
            yield TrainingPanel()

    # ── reading and showing ──

    def project_changed(self) -> None:
        """Read the identity again."""
        project, wanted = self.project, self.studio.identity_name
        if project is None:
            self._show(Seen())
        else:
            self.attempt(lambda: read(project, wanted), self._show, group="read", exclusive=True)

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
        if seen.run is not None:
            return (
                f"{seen.run.name} is trained: prompts may name {plain(seen.identity.token)}"
                if seen.run.finished
                else f"{seen.run.name} is not finished"
            )
        if not any(photo.has_mask for photo in seen.photos):
            return "s finds the masks, t trains"
        return "t trains"

    def _show(self, seen: Seen) -> None:
        changed = (self.seen.identity.name if self.seen.identity else "") != (seen.identity.name if seen.identity else "")
        self.seen = seen
        self.set_class(seen.identity is None, "-empty")
        self.query_one("#nothing", Static).update(
            Text(plain(seen.problem, lines=True) if seen.problem else NOTHING if self.project else NO_PROJECT)
        )
        self._show_line()
        self._show_tiles()
        panel = self.query_one(TrainingPanel)
        panel.show_run(seen.run, seen.losses, seen.steps)
        if seen.identity is not None:
            self.studio.identity_name = seen.identity.name
            if changed:
                self.query_one(PictureGrid).focus()
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
            line.append(f"{seen.run.name}" if seen.run else "not trained")
        self.query_one("#line", Static).update(line)

    def _show_tiles(self) -> None:
        marks = {"automatic": "·", "corrected": "*", "whole": "□", "left-out": "×"}
        tiles = []
        for photo in self.seen.photos:
            mark = "✓" if photo.state == "automatic" and photo.has_mask else marks[photo.state]
            tiles.append(Tile(photo.name, self._source(photo), photo.name, mark, "dim" if photo.state == "left-out" else ""))
        self.query_one(PictureGrid).fill(tiles)
        self._show_large()

    def _source(self, photo: "Photo") -> Source:
        masked = photo.has_mask and photo.state in ("automatic", "corrected")
        return Source(photo.path, photo.mask_path if masked else None, self.mask_style if masked else "none")

    @property
    def photo(self) -> "Photo | None":
        """The photo under the cursor."""
        tile = self.query_one(PictureGrid).current
        return next((photo for photo in self.seen.photos if tile and photo.name == tile.key), None)

    def _show_large(self) -> None:
        photo = self.photo
        self.query_one("#large", Picture).show(self._source(photo) if photo else None, "")
        facts = Text(overflow="ellipsis")
        if photo:
            words = STATE_WORDS[photo.state] if photo.state != "automatic" or photo.has_mask else "no mask yet: s finds it, w does without"
            facts.append(f"{plain(photo.name)}\n", "bold").append(words)
            if photo.has_mask and photo.state in ("automatic", "corrected"):
                facts.append(f" · shown: {self.mask_style} (m)", "dim")
        self.query_one("#facts", Static).update(facts)

    def on_picture_grid_opened(self, message: PictureGrid.Opened) -> None:
        """The photo takes the room of the training, and gives it back."""
        self.toggle_class("-large")

    def on_picture_grid_moved(self, message: PictureGrid.Moved) -> None:
        """Another photo is under the cursor."""
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

    def action_segment(self) -> None:
        """Enqueue the segmenting of this identity."""
        if (found := self._identity()) is not None:
            from vcd_studio.jobs.enqueue import enqueue_segment
            from vcd_studio.jobs.needed import need_pack

            project, identity = found
            queue = self.studio.queue

            def work() -> str:
                need_pack(project.pack)
                return f"Enqueued: {enqueue_segment(queue.store, project, identity).title}"

            self.attempt(work, self.enqueued)

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
        training = found[1].training
        fields = [Field(name, label, str(getattr(training, name))) for name, label in TRAINING_FIELDS]

        def work(values: Values) -> dict[str, object]:
            from vcd_studio.project.settings import override_from_text

            overrides = dict(override_from_text(f"{name}={values[name]}") for name, _ in TRAINING_FIELDS)
            training.with_overrides(overrides)
            return overrides

        self.app.push_screen(
            Form("Train with other settings", fields, work, "enqueues it"), lambda values: self._train(values) if values else None
        )

    def action_noun(self) -> None:
        """Ask for another noun."""
        if (found := self._identity()) is not None:
            self._ask_noun(found[1], found[1].noun)

    def _ask_noun(self, identity: "Identity", noun: str, note: str = "") -> None:
        answer = next(words for words, consent in CONSENT.items() if consent is identity.consent)
        fields = [Field("noun", "What is it, in a word or two?", noun), _consent_field(answer)]

        def work(values: Values) -> bool:
            identity.set_noun(values["noun"], CONSENT[values["consent"]])
            return True

        self.app.push_screen(
            Form(f"Noun of {identity.name}", fields, work, "keeps it", note), lambda done: self.project_changed() if done else None
        )

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
        fields = [
            Field("photos", "Folder of photos (or one photo)", hint="~/photos/rex", path=True),
            Field("name", "Name (prompts write <name>)", hint="rex"),
            Field("noun", "What is it, in a word or two?", hint="dog"),
            _consent_field(),
        ]

        def work(values: Values) -> "Identity":
            if not values["photos"]:
                raise InputError("Write the folder with the photos; → takes the suggested name.")
            return project.add_identity(values["name"], values["noun"], [Path(values["photos"]).expanduser()], CONSENT[values["consent"]])

        self.app.push_screen(Form("New identity", fields, work, "adds it"), self._added)

    def _added(self, identity: "Identity | None") -> None:
        if identity is not None:
            self.studio.identity_name = identity.name
            self.say(f"{identity.name} is added: s finds the masks, t trains.")
            self.project_changed()

    def action_add_photos(self) -> None:
        """Ask for a folder and copy its photos into this identity."""
        if (found := self._identity()) is None:
            return
        project, identity = found

        def work(values: Values) -> int:
            if not values["photos"]:
                raise InputError("Write the folder with the photos, or one photo.")
            return project.add_photos(identity.name, [Path(values["photos"]).expanduser()])

        def done(added: int | None) -> None:
            if added is not None:
                self.say(f"{added} photos were added." if added != 1 else "One photo was added.")
                self.project_changed()

        self.app.push_screen(Form("Add photos", [Field("photos", "Folder of photos (or one photo)", path=True)], work, "adds them"), done)


TRAINING_FIELDS = (("steps", "Steps"), ("learning_rate", "Learning rate"), ("tokens", "Tokens"), ("batch", "Batch"), ("seed", "Seed"))


def _is_person(values: Values) -> bool:
    from vcd_studio.project.identity import is_human

    return is_human(values["noun"])


def _consent_field(answer: str = "not asked") -> Field:
    return Field("consent", "A person: did he or she agree to clips of them?", answer, choices=tuple(CONSENT), when=_is_person)
