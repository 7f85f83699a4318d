"""A form over a screen: a few inputs, checked by the work itself. What was typed stays until it is right or given up."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.suggester import Suggester
from textual.widget import Widget
from textual.widgets import Input, Label, Static

from vcd_studio.project.text import plain
from vcd_studio.tui.screens.dialogs.dialogs import BOX_CSS
from vcd_studio.tui.screens.dialogs.modal import Modal

Values = dict[str, str]


@dataclass(frozen=True)
class Field:
    """One line of a form. `choices` makes it a choice; `path` completes file names; `when` hides it while it returns False."""

    name: str
    label: str
    value: str = ""
    hint: str = ""
    path: bool = False
    choices: tuple[str, ...] = ()
    when: Callable[[Values], bool] | None = None


class PathSuggester(Suggester):
    """Completes the path being typed with the first folder or file that begins so (→ takes it)."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """The completed text, or None."""
        if not value:
            return None
        folder, _, start = value.rpartition("/")
        where = Path(folder or ("/" if value.startswith("/") else ".")).expanduser()
        try:
            entries = sorted(where.iterdir(), key=lambda entry: (not entry.is_dir(), entry.name))
        except OSError:
            return None
        for entry in entries:
            if entry.name.startswith(start) and entry.name != start and (start or not entry.name.startswith(".")):
                return value[: len(value) - len(start)] + entry.name + ("/" if entry.is_dir() else "")
        return None


class Line(Input):
    """An input whose Enter moves on at once: keys that were typed faster than the focus moved go where they were meant."""

    async def _on_key(self, event: events.Key) -> None:
        focused, form = self.screen.focused, self.screen
        if focused is not None and focused is not self:
            event.stop()
            event.prevent_default()
            focused._forward_event(events.Key(event.key, event.character))
        elif event.key == "enter" and isinstance(form, Form):
            event.stop()
            event.prevent_default()
            form.line_done(self)
        else:
            await super()._on_key(event)


class Choice(Widget, can_focus=True):
    """One of a few words: ← → or space change it."""

    DEFAULT_CSS = """
    Choice { height: 1; width: 1fr; padding: 0 1; }
    Choice:focus { background: $block-cursor-blurred-background; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "turn(-1)", "Before", show=False, id="choice.before", tooltip="The choice before"),
        Binding("right,space", "turn(1)", "Change", show=False, id="choice.next", tooltip="The next choice"),
    ]

    @dataclass
    class Changed(Message):
        """Another word was chosen."""

        value: str

    def __init__(self, choices: tuple[str, ...], value: str, id: str) -> None:
        super().__init__(id=id)
        self.choices = choices
        self.value = value if value in choices else choices[0]

    def render(self) -> Text:
        """All words, the chosen one marked; where they do not fit, the chosen one between arrows."""
        if sum(len(choice) + 4 for choice in self.choices) > self.size.width:
            return Text(f"‹ {plain(self.value)} ›", "bold", no_wrap=True)
        text = Text(no_wrap=True)
        for choice in self.choices:
            text.append(f" {'●' if choice == self.value else '○'} {plain(choice)} ", "bold" if choice == self.value else "dim")
        return text

    def action_turn(self, by: int) -> None:
        """The next word, round and round."""
        self.value = self.choices[(self.choices.index(self.value) + by) % len(self.choices)]
        self.refresh()
        self.post_message(self.Changed(self.value))


