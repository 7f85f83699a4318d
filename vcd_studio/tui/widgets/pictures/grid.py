"""Pages of pictures: a fixed grid of tiles with a cursor. It turns pages and never scrolls, so no picture is ever cut."""

from dataclasses import dataclass

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Grid
from textual.message import Message
from textual.reactive import var
from textual.widget import Widget
from textual.widgets import Static

from vcd_studio.project.text import plain
from vcd_studio.tui.widgets.pictures.picture import Picture
from vcd_studio.tui.widgets.pictures.source import Source


@dataclass(frozen=True)
class Tile:
    """One picture of a grid: a key to know it by, its source, one line below it, and a mark before that line."""

    key: str
    source: Source | None
    caption: str
    mark: str = " "
    style: str = ""


class TileView(Widget):
    """A picture and its caption; the caption carries the cursor."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    TileView { layout: vertical; }
    TileView > Picture { width: 1fr; height: 1fr; }
    TileView > Static { width: 1fr; height: 1; padding: 0; text-wrap: nowrap; text-overflow: ellipsis; }
    TileView > Static.-cursor { background: $block-cursor-blurred-background; color: $block-cursor-blurred-foreground; }
    PictureGrid:focus TileView > Static.-cursor { background: $block-cursor-background; color: $block-cursor-foreground; }
    """

    @dataclass
    class Clicked(Message):
        """The mouse chose this tile."""

        view: "TileView"

    def __init__(self) -> None:
        super().__init__()
        self.picture, self.caption = Picture(), Static(markup=False)
        self._shown: tuple[Tile | None, bool] | None = None

    def compose(self) -> ComposeResult:
        yield self.picture
        yield self.caption

    def fill(self, tile: Tile | None, cursor: bool) -> None:
        """Show this tile, or nothing; what it shows already is not drawn again."""
        if self._shown == (tile, cursor):
            return
        self._shown = tile, cursor
        self.caption.set_class(cursor and tile is not None, "-cursor")
        self.picture.show(tile.source if tile else None, "no picture" if tile else "")
        caption = Text(no_wrap=True, overflow="ellipsis")
        if tile:
            caption.append(f"{tile.mark} {plain(tile.caption)}", "" if cursor else tile.style)
        self.caption.update(caption, layout=False)

    def on_click(self) -> None:
        """Tell the grid."""
        self.post_message(self.Clicked(self))


