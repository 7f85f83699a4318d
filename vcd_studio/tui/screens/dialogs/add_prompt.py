"""Add a prompt by writing it, not its TOML: what it stands for and what is wrong with it is seen before it is added."""

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, TextArea

from vcd_studio.project.errors import InputError
from vcd_studio.tui.screens.dialogs.form import Field, Form, Values
from vcd_studio.tui.widgets.prompts.reading import ReadPrompt, add_prompt, known_names, read_new_prompt
from vcd_studio.tui.widgets.prompts.text import PromptText

if TYPE_CHECKING:
    from vcd_studio.project.project import Project

READ_AFTER = 0.3  # seconds without typing before the text is read
MOST_LINES = 3  # expansions that are shown
NOTE = "<name> is an identity, {snow|rain} makes a clip of each, 0: … 8: … goes from one text to the next. Line breaks count as spaces."


class AddPrompt(Form):
    """Ends with the place of the new prompt in its list, or, given up, with what was typed: the caller keeps it as a draft."""

    DEFAULT_CSS = """
    AddPrompt TextArea { height: 5; border: none; padding: 0 1; background: $panel; margin-bottom: 1; }
    AddPrompt TextArea:focus { border: none; background: $block-cursor-blurred-background; }
    """
    HELP = """A new prompt. A name that is begun is completed in grey: → takes it. Enter begins a new line, Tab goes to the seeds,
Ctrl+S adds it, Escape puts it aside: a brings it back."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "give_up", "Put aside", id="add_prompt.give_up", tooltip="Close; what was typed is there again with a"),
    ]

    def __init__(self, project: "Project", draft: Values) -> None:
        fields = [
            Field("text", "What the clip should show", draft.get("text", ""), hint="a <rex> dog running in the {snow|rain}"),
            Field("seeds", "Seeds (may stay empty)", draft.get("seeds", ""), hint="1, 2, 5-8"),
        ]
        super().__init__("New prompt", fields, self._add, "adds it", NOTE)
        self.project = project
        self._timer: Timer | None = None

    def line_for(self, field: Field) -> Widget:
        """The prompt may take several lines."""
        if field.name != "text":
            return super().line_for(field)
        return PromptText(field.value, tab_behavior="focus", placeholder=field.hint, highlight_cursor_line=False, id="field-text")

    def value_of(self, widget: Widget) -> str:
        """The prompt as one line."""
        if not isinstance(widget, TextArea):
            return super().value_of(widget)
        return " ".join(line.strip() for line in widget.text.splitlines() if line.strip())

    def keys(self) -> str:
        """Enter belongs to the text."""
        return "Ctrl+S adds it · Tab next line · Esc puts it aside"

    def on_mount(self) -> None:
        """Go on where the draft ends, and say again what it means."""
        super().on_mount()
        text = self.query_one(TextArea)
        text.move_cursor(text.document.end)
        self._soon()
        self.run_worker(self._learn_names, thread=True, exit_on_error=False)

    def _learn_names(self) -> None:
        """On a thread: what can be completed."""
        names = known_names(self.project)
        if self.app.is_running and self.is_attached:
            self.app.call_from_thread(self.query_one(PromptText).know, names)

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Read it once the typing rests."""
        self._soon()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Other seeds, another count."""
        super().on_input_changed(event)
        self._soon()

    def _soon(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(READ_AFTER, self._read)

    def action_submit(self) -> None:
        """Add it. What is read while one types has no more to say: it would come after what is said of the adding, and wipe it out."""
        if self._timer is not None:
            self._timer.stop()
        super().action_submit()

    def _read(self) -> None:
        values = self.values()
        if values["text"]:
            self.run_worker(lambda: self._look(values), thread=True, group="read", exclusive=True, exit_on_error=False)
        else:
            self.tell("")

    def _look(self, values: Values) -> None:
        """On a thread: what would be added, or why it cannot be."""
        try:
            read = read_new_prompt(self.project, values["text"], values["seeds"])
            words, wrong = (read.problem, True) if read.problem else (_words(read), False)
        except (InputError, OSError) as error:
            words, wrong = str(error), True
        if self.app.is_running and self.is_attached:
            self.app.call_from_thread(self._say, values, words, wrong)

    def _say(self, values: Values, words: str, wrong: bool) -> None:
        """Unless the text is another by now, or is being added."""
        if self.is_attached and not self._busy and values == self.values():
            self.tell(words, wrong=wrong)

    def _add(self, values: Values) -> int:
        """On a thread: write it. InputError leaves the form open with what is wrong."""
        return add_prompt(self.project, values["text"], values["seeds"])

    def action_give_up(self) -> None:
        """Close with what was typed, unless it is being added this moment."""
        if not self._busy:
            self.dismiss({"text": self.query_one(TextArea).text, "seeds": self.values()["seeds"]})


def _words(read: ReadPrompt) -> str:
    lines = [f"{read.clips} clip{'s' if read.clips != 1 else ''}:", *(f"  {words}" for words in read.expansions[:MOST_LINES])]
    if read.count > MOST_LINES:
        lines.append(f"  … {read.count - MOST_LINES} more")
    return "\n".join(lines)
