"""The mask of one photo, drawn by keyboard or mouse: brush, fill, grow and shrink, undo; saved as "corrected", the photo untouched."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from vcd_studio.project.errors import InputError
from vcd_studio.project.text import plain
from vcd_studio.tui.screens.base import StudioScreen
from vcd_studio.tui.screens.dialogs.dialogs import Confirm
from vcd_studio.tui.widgets.pictures.drawing import Brush, View, draw, grain, view_round
from vcd_studio.tui.widgets.pictures.encode import Encoded
from vcd_studio.tui.widgets.pictures.picture import Picture
from vcd_studio.tui.widgets.pictures.source import MASK_STYLES, MaskStyle

if TYPE_CHECKING:
    from PIL.Image import Image

    from vcd_studio.media.mask_canvas import MaskCanvas
    from vcd_studio.project.identity import Identity, Photo

Change = Callable[["MaskCanvas"], object]
RADII = (0, 1, 2, 3, 5, 8, 12, 18, 27, 40, 60, 90, 135, 200, 300, 450)
ZOOMS = (1, 2, 4, 8, 16)
FAST = 8  # dots that the cursor moves with shift held


class MaskEditor(StudioScreen):
    """Draws one photo's mask. Closes on Escape; what was saved is on disk by then."""

    MODE = "identity"
    HELP = """The mask of one photo. The arrow keys move the brush (with Shift faster); Space makes a dab; d lowers the pen, so that moving
draws, and lifts it again. e turns the brush into an eraser and back. The mouse draws where it is pressed.
What is saved is the mask alone: the photo is never changed, and segmenting leaves this mask alone until u sets it to automatic."""
    DEFAULT_CSS = """
    MaskEditor #body { height: 1fr; }
    MaskEditor #drawing { width: 1fr; height: 1fr; }
    MaskEditor #facts { height: 1; padding: 0 1; background: $surface; text-wrap: nowrap; text-overflow: ellipsis; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "dab", "Dab", id="mask.dab", tooltip="Paint or erase once where the brush stands"),
        Binding("d", "pen", "Pen", id="mask.pen", tooltip="Lower the pen, so that moving draws, or lift it"),
        Binding("e", "erase", "Erase", id="mask.erase", tooltip="Erase instead of painting, or paint again"),
        Binding("left_square_bracket", "size(-1)", "Smaller", id="mask.smaller", tooltip="A smaller brush"),
        Binding("right_square_bracket", "size(1)", "Larger", id="mask.larger", tooltip="A larger brush"),
        Binding("f", "fill", "Fill", id="mask.fill", tooltip="Turn the whole region under the brush: fills holes, takes specks away"),
        Binding("u,ctrl+z", "undo", "Undo", id="mask.undo", tooltip="Take the last stroke back"),
        Binding("s,ctrl+s", "save", "Save", id="mask.save", tooltip='Write the mask; its state becomes "corrected"'),
        Binding("escape,q,ctrl+q", "close", "Close", id="mask.close", tooltip="Back to the identity; asks if something is not saved"),
        Binding("z", "zoom(1)", "Zoom in", id="mask.zoom_in", tooltip="See half as much, twice as large, round the brush"),
        Binding("Z", "zoom(-1)", "Zoom out", id="mask.zoom_out", tooltip="See twice as much"),
        Binding("plus", "grow(1)", "Grow", id="mask.grow", tooltip="Move the mask's edge outwards by one dot of the screen"),
        Binding("minus", "grow(-1)", "Shrink", id="mask.shrink", tooltip="Move the mask's edge inwards by one dot of the screen"),
        Binding("r,ctrl+y", "redo", "Redo", show=False, id="mask.redo", tooltip="Do again what was taken back"),
        Binding("m", "style", "Mask view", show=False, id="mask.style", tooltip="Veil over the background, mask alone, hidden, or outline"),
        Binding("left", "move(-1, 0)", "Left", show=False, id="mask.left", tooltip="Move the brush left"),
        Binding("right", "move(1, 0)", "Right", show=False, id="mask.right", tooltip="Move the brush right"),
        Binding("up", "move(0, -1)", "Up", show=False, id="mask.up", tooltip="Move the brush up"),
        Binding("down", "move(0, 1)", "Down", show=False, id="mask.down", tooltip="Move the brush down"),
        Binding("shift+left", f"move(-{FAST}, 0)", "Far left", show=False, id="mask.far_left", tooltip=f"{FAST} dots to the left"),
        Binding("shift+right", f"move({FAST}, 0)", "Far right", show=False, id="mask.far_right", tooltip=f"{FAST} dots to the right"),
        Binding("shift+up", f"move(0, -{FAST})", "Far up", show=False, id="mask.far_up", tooltip=f"{FAST} dots up"),
        Binding("shift+down", f"move(0, {FAST})", "Far down", show=False, id="mask.far_down", tooltip=f"{FAST} dots down"),
    ]

    def __init__(self, identity: "Identity", photo: "Photo") -> None:
        super().__init__()
        self.identity, self.photo = identity, photo
        self.canvas: MaskCanvas | None = None
        self.x = self.y = 0
        self.pen_down = self.erases = False
        self.style: MaskStyle = "overlay"
        self._image: Image | None = None
        self._radius = 0
        self._zoom = 0
        self._view: View | None = None
        self._drawing = self._again = False
        self._at_work = False
        self._waiting: list[tuple[Change, bool]] = []

    def body(self) -> ComposeResult:
        with Vertical(id="body"):
            yield Picture(id="drawing", empty="…")
            yield Static(markup=False, id="facts")

    # ── opening and showing ──

    def on_mount(self) -> None:
        """Read the photo and its mask."""
        super().on_mount()
        self.attempt(lambda: _open(self.photo), self._opened)

    def _opened(self, found: "tuple[Image, MaskCanvas]") -> None:
        self._image, self.canvas = found
        self.x, self.y = self.canvas.width // 2, self.canvas.height // 2
        self._radius = next((at for at, radius in enumerate(RADII) if radius * 25 >= min(found[0].size)), len(RADII) - 1)
        self.redraw()

    @property
    def ready(self) -> bool:
        """What is seen is what there is."""
        return self.canvas is not None and not self._drawing and not self._at_work

    @property
    def radius(self) -> int:
        """The brush's, in pixels of the photo."""
        return RADII[self._radius]

    @property
    def _cells(self) -> tuple[int, int]:
        size = self.query_one("#drawing", Picture).content_size
        return size.width, size.height

    def redraw(self) -> None:
        """Draw on a thread; what changes meanwhile is drawn once, afterwards."""
        image, canvas, cells = self._image, self.canvas, self._cells
        self._show_facts()
        if image is None or canvas is None or not all(cells):
            return
        if self._drawing:
            self._again = True
            return
        self._drawing, self._again = True, False
        view = self._view = view_round(image.size, ZOOMS[self._zoom], (self.x, self.y), self._view)
        mask = canvas.mask[view.top : view.top + view.height, view.left : view.left + view.width].copy()
        brush, style, terminal = Brush(self.x, self.y, self.radius, self.erases), self.style, self.studio.terminal
        self.attempt(lambda: draw(image, mask, view, brush, style, cells, terminal), self._drawn, group="draw")

    def _drawn(self, encoded: Encoded) -> None:
        self._drawing = False
        self.query_one("#drawing", Picture).show_encoded(encoded)
        if self._again:
            self.redraw()

    def on_resize(self, event: events.Resize) -> None:
        """Another size shows another drawing."""
        self.call_after_refresh(self.redraw)

    def _show_facts(self) -> None:
        canvas = self.canvas
        if canvas is None:
            return
        tool = "erase" if self.erases else "paint"
        state = ["at work …"] if self._at_work else ["not saved (s)"] if canvas.changed else []
        words = [plain(self.photo.name), *state, f"{tool}, brush {2 * self.radius + 1} px", f"pen {'down' if self.pen_down else 'up'}"]
        words += [f"at {self.x}, {self.y} of {canvas.width} × {canvas.height}", f"zoom × {ZOOMS[self._zoom]}"]
        self.query_one("#facts", Static).update(Text(" · ".join(words), no_wrap=True, overflow="ellipsis"))

    # ── moving ──

    def _dot(self) -> int:
        """Pixels of the photo behind one dot of the screen."""
        if self._view is None or not all(self._cells):
            return 1
        return max(1, round(self._view.width / grain(self._view, self._cells, self.studio.terminal)[0]))

    def action_move(self, across: int, down: int) -> None:
        """Move the brush by so many dots, drawing if the pen is down."""
        if self.canvas is not None:
            self._go(self.x + across * self._dot(), self.y + down * self._dot())

    def _go(self, x: int, y: int) -> None:
        canvas = self.canvas
        if canvas is None:
            return
        before = self.x, self.y
        self.x, self.y = max(0, min(canvas.width - 1, x)), max(0, min(canvas.height - 1, y))
        after, radius, paint = (self.x, self.y), self.radius, not self.erases
        if self.pen_down:
            self._change(lambda canvas: canvas.line(before, after, radius, paint))
        else:
            self.redraw()

    def action_zoom(self, by: int) -> None:
        """See less or more of the photo."""
        self._zoom = max(0, min(len(ZOOMS) - 1, self._zoom + by))
        self.redraw()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """The pen goes down where the mouse is pressed."""
        if (place := self._place(event)) is not None:
            self.pen_down = False
            self._go(*place)
            self.action_pen()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Draw while the button is held."""
        if event.button and self.pen_down and (place := self._place(event)) is not None:
            self._go(*place)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """The pen goes up again."""
        if self.pen_down:
            self.action_pen()

    def _place(self, event: events.MouseEvent) -> tuple[int, int] | None:
        """The photo's pixel under the mouse; None beside it."""
        picture, view = self.query_one("#drawing", Picture), self._view
        encoded, region = picture.encoded, picture.region
        if view is None or encoded is None or not encoded.columns or not region.contains(event.screen_x, event.screen_y):
            return None
        column = event.screen_x - region.x - max(0, (region.width - encoded.columns) // 2)
        row = event.screen_y - region.y - max(0, (region.height - encoded.rows) // 2)
        if not (0 <= column < encoded.columns and 0 <= row < encoded.rows):
            return None
        return view.left + int((column + 0.5) / encoded.columns * view.width), view.top + int((row + 0.5) / encoded.rows * view.height)

    # ── drawing ──

    def _change(self, change: Change, *, long: bool = False) -> None:
        """Change the mask, a ``long`` one on a thread; what is asked for meanwhile follows in its order."""
        canvas = self.canvas
        if canvas is None:
            return
        if self._at_work:
            self._waiting.append((change, long))
        elif long:
            self._at_work = True
            self._show_facts()
            self.attempt(lambda: change(canvas), self._changed, group="change")
        else:
            change(canvas)
            self.redraw()

    def _changed(self, _: object) -> None:
        self._at_work = False
        waiting, self._waiting = self._waiting, []
        for change, long in waiting:
            self._change(change, long=long)
        self.redraw()

    def action_dab(self) -> None:
        """Paint or erase once."""
        x, y, radius, paint = self.x, self.y, self.radius, not self.erases

        def dab(canvas: "MaskCanvas") -> None:
            canvas.begin()
            canvas.dab(x, y, radius, paint)

        self._change(dab)

    def action_pen(self) -> None:
        """Lower the pen, which is a stroke of its own to undo, or lift it."""
        self.pen_down = not self.pen_down and self.canvas is not None
        if self.pen_down:
            self.action_dab()
        else:
            self.redraw()

    def action_erase(self) -> None:
        """The other tool."""
        self.erases = not self.erases
        if self.pen_down:
            self._change(lambda canvas: canvas.begin())
        self.redraw()

    def action_size(self, by: int) -> None:
        """Another brush."""
        self._radius = max(0, min(len(RADII) - 1, self._radius + by))
        self.redraw()

    def action_fill(self) -> None:
        """Turn the region under the brush."""
        x, y = self.x, self.y

        def fill(canvas: "MaskCanvas") -> None:
            canvas.begin()
            canvas.fill(x, y)

        self._change(fill, long=True)

    def action_grow(self, by: int) -> None:
        """Move the edge."""
        pixels = by * self._dot()

        def grow(canvas: "MaskCanvas") -> None:
            canvas.begin()
            canvas.grow(pixels)

        self._change(grow, long=True)

    def action_undo(self) -> None:
        """One stroke back."""
        self._step(lambda canvas: canvas.undo(), "Nothing is left to undo.")

    def action_redo(self) -> None:
        """One stroke on."""
        self._step(lambda canvas: canvas.redo(), "Nothing is left to do again.")

    def _step(self, step: "Callable[[MaskCanvas], bool]", otherwise: str) -> None:
        self.pen_down = False

        def change(canvas: "MaskCanvas") -> None:
            if not step(canvas):
                self.say(otherwise)

        self._change(change)

    def action_style(self) -> None:
        """The next way to show the mask."""
        self.style = MASK_STYLES[(MASK_STYLES.index(self.style) + 1) % len(MASK_STYLES)]
        self.redraw()

    # ── keeping ──

    def action_save(self) -> None:
        """Write the mask, with what is being worked out."""
        self._change(self._save)

    def _save(self, canvas: "MaskCanvas") -> None:
        mask = canvas.mask.copy()

        def saved(_: object) -> None:
            canvas.saved()
            self.say(f"Saved: the mask of {self.photo.name} is corrected.")
            self._show_facts()

        self.attempt(lambda: self.identity.correct_mask(self.photo.name, mask), saved, group="save")

    def action_close(self) -> None:
        """Back, unless something would be lost."""
        if self.canvas is None or not (self._at_work or self.canvas.changed):
            self.dismiss()
            return
        question = Confirm("The mask has changes that are not saved.", ["n stays here, where s saves."], "leave without them")

        def answered(yes: bool | None) -> None:
            if yes:
                self.dismiss()

        self.app.push_screen(question, answered)


def _open(photo: "Photo") -> "tuple[Image, MaskCanvas]":
    """On a thread: the upright photo and its mask, an empty one where there is none."""
    import numpy as np

    from vcd_studio.media.mask_canvas import MaskCanvas
    from vcd_studio.project.photos import open_photo, read_mask

    image = open_photo(photo.path)
    mask = read_mask(photo.mask_path) > 127 if photo.has_mask else np.zeros((image.height, image.width), bool)
    if mask.shape != (image.height, image.width):
        raise InputError(
            f"The mask {photo.mask_path.name} has {mask.shape[1]} × {mask.shape[0]} pixels and its photo {image.width} × {image.height}; "
            "segment the photo again, then correct it."
        )
    return image, MaskCanvas(mask)