class PictureGrid(Widget, can_focus=True):
    """Tiles of one size on pages. Posts Opened on enter."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    PictureGrid { layout: vertical; }
    PictureGrid > Grid { height: 1fr; grid-gutter: 0 1; }
    PictureGrid > Static { height: 1; width: 1fr; color: $text-muted; }
    """
    HELP = "A page of pictures. The arrow keys move, PgUp and PgDn turn the page, Enter opens."
    BINDINGS = [
        Binding("left", "move(-1)", "Left", show=False, id="grid.left", tooltip="The picture before"),
        Binding("right", "move(1)", "Right", show=False, id="grid.right", tooltip="The next picture"),
        Binding("up", "row(-1)", "Up", show=False, id="grid.up", tooltip="The row above"),
        Binding("down", "row(1)", "Down", show=False, id="grid.down", tooltip="The row below"),
        Binding("pageup", "page(-1)", "Page back", show=False, id="grid.page_back", tooltip="The page before"),
        Binding("pagedown", "page(1)", "Page on", show=False, id="grid.page_on", tooltip="The next page"),
        Binding("home", "edge(0)", "First", show=False, id="grid.first", tooltip="The first picture"),
        Binding("end", "edge(1)", "Last", show=False, id="grid.last", tooltip="The last picture"),
        Binding("enter", "open", "Open", id="grid.open", tooltip="Open the picture under the cursor"),
    ]

    current: var[Tile | None] = var(None, init=False)
    """The tile under the cursor. Who watches it is told at once, so that what is said of the tile is drawn together with the cursor."""

    @dataclass
    class Opened(Message):
        """Enter was pressed on this tile."""

        grid: "PictureGrid"
        tile: Tile

    def __init__(self, tile_size: tuple[int, int] = (12, 5), *, noun: str = "picture", empty: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self.tile_width, self.tile_height = tile_size
        self.noun = noun
        self.empty = empty
        self._note = ""  # how the tiles are ordered, or whether more will come
        self.tiles: list[Tile] = []
        self.cursor = 0
        self._columns = self._rows = 0
        self._views: list[TileView] = []

    def compose(self) -> ComposeResult:
        yield Grid()
        yield Static(markup=False)

    @property
    def page_size(self) -> int:
        """Tiles on one page."""
        return max(1, self._columns * self._rows)

    def fill(self, tiles: list[Tile], *, keep: str | None = None) -> None:
        """Show these tiles; the cursor stays on the key it was on (or goes to `keep`)."""
        wanted = keep or (self.current.key if self.current else None)
        self.tiles = tiles
        keys = [tile.key for tile in tiles]
        self._put(keys.index(wanted) if wanted in keys else min(self.cursor, max(0, len(tiles) - 1)))

    def go(self, index: int) -> None:
        """Put the cursor on this tile."""
        if not self.tiles:
            return
        index = max(0, min(len(self.tiles) - 1, index))
        if index != self.cursor:
            self._put(index)

    def _put(self, index: int) -> None:
        self.cursor = index
        self.current = self.tiles[index] if self.tiles else None
        self._draw()

    async def on_resize(self, event: events.Resize) -> None:
        """Lay out as many whole tiles as fit."""
        columns = max(1, (self.size.width + 1) // (self.tile_width + 1))
        rows = max(1, (self.size.height - 1) // self.tile_height)
        if (columns, rows) == (self._columns, self._rows):
            return
        self._columns, self._rows = columns, rows
        grid = self.query_one(Grid)
        grid.styles.grid_size_columns = columns
        grid.styles.grid_size_rows = rows
        grid.styles.grid_columns = f"{self.tile_width}"
        grid.styles.grid_rows = f"{self.tile_height}"
        views = [TileView() for _ in range(columns * rows)]
        self._views = []  # meanwhile there is nothing to draw on
        await grid.remove_children()
        await grid.mount_all(views)
        self._views = views
        self._draw()

    def _draw(self) -> None:
        if not self._views:
            return
        page = self.cursor // self.page_size
        for at, view in enumerate(self._views):
            index = page * self.page_size + at
            view.fill(self.tiles[index] if index < len(self.tiles) else None, index == self.cursor)
        self.tell(self._note)

    def tell(self, note: str) -> None:
        """Below the page: which tile this is, of how many, and this."""
        self._note = note
        pages = -(-len(self.tiles) // self.page_size)
        words = self.empty if not self.tiles else f"{self.noun} {self.cursor + 1} of {len(self.tiles)}"
        parts = (words, f"page {self.cursor // self.page_size + 1} of {pages}" if pages > 1 else "", note)
        self.query_one(Static).update(" · ".join(part for part in parts if part), layout=False)

    def on_tile_view_clicked(self, message: TileView.Clicked) -> None:
        """The mouse moves the cursor; on the tile that has it already, it opens."""
        message.stop()
        self.focus()
        index = self.cursor // self.page_size * self.page_size + self._views.index(message.view)
        if index == self.cursor:
            self.action_open()
        else:
            self.go(index)

    def action_move(self, by: int) -> None:
        """One tile on or back."""
        self.go(self.cursor + by)

    def action_row(self, by: int) -> None:
        """One row down or up; stays where there is none."""
        target = self.cursor + by * max(1, self._columns)
        if 0 <= target < len(self.tiles):
            self.go(target)

    def action_page(self, by: int) -> None:
        """One page on or back."""
        self.go(self.cursor + by * self.page_size)

    def action_edge(self, end: int) -> None:
        """The first or the last tile."""
        self.go(len(self.tiles) - 1 if end else 0)

    def action_open(self) -> None:
        """Say that the tile under the cursor is to be opened."""
        if self.current:
            self.post_message(self.Opened(self, self.current))
