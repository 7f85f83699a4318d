"""Prompts: the project's list in a real editor, beside it what each prompt expands to, and enqueueing with its count and cost."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widgets import Input, Label, Static, TextArea

from vcd_studio.project.errors import InputError
from vcd_studio.project.text import plain
from vcd_studio.tui.screens.base import StudioScreen
from vcd_studio.tui.screens.dialogs.dialogs import Confirm
from vcd_studio.tui.screens.dialogs.form import Choice, Values
from vcd_studio.tui.widgets.chrome.bars import amount, clock
from vcd_studio.tui.widgets.prompts.expansion import Expansion
from vcd_studio.tui.widgets.prompts.reading import Reading, read_prompts, read_seeds
from vcd_studio.tui.widgets.prompts.text import PromptText

if TYPE_CHECKING:
    from vcd_studio.jobs.enqueue import Plan
    from vcd_studio.jobs.model import Job
    from vcd_studio.project.project import Project
    from vcd_studio.settings import DescriberSettings

READ_AFTER = 0.3  # seconds without typing before the text is read
NO_PROJECT = "No project is open.\n\n  1  shows the projects; there n begins one, Enter opens one"
STAGES: dict[str, tuple[str, ...] | None] = {
    "as written": None,
    "t2v": ("t2v",),
    "+face": ("t2v", "face"),
    "+tiled": ("t2v", "face", "tiled"),
}


class Editor(PromptText):
    """The text of prompts.toml. Escape leaves it for the list at its side, so that single keys are commands again."""

    HELP = """The prompt list as a file: one [[prompt]] each; {snow|rain} makes a clip of each, <name> stands for an identity.
A name that is begun is completed in grey: → takes it. A name that is none of the project's is underlined.
Ctrl+Z undoes, Ctrl+S saves, Escape goes to the list at the side, where e enqueues."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape", "leave_editor", "To the list", id="editor.leave", tooltip="Go to the list of prompts; there single keys are commands"
        ),
    ]

    def action_leave_editor(self) -> None:
        """To the list."""
        self.screen.query_one(Expansion).focus()


