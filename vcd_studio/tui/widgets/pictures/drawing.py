"""A mask being drawn over its photo: the part of the photo that is seen, the veil, and the brush where it stands."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vcd_studio.terminal import Terminal
from vcd_studio.tui.widgets.pictures.encode import Encoded, encode, fit
from vcd_studio.tui.widgets.pictures.source import MaskStyle, with_mask

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

COLOURS = 64  # a drawing is sent anew with every key: half the bytes of 256
PAINT, ERASE = (0, 230, 255), (255, 210, 0)


@dataclass(frozen=True)
class View:
    """The part of the photo that is seen, in its pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """As PIL crops."""
        return self.left, self.top, self.left + self.width, self.top + self.height


def view_round(size: tuple[int, int], zoom: int, cursor: tuple[int, int], before: View | None) -> View:
    """The part seen at this zoom: where it was, as long as the cursor is well inside; else moved to have the cursor in its middle."""
    width, height = max(1, size[0] // zoom), max(1, size[1] // zoom)
    if before is not None and (before.width, before.height) == (width, height):
        margin_x, margin_y = width // 8, height // 8
        inside_x = before.left + margin_x <= cursor[0] < before.left + width - margin_x
        inside_y = before.top + margin_y <= cursor[1] < before.top + height - margin_y
        left = before.left if inside_x else cursor[0] - width // 2
        top = before.top if inside_y else cursor[1] - height // 2
    else:
        left, top = cursor[0] - width // 2, cursor[1] - height // 2
    return View(max(0, min(size[0] - width, left)), max(0, min(size[1] - height, top)), width, height)


def grain(view: View, cells: tuple[int, int], terminal: Terminal) -> tuple[int, int]:
    """How many dots, across and down, the terminal draws of this view: pixels, or half cells."""
    width, height = fit((view.width, view.height), cells, terminal)
    if terminal.graphics == "halfcell":
        return -(-width // terminal.cell_width), -(-height // terminal.cell_height) * 2
    return width, height


@dataclass(frozen=True)
class Brush:
    """Where it stands and how large it is, in pixels of the photo; whether it erases."""

    x: int
    y: int
    radius: int
    erases: bool = False


def draw(
    photo: "Image", mask: "npt.NDArray[np.bool_]", view: View, brush: Brush, style: MaskStyle, cells: tuple[int, int], terminal: Terminal
) -> Encoded:
    """The view with the mask, (height, width) of the view alone, and the brush's ring round its middle."""
    from PIL import Image
    from PIL.Image import Resampling

    size = grain(view, cells, terminal)
    shown = photo.crop(view.box).resize(size, Resampling.BILINEAR)
    shown = with_mask(shown, Image.fromarray(mask).convert("L").resize(size, Resampling.NEAREST), style) if style != "none" else shown
    _draw_brush(shown, view, brush)
    return encode(shown, cells, terminal, COLOURS)


def _draw_brush(shown: "Image", view: View, brush: Brush) -> None:
    from PIL import ImageDraw

    colour = ERASE if brush.erases else PAINT
    across, down = shown.width / view.width, shown.height / view.height
    x, y = (brush.x - view.left + 0.5) * across, (brush.y - view.top + 0.5) * down
    pen = ImageDraw.Draw(shown)
    reach = brush.radius * across, brush.radius * down
    if min(reach) >= 2:
        pen.ellipse((x - reach[0], y - reach[1], x + reach[0], y + reach[1]), outline=colour)
    arm = shown.width // 160  # one dot in half cells, a small cross in pixels
    middle = int(x), int(y)
    pen.line((middle[0] - arm, middle[1], middle[0] + arm, middle[1]), fill=colour)
    pen.line((middle[0], middle[1] - arm, middle[0], middle[1] + arm), fill=colour)
