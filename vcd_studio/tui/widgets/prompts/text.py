"""A text in which prompts are written: names that are begun are completed, and those that are none are underlined."""

from rich.text import Text
from textual.widgets import TextArea

from vcd_studio.project.text import in_place
from vcd_studio.tui.widgets.prompts.reading import completion, unknown_names

UNKNOWN = "underline bold"  # a name that no identity or wildcard of the project has


class PromptText(TextArea):
    """→ takes the rest of a name that stands in grey."""

    names: tuple[str, ...] = ()

    def know(self, names: tuple[str, ...]) -> None:
        """Complete these tokens and wildcards, and underline all others."""
        if names != self.names:
            self.names = names
            self._line_cache.clear()
            self.refresh()

    def update_suggestion(self) -> None:
        """The rest of a name that was begun at the end of a word."""
        row, column = self.cursor_location
        line = self.document.get_line(row)
        after = line[column : column + 1]
        self.suggestion = "" if after.isalnum() else completion(line[:column], self.names)

    def get_line(self, line_index: int) -> Text:
        """A line as it is drawn: unknown names underlined, and what a terminal would obey as a sign; the document keeps it."""
        line = Text(in_place(self.document.get_line(line_index)), end="", no_wrap=True)
        for start, end in unknown_names(line.plain, self.names):
            line.stylize(UNKNOWN, start, end)
        return line
