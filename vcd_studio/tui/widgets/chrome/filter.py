"""A line that narrows a list to what holds all of its words."""

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label, Static

from vcd_studio.project.text import plain


class FilterInput(Input):
    """Enter goes back to the list and keeps the filter; Escape takes it away."""

    HELP = "A filter: the list shows what holds all of these words. Enter goes back to the list, Escape shows everything again."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "done(False)", "To the list", id="filter.done", tooltip="Back to the list; the filter stays"),
        Binding("escape", "done(True)", "Show all", id="filter.clear", tooltip="Take the filter away"),
    ]

    def action_done(self, clear: bool) -> None:
        """Back to the list."""
        self.post_message(FilterLine.Done(clear))


class FilterLine(Horizontal):
    """Hidden until `open`; posts Changed as it is written and Done when the list shall have the keys again."""

    DEFAULT_CSS = """
    FilterLine { height: 1; display: none; background: $panel; }
    FilterLine.-open { display: block; }
    FilterLine Label { width: 8; padding: 0 1; color: $text-muted; }
    FilterLine Input { height: 1; border: none; width: 1fr; padding: 0 1; background: $panel; }
    FilterLine Input:focus { border: none; background: $block-cursor-blurred-background; }
    FilterLine Static { width: auto; padding: 0 1; color: $text-muted; }
    """

    @dataclass
    class Changed(Message):
        """Other words."""

        words: str

    @dataclass
    class Done(Message):
        """Enter or Escape; `clear`: the filter shall go."""

        clear: bool

    def __init__(self, hint: str = "") -> None:
        super().__init__()
        self.hint = hint

    def compose(self) -> ComposeResult:
        yield Label("filter", markup=False)
        yield FilterInput(placeholder=self.hint, select_on_focus=False)
        yield Static(markup=False, id="found")

    @property
    def words(self) -> str:
        """What the list is narrowed to; empty for everything."""
        return self.query_one(Input).value

    @property
    def is_open(self) -> bool:
        """Whether it is there to be taken away."""
        return self.has_class("-open")

    @property
    def is_written(self) -> bool:
        """Whether it has the keys."""
        return self.query_one(Input).has_focus

    def open(self) -> None:
        """Show the line and give it the keys."""
        self.add_class("-open")
        self.query_one(Input).focus()

    def clear(self) -> None:
        """Everything again, and the line away."""
        self.query_one(Input).value = ""
        self.remove_class("-open")

    def found(self, shown: int, of: int) -> None:
        """How many of the list are left."""
        self.query_one("#found", Static).update(f"{shown} of {of}")

    def complain(self, sentence: str) -> None:
        """What cannot be understood in these words, in place of how many are left."""
        self.query_one("#found", Static).update(Text(plain(sentence), "bold"))

    def matches(self, *texts: object) -> bool:
        """Whether every word of the filter is somewhere in these texts."""
        words, text = self.words.casefold().split(), " ".join(map(str, texts)).casefold()
        return all(word in text for word in words)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Narrow at once."""
        event.stop()
        self.post_message(self.Changed(event.value))
