"""Pictures of pictures: contact sheets, posters, mask overlays, thumbnails kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from vcd_studio.project.errors import InputError
from vcd_studio.project.paths import reason, write_atomic
from vcd_studio.project.photos import open_photo
from vcd_studio.project.text import plain

if TYPE_CHECKING:
    from PIL import Image

Frame = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]
GROUND: Colour = (24, 24, 27)
ACCENT: Colour = (255, 95, 31)


class BoxLike(Protocol):
    """A box in pixels, as the method's Box."""

    @property
    def left(self) -> float: ...
    @property
    def top(self) -> float: ...
    @property
    def right(self) -> float: ...
    @property
    def bottom(self) -> float: ...


def contact_sheet(frames: Sequence[Frame], columns: int = 4, width: int = 640, *, gap: int = 2) -> Image.Image:
    """The frames in rows of ``columns``, about ``width`` pixels wide in all; small frames are enlarged by whole steps, unsmoothed."""
    from PIL import Image

    if not frames:
        raise ValueError("a contact sheet needs at least one frame")
    columns = max(1, min(columns, len(frames)))
    height_in, width_in = frames[0].shape[:2]
    cell = max(1, (width - gap * (columns - 1)) // columns)
    size = (cell, max(1, round(height_in * cell / width_in)))
    if cell >= width_in:
        factor = cell // width_in
        size = (width_in * factor, height_in * factor)
    rows = -(-len(frames) // columns)
    sheet = Image.new("RGB", (columns * size[0] + gap * (columns - 1), rows * size[1] + gap * (rows - 1)), GROUND)
    method = Image.Resampling.NEAREST if cell >= width_in else Image.Resampling.LANCZOS
    for index, frame in enumerate(frames):
        row, column = divmod(index, columns)
        sheet.paste(Image.fromarray(frame).resize(size, method), (column * (size[0] + gap), row * (size[1] + gap)))
    return sheet


def poster(frames: Sequence[Frame]) -> Image.Image:
    """The sharpest frame of the middle half."""
    from PIL import Image

    if not frames:
        raise ValueError("a poster needs at least one frame")
    quarter = len(frames) // 4
    middle = frames[quarter : len(frames) - quarter] or frames
    return Image.fromarray(max(middle, key=_sharpness))


def _sharpness(frame: Frame) -> float:
    grey = frame.astype(np.float32).mean(axis=2)
    return sum(float(np.abs(np.diff(grey, axis=axis)).mean()) for axis in (0, 1) if grey.shape[axis] > 1)


def overlay(
    image: Image.Image,
    mask: npt.NDArray[np.uint8] | None = None,
    boxes: Sequence[BoxLike] = (),
    colour: Colour = ACCENT,
) -> Image.Image:
    """The picture with what the mask leaves out darkened, the mask's outline and the boxes drawn. A mask of another size is scaled."""
    from PIL import Image, ImageDraw, ImageFilter

    result = image.convert("RGB")
    line = max(1, round(min(result.size) / 128))
    if mask is not None:
        cover = Image.fromarray(np.where(mask >= 128, 255, 0).astype(np.uint8)).resize(result.size, Image.Resampling.NEAREST)
        dark = Image.blend(result, Image.new("RGB", result.size, GROUND), 0.6)
        result = Image.composite(result, dark, cover)
        wide = cover.filter(ImageFilter.MaxFilter(2 * line + 1))
        edge = np.asarray(wide) != np.asarray(cover)
        result = Image.composite(Image.new("RGB", result.size, colour), result, Image.fromarray((edge * 255).astype(np.uint8)))
    draw = ImageDraw.Draw(result)
    for box in boxes:
        left, right = sorted((box.left, box.right))
        top, bottom = sorted((box.top, box.bottom))
        draw.rectangle((left, top, right, bottom), outline=colour, width=line)
    return result


def thumbnail(
    path: Path,
    size: int | tuple[int, int],
    cache: Path,
    *,
    mask: Path | None = None,
    boxes: Sequence[BoxLike] = (),
    colour: Colour = ACCENT,
) -> Image.Image:
    """The picture fitted into ``size`` (width, height), with its mask's overlay where one is given; kept in ``cache``.

    The key is the file's path, time and size, the mask's, and the options: a file rewritten in place is seen.
    InputError if it is no picture.
    """
    from PIL import Image

    box = (size, size) if isinstance(size, int) else size
    drawn = [[item.left, item.top, item.right, item.bottom] for item in boxes]
    try:
        stamp = [_stamp(path), _stamp(mask) if mask else None, list(box), drawn, list(colour)]
    except OSError as error:
        raise InputError(f"The picture {plain(str(path))} cannot be read ({reason(error)}); check the path.") from error
    kept = cache / f"{hashlib.sha256(json.dumps(stamp).encode()).hexdigest()[:32]}.png"
    with contextlib.suppress(OSError, SyntaxError), Image.open(kept, formats=["PNG"]) as image:  # not there or broken: made again
        return image.convert("RGB")
    picture = open_photo(path, smallest=1)
    if mask is not None or boxes:
        from vcd_studio.project.photos import read_mask

        picture = overlay(picture, read_mask(mask) if mask else None, boxes, colour)
    enlarge = max(1, min(box[0] // picture.width, box[1] // picture.height))
    if enlarge > 1:
        picture = picture.resize((picture.width * enlarge, picture.height * enlarge), Image.Resampling.NEAREST)
    else:
        picture.thumbnail(box, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=3)
    with contextlib.suppress(OSError, InputError):  # a cache that cannot be written costs time, nothing else
        cache.mkdir(parents=True, exist_ok=True)
        write_atomic(kept, buffer.getvalue())
    return picture


def _stamp(path: Path) -> list[str | int]:
    status = path.stat()
    return [str(path.absolute()), status.st_mtime_ns, status.st_size, status.st_ino]
