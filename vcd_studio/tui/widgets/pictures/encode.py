"""From a PIL image to what a terminal draws in a rectangle of cells: sixel data, kitty messages or half cells.

Pure functions, run on worker threads. PIL, numpy and textual-image are imported on first use: the first paint needs none of them.
"""

import re
from dataclasses import dataclass
from itertools import count, groupby
from random import randint
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from vcd_studio.terminal import Terminal

if TYPE_CHECKING:
    from PIL.Image import Image

BAND = 6  # a sixel band is six pixels high: pictures end on whole bands
_DEFINITION = re.compile(r"#(\d+);2;\d+;\d+;\d+")
_KITTY_CHUNK = 4096
_kitty_ids = count(randint(1, 2**23))


@dataclass(frozen=True)
class Encoded:
    """A picture ready to be drawn: `columns` × `rows` cells; `strips` are text cells, `data` (sixel, kitty) goes out of band."""

    columns: int
    rows: int
    strips: tuple[Strip, ...] = ()
    data: str = ""
    kitty_id: int = 0


def fit(image_size: tuple[int, int], cells: tuple[int, int], terminal: Terminal) -> tuple[int, int]:
    """Pixels (width, height) for an image inside so many cells: its shape kept, enlarged if small, never over the edge."""
    room = cells[0] * terminal.cell_width, cells[1] * terminal.cell_height
    scale = min(room[0] / image_size[0], room[1] / image_size[1])
    return max(1, min(room[0], round(image_size[0] * scale))), max(1, min(room[1], round(image_size[1] * scale)))


def encode(image: "Image", cells: tuple[int, int], terminal: Terminal, colours: int = 256) -> Encoded:
    """Scale and encode an RGB image for `cells` (columns, rows) of this terminal."""
    width, height = fit(image.size, cells, terminal)
    if terminal.graphics == "sixel":
        return _sixel(image, width, max(BAND, height - height % BAND), terminal, colours)
    columns, rows = -(-width // terminal.cell_width), -(-height // terminal.cell_height)
    if terminal.graphics == "kitty":
        return _kitty(image, width, height, columns, rows)
    if terminal.graphics == "halfcell":
        return _halfcell(image, columns, rows)
    return Encoded(0, 0)


def select_after_define(sixels: str) -> str:
    """Select every colour that was just defined: `#n;2;r;g;b` becomes `#n;2;r;g;b#n`.

    textual-image takes a definition for a selection, as many terminals do. xterm does not: there the first band, where most
    colours are defined, comes out in wrong colours.
    """
    return _DEFINITION.sub(lambda found: f"{found[0]}#{found[1]}", sixels)


def _sixel(image: "Image", width: int, height: int, terminal: Terminal, colours: int) -> Encoded:
    from textual_image._sixel import SixelOptions, image_to_sixels

    scaled = image.resize((width, height))
    data = select_after_define(image_to_sixels(scaled, SixelOptions(colors=colours)))
    return Encoded(-(-width // terminal.cell_width), -(-height // terminal.cell_height), data=data)


def _halfcell(image: "Image", columns: int, rows: int) -> Encoded:
    """Two pixels a cell: the upper one is the block's colour, the lower one the ground's."""
    pixels = image.resize((columns, rows * 2)).convert("RGB").tobytes()
    stride = columns * 3
    strips = []
    for row in range(rows):
        upper, lower = (pixels[(2 * row + half) * stride : (2 * row + half + 1) * stride] for half in (0, 1))
        pairs = [(upper[at : at + 3].hex(), lower[at : at + 3].hex()) for at in range(0, stride, 3)]
        segments = [Segment("▀" * len(list(same)), Style(color=f"#{top}", bgcolor=f"#{bottom}")) for (top, bottom), same in groupby(pairs)]
        strips.append(Strip(segments, columns))
    return Encoded(columns, rows, tuple(strips))


def ready_kitty() -> None:
    """Import textual-image's kitty part before the app runs, without the probes its import makes: `terminal.look` has asked already."""
    from textual_image import _terminal

    def answered(*_: object, **__: object) -> None:
        raise _terminal.TerminalError("the terminal was asked by vcd_studio.terminal")

    _terminal.capture_terminal_response = answered  # type: ignore[assignment]
    import textual_image.renderable.tgp  # noqa: F401


def _kitty(image: "Image", width: int, height: int, columns: int, rows: int) -> Encoded:
    """Transmit the picture under a fresh number, with a virtual placement; text placeholders then stand where it is drawn."""
    from base64 import b64encode
    from io import BytesIO

    from textual_image.renderable.tgp import _NUMBER_TO_DIACRITIC, _PLACEHOLDER

    number = next(_kitty_ids) & 0xFFFFFF
    png = BytesIO()
    image.resize((width, height)).save(png, format="png", compress_level=2)
    payload = b64encode(png.getvalue()).decode("ascii")
    parts = [payload[at : at + _KITTY_CHUNK] for at in range(0, len(payload), _KITTY_CHUNK)]
    messages = [f"\x1b_Gi={number},f=100,q=2,m={int(at < len(parts) - 1)};{part}\x1b\\" for at, part in enumerate(parts)]
    messages.append(f"\x1b_Ga=p,i={number},c={columns},r={rows},U=1,q=2\x1b\\")
    style = Style(color=f"#{number:06x}")
    cell = chr(_PLACEHOLDER) + "{row}{column}" + chr(_NUMBER_TO_DIACRITIC[0])
    strips = [
        Strip(
            [
                Segment(
                    "".join(
                        cell.format(row=chr(_NUMBER_TO_DIACRITIC[row]), column=chr(_NUMBER_TO_DIACRITIC[column]))
                        for column in range(columns)
                    ),
                    style,
                )
            ],
            columns,
        )
        for row in range(rows)
    ]
    return Encoded(columns, rows, tuple(strips), "".join(messages), number)


def forget_kitty(number: int) -> str:
    """The message that frees a transmitted picture in the terminal."""
    return f"\x1b_Ga=d,d=I,i={number},q=2\x1b\\"
