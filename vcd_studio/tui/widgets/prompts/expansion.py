"""The list beside the editor: each prompt with a mark, its expansions below it, its problem where it has one."""

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from vcd_studio.project.text import plain
from vcd_studio.tui.widgets.chrome.options import Options
from vcd_studio.tui.widgets.prompts.reading import Reading, ReadPrompt


class Expansion(Options):
    """Prompts to choose from. Space marks; marks stay with a prompt's text while the editor changes around it."""

    HELP = """What the prompts expand to. Space marks the prompt under the cursor;
e enqueues the marked ones (or this one), E all of them; Enter goes to its line."""
    DEFAULT_CSS = """
    Expansion { border: none; padding: 0; background: $background; scrollbar-size-vertical: 1; }
    Expansion:focus { border: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", id="expansion.mark", tooltip="Mark this prompt for enqueueing, or unmark it"),
    ]

    @dataclass
    class GoToLine(Message):
        """Enter was pressed on the prompt of this line."""

        line: int

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self.reading = Reading()
        self.marked: set[str] = set()

    def show(self, reading: Reading) -> None:
        """List these prompts."""
        self.reading = reading
        self.marked &= {one.prompt.written for one in reading.prompts}
        self._fill()

    def _fill(self) -> None:
        at = self.highlighted
        if self.reading.problem:
            line = f"line {self.reading.line}: " if self.reading.line else ""
            self.set_options([Option(Text(f"✗ {line}{plain(self.reading.problem)}", self._error), disabled=True)])
            return
        if not self.reading.prompts:
            self.set_options([Option(Text("No prompt yet: a adds one", "dim"), disabled=True)])
            return
        self.set_options([Option(self._words(one)) for one in self.reading.prompts])
        self.highlighted = min(at or 0, len(self.reading.prompts) - 1)

    @property
    def _error(self) -> str:
        return self.app.theme_variables.get("error", "")

    def _words(self, one: ReadPrompt) -> Text:
        text = Text(overflow="fold")
        text.append("◉ " if one.prompt.written in self.marked else "○ ")
        if one.problem:
            text.append(f"line {one.prompt.line}: ", "dim").append(plain(one.problem), self._error)
            return text
        text.append(f"line {one.prompt.line} · {one.clips} clip{'s' if one.clips != 1 else ''}", "dim")
        for words in one.expansions:
            text.append(f"\n  {plain(words)}")
        if one.count > len(one.expansions):
            text.append(f"\n  … {one.count - len(one.expansions)} more", "dim")
        return text

    def chosen(self) -> list[ReadPrompt]:
        """The marked prompts, or the one under the cursor where none is marked."""
        marked = [one for one in self.reading.prompts if one.prompt.written in self.marked]
        if not marked and self.highlighted is not None and self.highlighted < len(self.reading.prompts):
            marked = [self.reading.prompts[self.highlighted]]
        return marked

    def action_mark(self) -> None:
        """Mark or unmark the prompt under the cursor, and go to the next."""
        if self.highlighted is not None and self.highlighted < len(self.reading.prompts):
            self.marked ^= {self.reading.prompts[self.highlighted].prompt.written}
            self._fill()
            self.action_cursor_down()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Go to the prompt's line."""
        event.stop()
        if event.option_index < len(self.reading.prompts):
            self.post_message(self.GoToLine(self.reading.prompts[event.option_index].prompt.line))
