"""A picture in a fixed rectangle of cells: text paints first, the picture follows from a thread, and none stands under a modal."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from rich.control import Control
from rich.segment import ControlType, Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from vcd_studio.terminal import Terminal
from vcd_studio.tui.widgets.pictures.encode import Encoded, encode, forget_kitty
from vcd_studio.tui.widgets.pictures.source import Source, Stamp

if TYPE_CHECKING:
    from vcd_studio.tui.app import StudioApp

Key = tuple[Any, ...]
_NO_STYLE = Style()
_OUT_OF_BAND = ((ControlType.CURSOR_FORWARD, 0),)  # marks a segment that takes no cells, so textual leaves it whole


class Encodings:
    """The last encodings, by source, stamp, cells and terminal; shared by all pictures and threads."""

    def __init__(self, most: int = 256) -> None:
        self._kept: OrderedDict[Key, Encoded] = OrderedDict()
        self._lock = Lock()
        self._most = most

    def get(self, key: Key) -> Encoded | None:
        """The encoding, now the youngest, or None."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Key, encoded: Encoded) -> None:
        """Keep it, and let the oldest go."""
        with self._lock:
            self._kept[key] = encoded
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)


def _kept_or_encoded(source: Source, stamp: Stamp, cells: tuple[int, int], terminal: Terminal) -> Encoded:
    """From the disk, where it was encoded before; else anew. Raises InputError or OSError where the picture cannot be read."""
    limit = cells[0] * terminal.cell_width, cells[1] * terminal.cell_height
    if terminal.graphics != "sixel":
        return encode(source.load(limit), cells, terminal)
    from vcd_studio.locations import cache_dir
    from vcd_studio.tui.widgets.pictures.kept import KeptPictures

    kept = KeptPictures(cache_dir() / "pictures")
    path = kept.path(source, stamp, cells, terminal)
    encoded = kept.get(path)
    if encoded is None:
        encoded = encode(source.load(limit), cells, terminal)
        kept.put(path, encoded)
    return encoded


