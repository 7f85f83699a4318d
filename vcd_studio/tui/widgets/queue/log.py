"""The log of one job: it follows its end unless it is scrolled up, can be searched, and is copied as a whole."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.strip import Strip
from textual.widgets import Input, Label, RichLog, Static

MOST = 5000  # lines kept


class JobLog(RichLog):
    """Lines of text, wrapped; those that hold `words` are marked."""

    DEFAULT_CSS = "JobLog { width: 1fr; height: 1fr; padding: 0 1; background: $surface; scrollbar-size-vertical: 1; }"

    def __init__(self) -> None:
        super().__init__(wrap=True, min_width=1, markup=False, highlight=False, max_lines=MOST)
        self.words = ""
        self.follows = True
        self._texts: list[str] = []
        self._at: int | None = None  # the row that was last gone to

    @property
    def text(self) -> str:
        """All of it, as it was written."""
        return "\n".join(self._texts)

    @property
    def count(self) -> int:
        """How many lines there are."""
        return len(self._texts)

    def add(self, lines: Iterable[Text]) -> None:
        """More lines, at the end."""
        follows = self.follows
        for line in lines:
            self._texts.append(line.plain)
            self.write(line, scroll_end=follows)
        del self._texts[:-MOST]

    def clear(self) -> "JobLog":
        """Another job's log comes."""
        self._texts.clear()
        self._at, self.follows = None, True
        super().clear()
        return self

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Scrolled up it stays where it is; back at its end it follows again."""
        super().watch_scroll_y(old_value, new_value)
        self.follows = self.max_scroll_y - new_value < 1

    def to_end(self) -> None:
        """Follow the end again."""
        self.follows = True
        self.scroll_end(animate=False)

    def search(self, words: str) -> None:
        """Mark these words from now on, upper or lower case alike; none with an empty text."""
        self.words, self._at = words.casefold(), None
        self.refresh()

    def found(self) -> list[int]:
        """The rows that hold the words."""
        return [row for row, strip in enumerate(self.lines) if self.words in strip.text.casefold()] if self.words else []

    def go(self, by: int) -> tuple[int, int]:
        """To the next row that holds the words, or to the one before, round and round: its place from 1, and how many there are."""
        rows = self.found()
        if not rows:
            return 0, 0
        at = self._at if self._at is not None else round(self.scroll_y) - (1 if by > 0 else 0)
        later, earlier = [row for row in rows if row > at], [row for row in rows if row < at]
        self._at = (later or rows)[0] if by > 0 else (earlier or rows)[-1]
        self.scroll_to(y=max(0, self._at - self.size.height // 2), animate=False)
        self.refresh()
        return rows.index(self._at) + 1, len(rows)

    def render_line(self, y: int) -> Strip:
        """The row, the words on it marked; more so where one has gone to."""
        strip, row = super().render_line(y), self.scroll_offset.y + y
        if not self.words or row >= len(self.lines):
            return strip
        text = Text.assemble(*((segment.text, segment.style or "") for segment in strip), end="")
        text.highlight_words([self.words], "bold reverse" if row == self._at else "bold underline", case_sensitive=False)
        return Strip(text.render(self.app.console), strip.cell_length)


class SearchInput(Input):
    """Goes to what is searched for as it is written."""

    HELP = "Words to search the log for. Enter goes back to the log, where n and N go from one to the next; Escape takes the search away."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "done(False)", "To the log", id="search.done", tooltip="Back to the log; n and N go on searching"),
        Binding("escape", "done(True)", "No search", id="search.clear", tooltip="Take the search away"),
    ]

    @dataclass
    class Done(Message):
        """Enter or Escape; `clear`: the search shall go."""

        clear: bool

    def action_done(self, clear: bool) -> None:
        """Back to the log."""
        self.post_message(self.Done(clear))


class LogPane(Vertical):
    """The log, and below it the line in which words to search for are written."""

    HELP = """The log of the job. It follows its end; scrolled up it stays where it is, until f or End. / searches it, n and N go from one \
place to the next, y copies all of it."""
    DEFAULT_CSS = """
    LogPane { width: 1fr; height: 1fr; }
    LogPane > Horizontal { height: 1; display: none; background: $panel; }
    LogPane > Horizontal.-open { display: block; }
    LogPane Label { width: 8; padding: 0 1; color: $text-muted; }
    LogPane Input { height: 1; border: none; width: 1fr; padding: 0 1; background: $panel; }
    LogPane Input:focus { border: none; background: $block-cursor-blurred-background; }
    LogPane #places { width: auto; padding: 0 1; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", id="log.search", tooltip="Search the log"),
        Binding("n", "go(1)", "Next", id="log.next", tooltip="The next line that holds the words"),
        Binding("N", "go(-1)", "Before", id="log.before", tooltip="The line before that holds the words"),
        Binding("y", "copy", "Copy", id="log.copy", tooltip="Copy the whole log (OSC 52, works over SSH)"),
        Binding("f,end", "follow", "To its end", id="log.follow", tooltip="To the end of the log, which is followed from then on"),
        Binding("escape", "clear", "No search", id="log.clear", tooltip="Take the search away"),
    ]

    @dataclass
    class Said(Message):
        """Something for the status line."""

        words: str

    def compose(self) -> ComposeResult:
        yield JobLog()
        with Horizontal():
            yield Label("search", markup=False)
            yield SearchInput(select_on_focus=False)
            yield Static(markup=False, id="places")

    @property
    def log_lines(self) -> JobLog:
        """The log itself."""
        return self.query_one(JobLog)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is nothing to go to, or to take away, where nothing is searched for."""
        if action in ("go", "clear"):
            return any(log.words for log in self.query(JobLog))
        return True

    def action_search(self) -> None:
        """Ask for words."""
        self.query_one(Horizontal).add_class("-open")
        self.query_one(Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """To the first place at once."""
        event.stop()
        self.log_lines.search(event.value.strip())
        self.action_go(1)
        self.refresh_bindings()

    def on_search_input_done(self, message: SearchInput.Done) -> None:
        """The log has the keys again."""
        message.stop()
        if message.clear or not self.log_lines.words:
            self.action_clear()
        self.log_lines.focus()

    def action_go(self, by: int) -> None:
        """To the next place, or to the one before."""
        place, of = self.log_lines.go(by)
        self.query_one("#places", Static).update(f"{place} of {of}")

    def action_clear(self) -> None:
        """No search any more."""
        self.query_one(Input).value = ""
        self.query_one(Horizontal).remove_class("-open")

    def action_follow(self) -> None:
        """To the end."""
        self.log_lines.to_end()

    def action_copy(self) -> None:
        """All of the log, line by line."""
        log = self.log_lines
        if log.count:
            self.app.copy_to_clipboard(log.text)
        self.post_message(self.Said(f"Copied: {log.count} lines of the log" if log.count else "There is nothing to copy here."))
