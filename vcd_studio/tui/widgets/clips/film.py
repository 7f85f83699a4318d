"""One stage of a clip: a frame at a time, or played from frames that were encoded beforehand."""

from pathlib import Path
from threading import Event

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.widget import Widget
from textual.widgets import Static

from vcd_studio.project.text import plain
from vcd_studio.terminal import Terminal
from vcd_studio.tui.widgets.pictures.encode import Encoded, encode
from vcd_studio.tui.widgets.pictures.picture import Picture
from vcd_studio.tui.widgets.pictures.source import Source

PLAY_PIXELS = 320  # the longest side of a frame that is played: more is more than a terminal takes in time
PLAY_COLOURS = 64
PLAY_BYTES = 1_000_000  # a second, over all films of the screen: about eight frames of 320 × 375 at 64 colours


class Bandwidth:
    """A bucket of bytes that fills with time: a frame is drawn when it is in, else dropped, so that a slow line stays usable."""

    def __init__(self, most: int = PLAY_BYTES) -> None:
        self.most = most
        self._left = float(most)
        self._at = 0.0

    def take(self, size: int, now: float) -> bool:
        """Whether `size` bytes may be written at `now` (seconds, rising). A frame larger than a second's bytes waits for them all."""
        self._left = min(float(self.most), self._left + (now - self._at) * self.most)
        self._at = now
        if self._left < min(size, self.most):
            return False
        self._left -= size
        return True


class Film(Widget):
    """A stage's frames over its name. While playing, a frame that is not encoded yet is left out, never waited for."""

    DEFAULT_CSS = """
    Film { layout: vertical; width: 1fr; height: 1fr; margin: 0 1; }
    Film Picture { width: 1fr; height: 1fr; }
    Film Static { height: 1; text-align: center; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.stage = ""
        self.frames: tuple[Path, ...] = ()
        self._encoded: dict[int, Encoded] = {}
        self._cells = (0, 0)
        self._give_up = Event()
        self._shown: int | None = None

    def compose(self) -> ComposeResult:
        yield Picture(empty="no frames")
        yield Static(markup=False)

    def show(self, stage: str, frames: tuple[Path, ...], index: int) -> None:
        """Show one frame as a picture of full quality."""
        if (stage, frames) != (self.stage, self.frames):
            self.forget()
            self.stage, self.frames = stage, frames
        self._shown = None
        picture = self.query_one(Picture)
        picture.show(Source(frames[min(index, len(frames) - 1)]) if frames else None)
        self.query_one(Static).update(Text(plain(stage), no_wrap=True))

    def prepare(self) -> None:
        """Begin to encode all frames for playing, on a thread."""
        picture = self.query_one(Picture)
        terminal = picture.terminal
        cells = play_cells((picture.size.width, picture.size.height), terminal)
        if not self.frames or not all(cells) or terminal.graphics == "off" or (self._encoded and cells == self._cells):
            return
        self.forget()
        self._cells = cells
        give_up = self._give_up = Event()
        frames, kept = self.frames, self._encoded
        self.run_worker(
            lambda: _encode_all(frames, cells, terminal, kept, give_up), thread=True, group="film", exclusive=True, exit_on_error=False
        )

    def forget(self) -> None:
        """Stop encoding and let the frames go."""
        self._give_up.set()
        self._encoded = {}

    @property
    def prepared(self) -> int:
        """How many frames can be played."""
        return len(self._encoded)

    def play(self, index: int, bandwidth: Bandwidth, now: float) -> None:
        """Draw this frame if it is ready, not drawn already, and the line has room for it."""
        encoded = self._encoded.get(index)
        if encoded is not None and index != self._shown and bandwidth.take(_bytes(encoded), now):
            self._shown = index
            self.query_one(Picture).show_encoded(encoded)

    def on_resize(self, event: events.Resize) -> None:
        """Frames of another size are of no use."""
        if self._encoded:
            self.forget()

    def on_unmount(self) -> None:
        """Let the thread end."""
        self._give_up.set()


def _bytes(encoded: Encoded) -> int:
    """About how much is written to draw it: a picture's data, or the letters and colours of its half cells."""
    return len(encoded.data) or sum(40 * len(strip._segments) + strip.cell_length * 3 for strip in encoded.strips)


def play_cells(cells: tuple[int, int], terminal: Terminal) -> tuple[int, int]:
    """The cells a played frame may take: half cells all there are, pixels up to PLAY_PIXELS each way."""
    if terminal.graphics == "halfcell":
        return cells
    return min(cells[0], PLAY_PIXELS // terminal.cell_width), min(cells[1], PLAY_PIXELS // terminal.cell_height)


def _encode_all(frames: tuple[Path, ...], cells: tuple[int, int], terminal: Terminal, kept: dict[int, Encoded], give_up: Event) -> None:
    """On a thread: frame after frame into `kept`; a frame that cannot be read is left out."""
    from vcd_studio.project.errors import InputError

    limit = cells[0] * terminal.cell_width, cells[1] * terminal.cell_height
    for index, frame in enumerate(frames):
        if give_up.is_set():
            return
        try:
            kept[index] = encode(Source(frame).load(limit), cells, terminal, PLAY_COLOURS)
        except (InputError, OSError):
            continue
