"""Films beside one another, scrubbed and played as one, over a line that says where they are."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widgets import Static

from vcd_studio.project.text import plain
from vcd_studio.tui.widgets.clips.film import Bandwidth, Film

if TYPE_CHECKING:
    from vcd_studio.tui.app import StudioApp

MOST_FILMS = 3  # beside one another
LEAST_RATE, MOST_RATE = 6, 8  # frames a second in a terminal
LONGEST_LINE = 40  # frames that are dots on the line


@dataclass(frozen=True)
class Reel:
    """What one film shows."""

    name: str
    frames: tuple[Path, ...]


@dataclass(frozen=True)
class Tab:
    """A word on the line below: a stage, and whether it is seen."""

    name: str
    shown: bool


class Player(Vertical):
    """One to three reels at the same frame. Of unequal ones the shorter stays at its last frame until the longer begins anew."""

    DEFAULT_CSS = """
    Player { height: 1fr; }
    Player > #films { height: 1fr; }
    Player > #scrub { height: 1; padding: 0 1; background: $surface; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.index = 0
        self.reels: tuple[Reel, ...] = ()
        self.tabs: tuple[Tab, ...] = ()
        self.fps = MOST_RATE
        self._timer: Timer | None = None
        self._since = 0.0
        self._bandwidth = Bandwidth()

    def compose(self) -> ComposeResult:
        with Horizontal(id="films"):
            for _ in range(MOST_FILMS):
                yield Film()
        yield Static(markup=False, id="scrub")

    @property
    def count(self) -> int:
        """Frames of the longest reel."""
        return max((len(reel.frames) for reel in self.reels), default=0)

    def show(self, reels: Sequence[Reel], tabs: Sequence[Tab] = (), fps: int = MOST_RATE) -> None:
        """These reels, at the frame where it stands; where it was playing it goes on as soon as they are laid out."""
        goes_on = self._timer is not None and tuple(reels) != self.reels
        if goes_on:
            self.stop()
        self.reels, self.tabs, self.fps = tuple(reels[:MOST_FILMS]), tuple(tabs), fps
        self._draw()
        if goes_on:
            self.call_after_refresh(self.play)

    def go(self, index: int) -> None:
        """Stop at this frame, round and round."""
        self.stop()
        self.index = index % self.count if self.count else 0
        self._draw()

    def toggle(self) -> None:
        """Play, or stop where it is."""
        if self._timer is not None:
            self.go(self.index)
        else:
            self.play()

    def play(self) -> None:
        """Round and round, from the frame where it stands."""
        app: StudioApp = self.app  # type: ignore[assignment]
        if self.count < 2 or app.terminal.graphics == "off":
            return
        for film in self._films:
            film.prepare()
        rate = max(LEAST_RATE, min(MOST_RATE, self.fps))
        self._since = time.monotonic() - self.index / rate
        self._timer = self.set_interval(1 / rate, lambda: self._tick(rate))
        self._draw_line()

    def stop(self) -> None:
        """Play no further."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    @property
    def _films(self) -> list[Film]:
        return [film for film in self.query(Film) if film.display]

    def _tick(self, rate: int) -> None:
        """The frame that is due now: where drawing was slow, or the line is full, frames between are dropped."""
        if self.count and self.screen.is_active:
            now = time.monotonic()
            self.index = int((now - self._since) * rate) % self.count
            for film in self._films:
                film.play(self.index, self._bandwidth, now)
            self._draw_line()

    def _draw(self) -> None:
        nothing = Reel("", ())
        for at, film in enumerate(self.query(Film)):
            reel = self.reels[at] if at < len(self.reels) else nothing
            film.display = at < max(1, len(self.reels))
            film.show(reel.name, reel.frames, self.index)
        self._draw_line()

    def _draw_line(self) -> None:
        count, line = self.count, Text(no_wrap=True, overflow="ellipsis")
        line.append("▶ " if self._timer else "‖ ")
        if count <= LONGEST_LINE:
            line.append("─" * self.index + "●" + "─" * max(0, count - self.index - 1), self.app.theme_variables.get("accent", ""))
        line.append(f" {min(self.index + 1, count)}/{count}  ")
        for tab in self.tabs:
            line.append(f" {plain(tab.name)} ", "reverse" if tab.shown else "dim")
        if self._timer:
            ready = min((film.prepared + count - len(film.frames) for film in self._films), default=0)
            if ready < count:
                line.append(f"  getting ready {ready}/{count}", "dim")
        self.query_one("#scrub", Static).update(line)
