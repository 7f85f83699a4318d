"""What films beside one another were told differently, and how far their frames lie apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text
from textual.widgets import Static

from vcd_studio.project.text import plain
from vcd_studio.tui.widgets.clips.player import Reel

LEAST_ROWS = 3


@dataclass(frozen=True)
class Comparison:
    """``names`` of the columns, ``rows`` of settings that differ with a value for each, and ``sentences`` about the frames."""

    names: tuple[str, ...]
    rows: Mapping[str, tuple[Any, ...]]
    sentences: tuple[str, ...] = field(default=("comparing frames …",))

    @property
    def page(self) -> Text:
        """All of it, to read."""
        text = Text("\n".join(map(plain, self.sentences)) + "\n")
        for setting, values in self.rows.items():
            text.append(f"\n{plain(setting)}\n", "bold")
            for name, value in zip(self.names, values, strict=True):
                text.append(f"  {plain(name)}: ", "dim").append(f"{_words(value)}\n")
        return text


class Apart(Static):
    """As much of a comparison as there is room for."""

    DEFAULT_CSS = "Apart { height: auto; padding: 0 1; background: $surface; display: none; }"

    def show(self, found: Comparison) -> None:
        """The sentences, then the settings."""
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(no_wrap=True, style="dim")
        for _ in found.names:
            table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        most = max(LEAST_ROWS, self.screen.size.height // 4 - 2)
        rows = list(found.rows.items())
        left = len(rows) - most if len(rows) > most else 0
        table.add_row("" if rows else "told the same", *(Text(plain(name), "bold") for name in found.names))
        for setting, values in rows[: most - 1] if left else rows:
            table.add_row(Text(plain(setting)), *(Text(_words(value)) for value in values))
        more = [Text(f"and {left + 1} settings more: i shows all", "dim")] if left else []
        self.update(Group(*(Text(plain(sentence)) for sentence in found.sentences), table, *more))


def _words(value: Any) -> str:
    return "–" if value is None else plain(", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value))


def frames_apart(reels: Sequence[Reel]) -> tuple[str, ...]:
    """A sentence for each reel and the next. Call it on a thread: it reads all frames."""
    from vcd_studio.media.difference import difference
    from vcd_studio.media.frames import load_frames
    from vcd_studio.project.errors import InputError

    sentences = []
    for one, other in pairwise(reels):
        between = f"{one.name} → {other.name}: " if len(reels) > 2 else ""
        try:
            if without := [reel.name for reel in (one, other) if not reel.frames]:
                raise InputError(f"{' and '.join(without)} kept no frames.")
            told = str(difference(*(load_frames(reel.frames[0].parent) for reel in (one, other))))
        except InputError as error:
            told = str(error)
        sentences.append(f"{between}{told}")
    return tuple(sentences)