class Form(Modal[Any]):
    """Asks for values and hands them to `work` on a thread; its result closes the form, its complaint is shown inside."""

    DEFAULT_CSS = (
        BOX_CSS.format(name="Form")
        + """
    Form Label { color: $text-muted; }
    Form Input { height: 1; border: none; padding: 0 1; background: $panel; margin-bottom: 1; }
    Form Input:focus { border: none; background: $block-cursor-blurred-background; }
    Form Choice { margin-bottom: 1; }
    Form #problem { color: $text-muted; height: auto; }
    Form #problem.-wrong { color: $text-error; }
    """
    )
    HELP = "A form. Tab and Shift+Tab move between the lines, → takes a suggestion, Enter in the last line does it, Escape gives up."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "give_up", "Give up", id="form.give_up", tooltip="Close the form and change nothing"),
        Binding("ctrl+s", "submit", "Do it", id="form.submit", tooltip="Do it with what the form holds now", priority=True),
        Binding("enter", "submit", "Do it", show=False, id="form.enter", tooltip="Do it"),
        Binding("down", "app.focus_next", "Next line", show=False, id="form.next", tooltip="The next line"),
        Binding("up", "app.focus_previous", "Line before", show=False, id="form.previous", tooltip="The line before"),
    ]

    @dataclass
    class Answered(Message):
        """The work came back."""

        result: Any
        problem: str = ""

    def __init__(self, title: str, fields: list[Field], work: Callable[[Values], Any], done: str = "Do it", note: str = "") -> None:
        super().__init__()
        self.form_title, self.fields, self.work, self.done, self.note = title, fields, work, done, note
        self._busy = False

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as box:
            box.border_title = Text(plain(self.form_title)).markup
            if self.note:
                yield Static(Text(plain(self.note)), markup=False, id="note")
            for field in self.fields:
                yield Label(field.label, markup=False, id=f"label-{field.name}")
                yield self.line_for(field)
            yield Static(markup=False, id="problem")
            yield Static(self.keys(), markup=False, classes="keys")

    def line_for(self, field: Field) -> Widget:
        """The widget in which this field is written; its id is `field-` and the field's name."""
        if field.choices:
            return Choice(field.choices, field.value, f"field-{field.name}")
        suggester = PathSuggester() if field.path else None
        return Line(field.value, placeholder=field.hint, suggester=suggester, id=f"field-{field.name}", select_on_focus=False)

    def value_of(self, widget: Widget) -> str:
        """What stands in a widget that `line_for` made."""
        return widget.value.strip() if isinstance(widget, (Input, Choice)) else ""

    def keys(self) -> str:
        """The main keys, below the fields."""
        return f"Tab next line · Enter {self.done} · Esc give up"

    def on_mount(self) -> None:
        """Begin in the first line."""
        self._show_fields()
        self.query_one(f"#field-{self.fields[0].name}").focus()

    def values(self) -> Values:
        """What the form holds now."""
        return {field.name: self.value_of(self.query_one(f"#field-{field.name}")) for field in self.fields}

    def tell(self, words: str, *, wrong: bool = False) -> None:
        """A remark below the fields, or what is wrong with them."""
        self.query_one("#problem", Static).set_class(wrong, "-wrong").update(Text(plain(words, lines=True)))

    def _show_fields(self) -> None:
        values = self.values()
        for field in self.fields:
            if field.when is not None:
                shown = field.when(values)
                self.query_one(f"#field-{field.name}").display = shown
                self.query_one(f"#label-{field.name}").display = shown

    def on_input_changed(self, event: Input.Changed) -> None:
        """A line may show or hide another."""
        self._show_fields()

    def line_done(self, line: Line) -> None:
        """Enter goes to the next line, and from the last one does it."""
        self._show_fields()
        lines = [self.query_one(f"#field-{field.name}") for field in self.fields]
        lines = [one for one in lines if one.display]
        if line is lines[-1]:
            self.action_submit()
        else:
            self.set_focus(lines[lines.index(line) + 1])

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter that was typed on a choice, and came to the line that had the focus by then."""
        event.stop()
        if isinstance(event.input, Line):
            self.line_done(event.input)

    def on_key(self, event: events.Key) -> None:
        """Up and down move between the lines although inputs know them too."""
        if event.key in ("up", "down") and isinstance(self.focused, Input):
            event.stop()
            (self.focus_next if event.key == "down" else self.focus_previous)()

    def action_submit(self) -> None:
        """Hand the values to the work, once at a time."""
        if self._busy:
            return
        self._busy = True
        self.tell("…")
        values = self.values()
        self.run_worker(lambda: self._work(values), thread=True, exit_on_error=False)

    def _work(self, values: Values) -> None:
        """On a thread: do it, and say how it went."""
        try:
            self.post_message(self.Answered(self.work(values)))
        except Exception as error:  # shown in the form, whatever it is: what was typed must not be lost
            self.post_message(self.Answered(None, str(error) or type(error).__name__))

    def on_form_answered(self, message: "Form.Answered") -> None:
        """Close with the result, or show the complaint."""
        message.stop()
        self._busy = False
        if message.problem:
            self.tell(message.problem, wrong=True)
        else:
            self.dismiss(message.result)

    def action_give_up(self) -> None:
        """Close without a result."""
        self.dismiss(None)