class Picture(Widget):
    """Shows a Source, or an Encoded picture handed in ready (a clip being played), centred in its fixed size."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "Picture { width: 12; height: 5; }"
    encodings = Encodings()

    @dataclass
    class Ready(Message):
        """A thread has encoded (or failed to read) the picture that was asked for by `ask`."""

        ask: int
        encoded: Encoded | None
        problem: str = ""
        stamp: Stamp = ()

    def __init__(self, source: Source | None = None, *, empty: str = "", id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.source = source
        self.empty = empty
        self.problem = ""
        self.stamp: Stamp = ()
        self.encoded: Encoded | None = None
        self._ask = 0
        self._sent = 0  # the kitty picture the terminal holds for this widget
        self._loading = False

    @property
    def terminal(self) -> Terminal:
        """What the app's terminal can draw."""
        app: StudioApp = self.app  # type: ignore[assignment]
        return app.terminal

    @property
    def ready(self) -> bool:
        """Nothing is being loaded: what is seen is what was asked for."""
        return not self._loading

    def show(self, source: Source | None, empty: str | None = None) -> None:
        """Show this picture; the old one stays until the new one is ready."""
        if empty is not None:
            self.empty = empty
        if source == self.source and (self.encoded is not None or self._loading):
            return
        self.source = source
        self.reload()

    def show_encoded(self, encoded: Encoded) -> None:
        """Draw a picture that was encoded for exactly this size."""
        self._ask += 1
        self._loading = False
        self.source = None
        self._replace(encoded)

    def reload(self) -> None:
        """Load again from the files, off the UI thread."""
        self._ask += 1
        self.problem = ""
        source = self.source
        if source is None or self.terminal.graphics == "off":
            self._loading = False
            self._replace(None)
            return
        cells = self.content_size.width, self.content_size.height
        if not (self.is_attached and cells[0] and cells[1]):
            return
        self._loading = True
        ask, terminal = self._ask, self.terminal
        self.run_worker(lambda: self._load(ask, source, cells, terminal), thread=True, group="picture", exclusive=True, exit_on_error=False)

    def _load(self, ask: int, source: Source, cells: tuple[int, int], terminal: Terminal) -> None:
        """On a thread: read, scale and encode; answers with Ready, whatever happens."""
        stamp = source.stamp()
        key = (source, stamp, cells, terminal)
        encoded, problem = self.encodings.get(key) if terminal.graphics != "kitty" else None, ""
        if encoded is None:
            try:
                encoded = _kept_or_encoded(source, stamp, cells, terminal)
                self.encodings.put(key, encoded)
            except Exception as error:  # a picture that cannot be shown must never take the screen down
                problem = str(error) or type(error).__name__
        self.post_message(self.Ready(ask, encoded, problem, stamp))

    def on_picture_ready(self, message: "Picture.Ready") -> None:
        """Take the answer, unless another picture was asked for since."""
        message.stop()
        if message.ask != self._ask:
            return
        self._loading = False
        self.stamp, self.problem = message.stamp, message.problem
        self._replace(message.encoded)

    def _replace(self, encoded: Encoded | None) -> None:
        if self._sent and (encoded is None or encoded.kitty_id != self._sent):
            self._write(forget_kitty(self._sent))
            self._sent = 0
        if encoded is not None and encoded.kitty_id:
            self._write(encoded.data)
            self._sent = encoded.kitty_id
        self.encoded = encoded
        self.refresh()

    def _write(self, data: str) -> None:
        if (driver := self.app._driver) is not None:
            driver.write(data)

    def on_resize(self, event: events.Resize) -> None:
        """Another size needs another encoding."""
        if self.source is not None:
            self.encoded = None
            self.reload()

    def on_unmount(self) -> None:
        """Free what the terminal holds."""
        if self._sent:
            self._write(forget_kitty(self._sent))

    def render_lines(self, crop: Region) -> list[Strip]:
        """The picture centred on blank cells; blank alone while another screen lies over ours."""
        style = self.rich_style
        width, height = self.size
        blank = Strip.blank(width, style)
        lines = [blank] * height
        encoded = self.encoded
        if encoded is None or not encoded.rows:
            lines = self._words(width, height, style)
        elif self.is_attached and self.screen.is_active:
            left, top = max(0, (width - encoded.columns) // 2), max(0, (height - encoded.rows) // 2)
            for at, strip in enumerate(encoded.strips[: height - top]):
                pad = Strip([Segment(" " * left, style)], left), Strip([Segment(" " * (width - left - encoded.columns), style)])
                lines[top + at] = Strip.join([pad[0], strip, pad[1]])
            if encoded.data and not encoded.kitty_id:
                lines[-1] = Strip([*blank, *self._sixel_segments(encoded, left, top)], width)
        return [line.crop(crop.x, crop.right) if crop.width != width else line for line in lines[crop.y : crop.bottom]]

    def _sixel_segments(self, encoded: Encoded, left: int, top: int) -> list[Segment]:
        """After the last blank line: go to the corner, draw, and come back to where textual believes the cursor is."""
        region = self.region
        there, back = Control.move_to(region.x + left, region.y + top), Control.move_to(region.right, region.bottom - 1)
        data = f"{there.segment.text}{encoded.data}{back.segment.text}"
        return [Segment(data, _NO_STYLE, _OUT_OF_BAND)]

    def _words(self, width: int, height: int, style: Style) -> list[Strip]:
        """What stands in for a picture: why there is none, or that it is on its way."""
        from rich.text import Text

        words = self.problem or ("…" if self._loading else self.empty)
        lines = [Strip.blank(width, style)] * height
        if not words or width < 3:
            return lines
        text = Text(words, style=style, justify="center", overflow="ellipsis")
        wrapped = text.wrap(self.app.console, width)[:height]
        top = (height - len(wrapped)) // 2
        for at, line in enumerate(wrapped):
            line.truncate(width, pad=True)
            words_styled = Segment.apply_style(line.render(self.app.console), style)  # rich leaves a text without spans plain
            lines[top + at] = Strip(words_styled, width).adjust_cell_length(width, style)
        return lines