class PromptsScreen(StudioScreen):
    """The prompt list of the open project."""

    MODE = "prompts"
    HELP = """The prompts of the open project. a adds one; e enqueues the marked prompts, E all of them.
i writes in the file itself, Escape stops writing, Ctrl+S saves."""
    DEFAULT_CSS = """
    PromptsScreen #body { layout: horizontal; }
    PromptsScreen #writing { width: 1fr; height: 1fr; }
    PromptsScreen #file { height: 1; padding: 0 1; background: $surface; text-wrap: nowrap; text-overflow: ellipsis; }
    PromptsScreen Editor, PromptsScreen Editor:focus { height: 1fr; border: none; padding: 0; }
    PromptsScreen #meaning { width: 38; height: 1fr; padding-left: 1; }
    PromptsScreen Expansion { height: 1fr; }
    PromptsScreen .setting { height: 1; width: 1fr; }
    PromptsScreen .setting Label { width: 7; color: $text-muted; }
    PromptsScreen #seeds { height: 1; border: none; width: 1fr; padding: 0 1; background: $panel; }
    PromptsScreen #seeds:focus { border: none; background: $block-cursor-blurred-background; }
    PromptsScreen #sum { height: 1; color: $text-muted; }
    PromptsScreen #nothing { display: none; padding: 1 3; }
    PromptsScreen.-empty #nothing { display: block; }
    PromptsScreen.-empty #writing, PromptsScreen.-empty #meaning { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "add", "Add", id="prompts.add", tooltip="Add a prompt: just its text, and seeds if you like"),
        Binding("i", "write", "Write", id="prompts.write", tooltip="Write in the editor"),
        Binding("e", "enqueue(False)", "Enqueue", id="prompts.enqueue", tooltip="Enqueue the marked prompts, or the one under the cursor"),
        Binding("E", "enqueue(True)", "Enqueue all", id="prompts.enqueue_all", tooltip="Enqueue every prompt"),
        Binding("d", "draft", "Draft", show=False, id="prompts.draft", tooltip="Let the describer draft prompts for an identity"),
        Binding("ctrl+s", "save", "Save", id="prompts.save", tooltip="Write the file"),
        Binding(
            "ctrl+r", "again", "Read file again", show=False, id="prompts.again", tooltip="Give up what was typed and read the file again"
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._file: Path | None = None
        self._on_disk = ""
        self._drafts: dict[Path, str] = {}
        self._typed: dict[Path, Values] = {}  # prompts put aside before they were added, by their list
        self._go_to: int | None = None  # the prompt that was added, until the list shows it
        self._timer: Timer | None = None

    def body(self) -> ComposeResult:
        with Horizontal(id="body"):
            with Vertical(id="writing"):
                yield Static(markup=False, id="file")
                yield Editor(soft_wrap=True, show_line_numbers=True, tab_behavior="focus", id="editor")
            with Vertical(id="meaning"):
                yield Expansion()
                yield Static(markup=False, id="sum")
                with Horizontal(classes="setting"):
                    yield Label("seeds", markup=False)
                    yield Input(placeholder="as written, or 1, 2, 5-8", id="seeds")
                with Horizontal(classes="setting"):
                    yield Label("stages", markup=False)
                    yield Choice(tuple(STAGES), "as written", "stages")
            yield Static(NO_PROJECT, markup=False, id="nothing")

    def on_mount(self) -> None:
        """Leaving the studio asks us first."""
        super().on_mount()
        self.studio.editor = self

    # ── the file ──

    @property
    def text(self) -> str:
        """What the editor holds."""
        return self.query_one(Editor).text

    @property
    def unsaved(self) -> bool:
        """Something was typed that is not on disk."""
        return self._file is not None and self.text != self._on_disk

    def project_changed(self) -> None:
        """Load the project's file, unless it is the one in the editor with changes of its own."""
        project = self.project
        self.set_class(project is None, "-empty")
        if project is None:
            return
        path = project.prompts_path
        if self._file == path and self.unsaved:
            self._read()
            return
        if self._file is not None and self.unsaved:
            self._drafts[self._file] = self.text
        self.attempt(lambda: (path, _text_of(path)), lambda found: self._load(*found), group="load", exclusive=True)

    def _load(self, path: Path, text: str) -> None:
        editor, fresh = self.query_one(Editor), self._file != path
        if not fresh and self.unsaved:  # changed while the file was being read
            self._read()
            return
        self._file, self._on_disk = path, text
        shown = self._drafts.pop(path, text)
        if fresh:
            editor.load_text(shown)
            self.query_one(Expansion).focus()
        elif shown != self.text:  # somebody else wrote it, or a prompt was added: Ctrl+Z brings back what was here
            editor.replace(shown, editor.document.start, editor.document.end)
        self._read()

    def _show_file(self) -> None:
        words = Text(no_wrap=True, overflow="ellipsis")
        if self._file is not None:
            words.append(plain(self._file.name), "bold")
            words.append(" · not saved (Ctrl+S)" if self.unsaved else " · saved", "dim")
        self.query_one("#file", Static).update(words)

    def action_save(self) -> None:
        """Write the file, unless somebody else wrote it meanwhile: then ask."""
        self._save(None)

    def _save(self, then: Callable[[], object] | None) -> None:
        path, text, expected = self._file, self.text, self._on_disk
        if path is None:
            return

        def work() -> bool:
            if path.exists() and _text_of(path) not in (expected, text):
                return False
            _write(path, text)
            return True

        def done(written: bool) -> None:
            if written:
                self._written(text, then)
            else:
                question = Confirm(
                    f"{path.name} was changed by another program. Write over it?", ["Ctrl+R reads the other text instead."], "write over it"
                )
                self.app.push_screen(question, lambda yes: self._write_over(path, text, then) if yes else None)

        self.attempt(work, done, group="save")

    def _write_over(self, path: Path, text: str, then: Callable[[], object] | None) -> None:
        self.attempt(lambda: _write(path, text), lambda _: self._written(text, then), group="save")

    def _written(self, text: str, then: Callable[[], object] | None) -> None:
        self._on_disk = text
        self._show_file()
        self.say("Saved.")
        if then is not None:
            then()

    def action_again(self) -> None:
        """Give up what was typed."""
        path = self._file
        if path is not None:
            self.attempt(lambda: _text_of(path), self._take, group="load", exclusive=True)

    def _take(self, text: str) -> None:
        self._on_disk = text
        self.query_one(Editor).load_text(text)
        self._read()

    @property
    def leaving_loses(self) -> bool:
        """Something was typed that is nowhere but here."""
        return self.unsaved or bool(self._typed)

    def save_and_leave(self) -> None:
        """Asked by the app before it ends: offer to save first, and not to leave a prompt that was never added."""
        if self._typed:
            self.app.push_screen(
                Confirm(
                    "A prompt was typed and not added.",
                    [*(f"  {' '.join(one['text'].split())}" for one in self._typed.values()), "", "n stays here, where a goes on with it."],
                    "leave without it",
                ),
                self._left_behind,
            )
            return
        if not self.unsaved:
            self.app.exit(0)
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._save(lambda: self.app.exit(0))

        self.app.push_screen(
            Confirm("The prompts have changes that are not saved.", ["n stays here; Ctrl+R gives the changes up."], "save and leave"),
            answered,
        )

    def _left_behind(self, yes: bool | None) -> None:
        if yes:
            self._typed.clear()
            self.save_and_leave()

    # ── adding ──

    def action_add(self) -> None:
        """Ask for a prompt and add it to the file, which is saved first: one hand writes it at a time."""
        if self._file is None or self.project is None:
            self.say("Open a project first: 1 shows them.")
        elif self.unsaved:
            self._save(self._ask_for_prompt)
        else:
            self._ask_for_prompt()

    def _ask_for_prompt(self) -> None:
        from vcd_studio.tui.screens.dialogs.add_prompt import AddPrompt

        path, project = self._file, self.project
        if path is None or project is None:
            return

        def closed(result: Values | int | None) -> None:
            if isinstance(result, int):
                self._typed.pop(path, None)
                self._go_to = result
                self.query_one(Expansion).focus()
                self.say("Added: e enqueues it.")
                self.project_changed()
            elif result and (result["text"].strip() or result["seeds"]):
                self._typed[path] = result
                self.say("Put aside, not added: a goes on with it.")
            else:
                self._typed.pop(path, None)

        self.app.push_screen(AddPrompt(project, self._typed.get(path, {})), closed)

    # ── drafting ──

    def action_draft(self) -> None:
        """Let the describer draft prompts for an identity, to the end of the editor's text; they are not saved."""
        project = self.project
        if project is None:
            self.say("Open a project first: 1 shows them.")
        elif (describer := self.describer) is not None:
            self.attempt(project.identity_names, lambda names: self._ask_for_drafts(project, describer, names), group="draft")

    def _ask_for_drafts(self, project: "Project", describer: "DescriberSettings", names: list[str]) -> None:
        from vcd_studio.tui.screens.dialogs.draft_prompts import DraftPrompts

        text, before = self.text, len(self.query_one(Expansion).reading.prompts)

        def drafted(result: str | None) -> None:
            if result == text:
                self.say("What the describer drafted is in the list already.")
            elif result is not None:
                editor = self.query_one(Editor)
                editor.replace(result, editor.document.start, editor.document.end)
                self._go_to = before
                self.query_one(Expansion).focus()
                self.say("Drafted, not saved: Ctrl+S saves; i and Ctrl+Z takes them out.")

        if names:
            self.app.push_screen(DraftPrompts(project, describer, text, names, self.studio.identity_name), drafted)
        else:
            self.say("Add an identity first: 2 shows them.")

    # ── reading ──

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Read again once the typing rests."""
        self._show_file()
        self._soon()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Other seeds, another count."""
        self._soon()

    def on_choice_changed(self, event: Choice.Changed) -> None:
        """Other stages, another cost."""
        self._soon()

    def _soon(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(READ_AFTER, self._read)

    def _read(self) -> None:
        project, path = self.project, self._file
        self._show_file()
        if project is None or path is None:
            return
        text, seeds, stages = self.text, self.query_one("#seeds", Input).value, STAGES[self.query_one(Choice).value]
        queue = self.studio.queue

        def work() -> Reading:
            return read_prompts(project, text, path.name, read_seeds(seeds), stages, queue.store)

        self.attempt(work, self._show_reading, group="expand", exclusive=True)

    def _show_reading(self, reading: Reading) -> None:
        expansion = self.query_one(Expansion)
        expansion.show(reading)
        self.query_one(Editor).know(reading.names)
        if self._go_to is not None and self._go_to < len(reading.prompts):
            expansion.highlighted = self._go_to
            self._go_to = None
        wrong = sum(bool(one.problem) for one in reading.prompts) + bool(reading.problem)
        clips = sum(one.clips for one in reading.prompts)
        words = f"{len(reading.prompts)} prompts, {clips} clips" + (f", {wrong} wrong" if wrong else "")
        times = [one.seconds for one in reading.prompts]
        words += f" · {amount(sum(one.bytes for one in reading.prompts))}" if clips else ""
        words += f" · {clock(sum(time for time in times if time))}" if clips and None not in times else ""
        self.query_one("#sum", Static).update(words)

    # ── verbs ──

    def to_copy(self) -> str:
        """The prompt under the cursor, or the first marked one, as it is written."""
        chosen = self.query_one(Expansion).chosen()
        return chosen[0].prompt.written if chosen else ""

    def action_write(self) -> None:
        """Into the editor."""
        self.query_one(Editor).focus()

    def on_expansion_go_to_line(self, message: Expansion.GoToLine) -> None:
        """Into the editor, at that line."""
        editor = self.query_one(Editor)
        editor.focus()
        editor.move_cursor((max(0, message.line - 1), 0))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in the seeds goes back to the list."""
        self.query_one(Expansion).focus()

    def action_enqueue(self, everything: bool) -> None:
        """Plan the chosen prompts, ask with count and cost, and enqueue them."""
        if self.unsaved:
            self._save(lambda: self._plan(everything))
        else:
            self._plan(everything)

    def _plan(self, everything: bool) -> None:
        project = self.project
        if project is None:
            self.say("Open a project first: 1 shows them.")
            return
        expansion = self.query_one(Expansion)
        chosen = list(expansion.reading.prompts) if everything else expansion.chosen()
        if expansion.reading.problem:
            self.studio.complain(f"The prompts cannot be read, line {expansion.reading.line or '?'}: {expansion.reading.problem}")
            return
        if not chosen:
            self.say("There is no prompt yet: a adds one.")
            return
        seeds, stages, queue = self.query_one("#seeds", Input).value, STAGES[self.query_one(Choice).value], self.studio.queue

        def work() -> "tuple[Plan, list[str]]":
            from vcd_studio.jobs.enqueue import plan_generate
            from vcd_studio.jobs.needed import need_for
            from vcd_studio.project.identity import check_agreed

            numbers = read_seeds(seeds)
            plan = plan_generate(project, prompts=[one.prompt for one in chosen], seeds=numbers or None, stages=stages, store=queue.store)
            need_for(plan, project)
            named = dict.fromkeys(name for item in plan.items for name in item.identities)
            return plan, check_agreed(project.identity(name) for name in named)

        self.attempt(work, lambda found: self._ask(project, *found), group="plan", exclusive=True)

    def _ask(self, project: "Project", plan: "Plan", warnings: list[str]) -> None:
        time = f"about {clock(plan.seconds)}" if plan.seconds is not None else "time unknown until a first clip is done"
        lines = [
            f"{time}, about {amount(plan.bytes)} on disk",
            *warnings,
            "",
            *(f"  {plain(item.expanded)} · seed {item.seed}" for item in plan.items[:6]),
        ]
        if plan.count > 6:
            lines.append(f"  … and {plan.count - 6} more")
        queue = self.studio.queue

        def work() -> "list[Job]":
            from vcd_studio.jobs.enqueue import enqueue_plan

            return enqueue_plan(queue.store, project, plan)

        def answered(yes: bool | None) -> None:
            if yes:
                self.attempt(
                    work, lambda jobs: self.enqueued(f"{len(jobs)} {'clip' if len(jobs) == 1 else 'clips'} enqueued: 4 shows the queue")
                )

        self.app.push_screen(Confirm(f"Enqueue {plan.count} {'clip' if plan.count == 1 else 'clips'}?", lines, "enqueue"), answered)


def _text_of(path: Path) -> str:
    """The file's text; a new list's beginning where there is no file. InputError where it is no UTF-8 text."""
    from vcd_studio.project.prompts import NEW_TOML

    if not path.exists():
        return NEW_TOML
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); repair it in another editor.") from error


def _write(path: Path, text: str) -> None:
    from vcd_studio.project.paths import reason, write_atomic

    try:
        write_atomic(path, text.encode("utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be written ({reason(error)}); what was typed is still in the editor.") from error
