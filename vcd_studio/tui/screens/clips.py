"""Clips: pages of posters; one clip large, frame by frame or played, its stages or another clip beside it, and its recipe."""

from dataclasses import replace
from operator import is_
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from vcd_studio.project.clip_filter import HOW
from vcd_studio.project.errors import InputError
from vcd_studio.project.text import plain
from vcd_studio.tui.messages import Snapshot
from vcd_studio.tui.screens.base import StudioScreen
from vcd_studio.tui.screens.dialogs.dialogs import Page
from vcd_studio.tui.screens.dialogs.form import Field, Form, Values
from vcd_studio.tui.widgets.chrome.filter import FilterLine
from vcd_studio.tui.widgets.clips.apart import Apart, Comparison, frames_apart
from vcd_studio.tui.widgets.clips.player import MOST_FILMS, Player, Reel, Tab
from vcd_studio.tui.widgets.clips.shelf import Shelf, Shown
from vcd_studio.tui.widgets.pictures.grid import PictureGrid

if TYPE_CHECKING:
    from vcd_studio.jobs.model import Job

FIRST = 200  # clips that are read, and shown, before all others
LONGEST_NAME = 24  # letters, over a film
NOTHING = "No clip yet.\n\n  3  writes prompts and enqueues clips; they come here when they are done"
NO_PROJECT = "No project is open.\n\n  1  shows the projects; there n begins one, Enter opens one"


class ClipsScreen(StudioScreen):
    """The clips of the open project."""

    MODE = "clips"
    HELP = """The clips of this project. Enter opens the one under the cursor, Escape goes back to the page; o orders them.
/ filters by words of name, prompt and identity, and by rating:>=3 unrated date:today date:>2026-11-20 stage:face identity:rex
pack:pocket failed.
Open: ← → go frame by frame, p plays, Tab shows the next stage, b the stages side by side, i the recipe, f the metrics.
m marks a clip, c on another shows both: what they were told differently and how far their frames lie apart stand below.
+ and - rate (1 to 5: digits are the screens'), r makes later stages anew in a new clip, R the very same clip once more, x puts a clip
into the trash and u takes it back. ✗ marks one that never became a clip: what went wrong stands below, and r tries again."""
    DEFAULT_CSS = """
    ClipsScreen #body { layout: vertical; }
    ClipsScreen PictureGrid { height: 1fr; }
    ClipsScreen #words { height: 2; padding: 0 1; background: $surface; }
    ClipsScreen Player { display: none; }
    ClipsScreen.-one Player, ClipsScreen.-one.-apart Apart { display: block; }
    ClipsScreen.-one.-apart #words { display: none; }
    ClipsScreen.-one PictureGrid, ClipsScreen.-one FilterLine { display: none; }
    ClipsScreen #nothing { display: none; padding: 1 3; height: 1fr; }
    ClipsScreen.-empty #nothing { display: block; }
    ClipsScreen.-empty PictureGrid, ClipsScreen.-empty Player, ClipsScreen.-empty #words { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "page", "All clips", id="clips.page", tooltip="Back to the page of clips; there, take the filter away"),
        Binding("p,space", "play", "Play", id="clips.play", tooltip="Play the clip, or stop"),
        Binding("left", "scrub(-1)", "Frame back", show=False, id="clips.back", tooltip="One frame back"),
        Binding("right", "scrub(1)", "Frame on", show=False, id="clips.on", tooltip="One frame on"),
        Binding("home", "edge(0)", "First frame", show=False, id="clips.first", tooltip="The first frame"),
        Binding("end", "edge(1)", "Last frame", show=False, id="clips.last", tooltip="The last frame"),
        Binding("tab", "stage(1)", "Stage", id="clips.stage", tooltip="The next stage: t2v, face, tiled"),
        Binding("shift+tab", "stage(-1)", "Stage before", show=False, id="clips.stage_before", tooltip="The stage before"),
        Binding("b", "side", "Side by side", id="clips.side", tooltip="All stages beside one another, or one alone"),
        Binding("m", "mark", "Mark", show=False, id="clips.mark", tooltip="Mark this clip, to show another one beside it"),
        Binding("c", "compare", "Beside the marked", show=False, id="clips.compare", tooltip="The marked clip and this one side by side"),
        Binding("slash", "filter", "Filter", id="clips.filter", tooltip="Only some clips: words of the prompt, rating:4, date:today …"),
        Binding("o", "order", "Order", id="clips.order", tooltip="Newest, oldest or best rated first, by prompt or by seed"),
        Binding("plus", "rate(1)", "Rate", id="clips.better", tooltip="A better rating, up to 5"),
        Binding("minus", "rate(-1)", "Worse", show=False, id="clips.worse", tooltip="A worse rating, down to none"),
        Binding("r", "rerun", "Stages anew", id="clips.rerun", tooltip="A new clip with later stages made anew; one that failed, again"),
        Binding("R", "reproduce", "Once more", show=False, id="clips.reproduce", tooltip="Make the very same clip again from its recipe"),
        Binding("e", "export", "Export", show=False, id="clips.export", tooltip="Write the clip as mp4, gif, webp or frames"),
        Binding("x", "discard", "Trash", show=False, id="clips.discard", tooltip="Put the clip into the project's trash"),
        Binding("u", "restore", "Take back", show=False, id="clips.restore", tooltip="Take the clip that went last out of the trash"),
        Binding("f", "metrics", "Metrics", show=False, id="clips.metrics", tooltip="What was measured while the clip was made"),
        Binding("i", "recipe", "Recipe", id="clips.recipe", tooltip="How it was made: its sidecar; side by side, what differs"),
        Binding("up", "other(-1)", "Clip before", show=False, id="clips.before", tooltip="The clip before"),
        Binding("down", "other(1)", "Next clip", show=False, id="clips.next", tooltip="The next clip"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.clips: list[Shown] = []
        self.stage = ""
        self.order = "newest"
        self.side = False
        self.marked: Path | None = None
        self.with_marked = False
        self._comparison: Comparison | None = None
        self._states: dict[int, str] | None = None  # of this project's jobs; None: not known yet, so that nothing of before is news
        self._project: Path | None = None
        self._shelf = Shelf()
        self._is_whole = False  # whether all clips were shown, not only those written last

    def body(self) -> ComposeResult:
        with Vertical(id="body"):
            yield PictureGrid((18, 7), noun="clip", empty="no clip is like that")
            yield FilterLine(HOW)
            yield Player()
            yield Apart(markup=False)
            yield Static(markup=False, id="words")
            yield Static(NO_PROJECT, markup=False, id="nothing")

    def on_mount(self) -> None:
        """The grid has the keys; the words below follow its cursor in the very same drawing."""
        super().on_mount()
        grid = self.query_one(PictureGrid)
        self.watch(grid, "current", self._show_words, init=False)
        grid.focus()

    # ── reading and showing ──

    def project_changed(self) -> None:
        """Read the clips again."""
        project = self.project
        if project is None:
            self._show([])
            return
        if project.path != self._project:
            self._project = project.path
            self._shelf, self._is_whole = Shelf(), False
            self.query_one(FilterLine).clear()
            self._close()
        self._read(None if self._is_whole else FIRST)

    def _read(self, most: int | None) -> None:
        """The clips written last, which takes no time, then all."""
        project, shelf, jobs = self.project, self._shelf, self.studio.snapshot.jobs
        if project is None:
            return
        if most is None:
            self.attempt(lambda: shelf.read(project, None, jobs, self._told), self._show_all, group="read", exclusive=True)
        else:
            self.attempt(lambda: shelf.read(project, most, jobs), self._show_first, group="read", exclusive=True)

    def _told(self, share: float) -> None:
        """From the thread that reads: so much is done, 0..1."""
        self.call_later(self._tell_read, share)

    def _tell_read(self, share: float) -> None:
        if not self._is_whole:
            self.query_one(PictureGrid).tell(f"reading the others: {share:.0%}")

    def _show_first(self, clips: list[Shown]) -> None:
        self._show(clips)
        if len(clips) < FIRST:
            self._is_whole = True
        else:  # there may be more
            self._tell_read(0)
            self._read(None)

    def _show_all(self, clips: list[Shown]) -> None:
        grid = self.query_one(PictureGrid)
        stay = not self._is_whole and grid.cursor == 0 and not self.has_class("-one")
        self._is_whole = True
        self._show(clips)
        if stay:  # nobody went anywhere: begin with the newest, whichever was first before
            grid.go(0)

    def queue_changed(self, snapshot: Snapshot) -> None:
        """A job that ended may have brought a clip, or left one unfinished."""
        if self.project is not None and snapshot.left is not None:  # else nothing was read yet
            own = self.project.path
            jobs = [job for job in snapshot.jobs if job.kind == "generate" and job.project == own]
            states: dict[int, str] = {job.id: job.state for job in jobs}
            if states != self._states:
                known, self._states = self._states if own == self._project else None, states
                self.project_changed()
                if known is not None:
                    self._tell_verdicts([job for job in jobs if job.state == "done" and known.get(job.id) != "done"])

    def _tell_verdicts(self, jobs: "list[Job]") -> None:
        """Whether clips that were made once more came out the same."""
        from vcd_studio.project.outputs import read_clip
        from vcd_studio.project.recipes import once_more

        def verdicts() -> str:
            found = [once_more(read_clip(Path(job.result["clip"])).sidecar) for job in jobs if "reproduces" in job.settings]
            return " ".join(f"{name} once more: {verdict}" for name, verdict in filter(None, found))

        self.attempt(verdicts, lambda words: self.say(plain(words)) if words else None, group="verdicts")

    def on_screen_suspend(self) -> None:
        """Nothing plays under another screen."""
        self.player.stop()
        super().on_screen_suspend()

    def _show(self, clips: list[Shown]) -> None:
        if clips and len(clips) == len(self.clips) and all(map(is_, clips, self.clips)):
            self._tell_order()
            self.refresh_bindings()  # read again, and no clip has changed; what can be taken back may have
            return
        self.clips = clips
        self.set_class(not clips, "-empty")
        self.query_one("#nothing", Static).update(NOTHING if self.project else NO_PROJECT)
        if not clips:
            self._close()
        self._fill()
        if self.has_class("-one"):
            self._show_films()
        self.refresh_bindings()  # what can be filtered or played depends on there being clips

    def _fill(self) -> None:
        """Those clips that the filter lets through, in their order; all of them while it cannot be read."""
        from vcd_studio.project.clip_filter import ORDERS, ClipFilter, parse_filter

        line, complaint = self.query_one(FilterLine), ""
        try:
            wanted = parse_filter(line.words)
        except InputError as error:
            wanted, complaint = ClipFilter(), str(error)
        order = ORDERS[self.order]
        shown = sorted((one for one in self.clips if wanted(one.facts)), key=lambda one: order(one.facts))
        line.found(len(shown), len(self.clips))
        if complaint:
            line.complain(complaint)
        self._tell_order()
        self.query_one(PictureGrid).fill([one.tile(marked=one.clip.folder == self.marked) for one in shown])
        self._show_words()

    def _tell_order(self) -> None:
        self.query_one(PictureGrid).tell(f"order: {self.order}")

    def on_filter_line_changed(self, message: FilterLine.Changed) -> None:
        """Fewer clips, or more."""
        self._fill()
        self.refresh_bindings()

    def on_filter_line_done(self, message: FilterLine.Done) -> None:
        """The page has the keys again."""
        line = self.query_one(FilterLine)
        if message.clear or not line.words.strip():
            line.clear()
            self.refresh_bindings()
        self.query_one(PictureGrid).focus()

    def action_filter(self) -> None:
        """Ask for words."""
        self.query_one(FilterLine).open()

    def action_order(self) -> None:
        """The next order; the cursor stays on its clip."""
        from vcd_studio.project.clip_filter import ORDERS

        names = list(ORDERS)
        self.order = names[(names.index(self.order) + 1) % len(names)]
        self._fill()

    @property
    def current(self) -> Shown | None:
        """The clip under the cursor, or the open one: they are the same."""
        tile = self.query_one(PictureGrid).current
        return next((one for one in self.clips if tile and one.clip.id == tile.key), None)

    def to_copy(self) -> str:
        """The folder of the clip under the cursor."""
        return str(self.current.clip.folder) if self.current else ""

    def _show_words(self) -> None:
        words = Text(overflow="ellipsis")
        one = self.current
        if one is not None:
            words.append(f"{plain(one.words)}\n")
            way_on = f"{one.fps} frames a second"
            if one.clip.problem:
                way_on = "r tries again, x throws it away, i tells more" if one.job else "x throws it away"
            words.append(f"{plain(one.clip.id)} · {', '.join(map(plain, one.stages)) or 'no stages kept'} · {way_on}", "dim")
        self.query_one("#words", Static).update(words, layout=False)

    # ── one clip ──

    def on_picture_grid_opened(self, message: PictureGrid.Opened) -> None:
        """Show it large, its last stage first."""
        self._open()

    def _open(self) -> None:
        one = self.current
        if one is not None:
            self.stage = next(reversed(one.stages), "")
            self.set_class(True, "-one")
            self.set_focus(None)
            self.player.go(0)
            self._show_films()

    def _close(self) -> None:
        self.player.stop()
        self.with_marked = False
        self.set_class(False, "-one")
        self.query_one(PictureGrid).focus()

    @property
    def player(self) -> Player:
        """The films of the open clip."""
        return self.query_one(Player)

    def _beside(self, one: Shown) -> Shown | None:
        """The marked clip, where it is shown beside this one."""
        if not self.with_marked:
            return None
        return next((other for other in self.clips if other.clip.folder == self.marked and other is not one), None)

    def _show_films(self) -> None:
        """Bring the player, and what is said below it, up to date with `stage`, `side` and `with_marked`."""
        from vcd_studio.project import recipes

        one = self.current
        if one is None:
            return
        beside, names = self._beside(one), list(one.stages)
        if beside is not None:
            pairs = [(each, _stage_of(each, self.stage)) for each in (beside, one)]
            reels = [Reel(f"{_short(each.clip.id)} · {stage or 'no stage'}", each.stages.get(stage, ())) for each, stage in pairs]
            names, shown = list(dict.fromkeys([*beside.stages, *names])), [stage for _, stage in pairs]
            told = [recipes.told(each.clip.sidecar) for each, _ in pairs]
        else:
            shown = names[:MOST_FILMS] if self.side else [stage] if (stage := _stage_of(one, self.stage)) else []
            reels = [Reel(stage, one.stages[stage]) for stage in shown]
            told = [recipes.told_stage(one.clip.sidecar, stage) for stage in shown]
        anew = tuple(reels) != self.player.reels
        self.player.show(reels, [Tab(name, name in shown) for name in names], one.fps)
        self.set_class(len(reels) > 1, "-apart")
        if len(reels) > 1 and (anew or self._comparison is None):
            found = Comparison(tuple(reel.name for reel in reels), recipes.apart(told))
            self._compared(found)
            self.attempt(lambda: replace(found, sentences=frames_apart(reels)), self._compared, group="apart", exclusive=True)

    def _compared(self, found: Comparison) -> None:
        self._comparison = found
        self.query_one(Apart).show(found)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of the open clip do nothing on the page, nor the page's on the clip."""
        line = next(iter(self.query(FilterLine)), None)
        if action == "page":
            return self.has_class("-one") or (line is not None and line.is_open)
        if action == "filter":
            return bool(self.clips) and not self.has_class("-one") and line is not None and not line.is_written
        if action == "order":
            return bool(self.clips) and not self.has_class("-one") and not (line is not None and line.is_written)
        if action in ("play", "scrub", "edge", "stage", "side", "other"):
            return self.has_class("-one")
        if action == "restore":
            return bool(self._shelf.trash)
        if action in ("rate", "metrics", "mark", "compare", "rerun", "reproduce", "export", "discard"):
            return bool(self.clips) and not (line is not None and line.is_written)
        return True

    def watch_classes(self) -> None:
        """Other keys apply now."""
        self.refresh_bindings()

    def action_page(self) -> None:
        """Back to the page of clips; from there, to all of them."""
        if self.has_class("-one"):
            self._close()
        else:
            self.query_one(FilterLine).clear()
        self.refresh_bindings()

    def action_scrub(self, by: int) -> None:
        """One frame on or back, round and round."""
        self.player.go(self.player.index + by)

    def action_edge(self, end: int) -> None:
        """The first or the last frame."""
        self.player.go(-1 if end else 0)

    def action_play(self) -> None:
        """Play, or stop where it is."""
        self.player.toggle()

    def action_stage(self, by: int) -> None:
        """Another stage, at the same frame; of two clips, in both."""
        one = self.current
        names = [tab.name for tab in self.player.tabs]
        if one is not None and names:
            self.stage = names[(names.index(self.stage) + by) % len(names)] if self.stage in names else names[-1]
            self.side = False
            self._show_films()

    def action_side(self) -> None:
        """All stages side by side, or one alone."""
        self.side = not self.side
        self.with_marked = False
        self._show_films()

    def action_mark(self) -> None:
        """This is the clip that others are shown beside; or it is not any more."""
        if (one := self.current) is not None:
            self.marked = None if self.marked == one.clip.folder else one.clip.folder
            self.say(f"{plain(one.clip.id)} is marked; c on another clip shows both." if self.marked else "No clip is marked.")
            self._fill()

    def action_compare(self) -> None:
        """The marked clip and this one side by side, or this one alone."""
        if (one := self.current) is None:
            return
        self.with_marked = not self.with_marked
        if self.with_marked and self._beside(one) is None:
            self.with_marked = False
            self.say("m marks a clip; then c on another one shows both side by side.")
        elif self.has_class("-one"):
            self._show_films()
        else:
            self._open()

    def action_other(self, by: int) -> None:
        """Another clip."""
        grid = self.query_one(PictureGrid)
        grid.go(grid.cursor + by)
        self.player.go(0)
        self._show_words()
        self._show_films()

    def action_recipe(self) -> None:
        """The sidecar, as it is on disk; of two clips or stages, what they were told differently."""
        one = self.current
        if self.has_class("-one") and self.has_class("-apart") and self._comparison is not None:
            self.app.push_screen(Page("Side by side", self._comparison.page))
        elif one is not None:
            text = Text("".join(f"{plain(line)}\n\n" for line in self._once_more(one)), "bold")
            self.app.push_screen(Page(f"Recipe of {one.clip.id}", text.append(plain(one.recipe, lines=True), "not bold")))

    def _once_more(self, one: Shown) -> list[str]:
        """Whether the clips that were made once more came out the same: of this clip, and this of another."""
        from vcd_studio.project.recipes import once_more

        lines = []
        for clip in (shown.clip for shown in self.clips):
            original, verdict = once_more(clip.recipe) or ("", "")
            if original and clip.id == one.clip.id:
                lines.append(f"This is {original} once more. {verdict}")
            elif original == one.clip.id:
                lines.append(f"Made once more as {clip.id}. {verdict}")
        return lines

    def action_metrics(self) -> None:
        """What was measured while the clip was made."""
        from vcd_studio.project.recipes import measured

        if (one := self.current) is None:
            return
        text, before = Text(), ""
        for stage, what, value in measured(one.clip.sidecar):
            text.append(f"{plain(stage)}\n" if stage != before else "", "bold")
            text.append(f"  {plain(what)}: ", "dim").append(f"{plain(value)}\n")
            before = stage
        self.app.push_screen(Page(f"Metrics of {one.clip.id}", text or Text("Its recipe says nothing of how it was made.")))

    # ── what is done with it ──

    def action_rate(self, by: int) -> None:
        """One better or worse, from none to 5."""
        if (one := self.current) is not None:
            rating = max(0, min(5, (one.clip.rating or 0) + by))
            self.attempt(lambda: one.clip.rate(rating or None), lambda _: self._rated(one, rating))

    def _rated(self, one: Shown, rating: int) -> None:
        self.say(f"Rated {'★' * rating or 'not at all'}.")
        rated = one.rated(rating or None)
        self._shelf.put(rated)
        self.clips = [rated if other.clip.folder == one.clip.folder else other for other in self.clips]
        self._fill()

    def action_rerun(self) -> None:
        """Ask which stages, and by what settings; then enqueue. One that never became a clip is tried again."""
        from vcd_studio.project.settings import STAGES

        one, project, queue = self.current, self.project, self.studio.queue
        if one is None or project is None:
            return
        if (job := one.job) is not None:
            self.attempt(lambda: queue.store.retry(job.id).title, self._enqueued)
            return
        ways = tuple(", ".join(STAGES[at:end]) for at in range(3) for end in range(at + 1, 4))

        def work(values: Values) -> str:
            from vcd_studio.jobs import again
            from vcd_studio.project.settings import override_from_text

            changes = dict(override_from_text(word) for word in values["settings"].split())
            seed = int(values["seed"]) if values["seed"].isdecimal() else None
            return again.rerun(queue.store, one.clip, project, values["stages"].split(", "), changes, seed).title

        fields = [
            Field("stages", "Stages to make anew (those before are taken over)", "tiled", choices=ways),
            Field("settings", "Settings, with spaces between", hint="tiled_strength=0.3 steps=30"),
            Field("seed", "Seed (empty: the same)", hint=str(one.clip.sidecar.get("seed", ""))),
        ]
        self.app.push_screen(Form(f"From {one.clip.id}", fields, work, "enqueues it", "The clip itself stays as it is."), self._enqueued)

    def action_reproduce(self) -> None:
        """Enqueue the very same clip."""
        one, project = self.current, self.project
        if one is not None and project is not None:
            from vcd_studio.jobs import again

            self.attempt(lambda: again.reproduce(self.studio.queue.store, one.clip, project).title, self._enqueued)

    def _enqueued(self, title: str | None) -> None:
        if title:
            self.enqueued(f"Enqueued: {title}")

    def action_export(self) -> None:
        """Ask where to, then write."""
        if (one := self.current) is None:
            return

        def work(values: Values) -> Path:
            from vcd_studio.media.export import export_clip

            return export_clip(one.clip, values["stage"] or None, values["format"], Path(values["path"]).expanduser().absolute())

        fields = [
            Field("format", "Format", "mp4", choices=("mp4", "gif", "webp", "frames")),
            Field("stage", "Stage (empty: the finished clip)", hint=", ".join(one.stages)),
            Field("path", "Where to", f"~/{one.clip.id}.mp4", path=True),
        ]
        self.app.push_screen(Form(f"Export {one.clip.id}", fields, work, "writes it"), self._exported)

    def _exported(self, path: Path | None) -> None:
        if path is not None:
            self.say(f"Written: {plain(str(path))}")

    def action_discard(self) -> None:
        """Into the trash; u takes it back."""
        if (one := self.current) is not None:
            from vcd_studio.project.outputs import discard

            self.attempt(lambda: discard(one.clip), lambda _: self._gone(one.clip.id))

    def _gone(self, name: str) -> None:
        self._close()
        self.say(f"{plain(name)} is in the trash; u takes it back.")
        self.project_changed()

    def action_restore(self) -> None:
        """The one that went last back."""
        from vcd_studio.project.outputs import discarded, restore

        project = self.project

        def back() -> Path:
            thrown = discarded(project.outputs_dir) if project is not None else []
            if not thrown:
                raise InputError("The trash is empty.")
            return restore(thrown[0])

        self.attempt(back, self._back)

    def _back(self, folder: Path) -> None:
        self.say(f"{plain(folder.name)} is back.")
        self.project_changed()


def _stage_of(one: Shown, wanted: str) -> str:
    """The wanted stage, else its last one; empty where it kept none."""
    return wanted if wanted in one.stages else next(reversed(one.stages), "")


def _short(name: str) -> str:
    """Without its middle where it is long: clips of one prompt begin alike, and their numbers stand at the end."""
    return name if len(name) <= LONGEST_NAME else f"{name[:10]}…{name[11 - LONGEST_NAME :]}"
