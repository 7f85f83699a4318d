"""Where a picture comes from: a file, perhaps with a mask laid over it. Hashable, so that encodings can be kept by it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL.Image import Image

MaskStyle = Literal["none", "outline", "overlay", "mask"]
MASK_STYLES: tuple[MaskStyle, ...] = ("outline", "overlay", "mask", "none")
MASK_COLOUR = (255, 60, 170)
Stamp = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True)
class ShownBox:
    """A box to draw, in pixels of the file's picture; `words` stand at its corner, and a strong one has the thicker line."""

    left: float
    top: float
    right: float
    bottom: float
    words: str
    colour: tuple[int, int, int]
    strong: bool = False


@dataclass(frozen=True)
class Source:
    """A picture file, how its mask, if any, is shown, and boxes over it."""

    path: Path
    mask: Path | None = None
    style: MaskStyle = "none"
    boxes: tuple[ShownBox, ...] = ()

    def stamp(self) -> Stamp:
        """Modification time and size of every file behind this picture; None for one that is not there."""
        return tuple(_stamp(path) for path in (self.path, self.mask) if path is not None)

    def load(self, limit: tuple[int, int]) -> "Image":
        """The RGB picture, no larger than `limit` pixels; raises InputError or OSError where it cannot be read."""
        from vcd_studio.project.photos import open_photo

        image = open_photo(self.path, smallest=1)
        width = image.width
        if image.width > limit[0] or image.height > limit[1]:
            image.thumbnail(limit)
        elif image.width * 2 <= limit[0]:
            image = _enlarge(image, limit)
        if self.mask is not None and self.style != "none" and self.mask.exists():
            image = with_mask(image, _mask(self.mask), self.style)
        for box in self.boxes:
            _draw_box(image, box, image.width / width)
        return image


def _draw_box(image: "Image", box: ShownBox, scale: float) -> None:
    """The box, scaled, and its words on its own colour at the corner inside."""
    from PIL import ImageDraw, ImageFont

    line = max(1, min(image.size) // 100) * (2 if box.strong else 1)
    left, top = min(image.width - 1, box.left * scale), min(image.height - 1, box.top * scale)
    right, bottom = max(left, min(image.width, box.right * scale) - 1), max(top, min(image.height, box.bottom * scale) - 1)
    pen = ImageDraw.Draw(image)
    pen.rectangle((left, top, right, bottom), outline=box.colour, width=line)
    font = ImageFont.load_default(max(10, min(image.size) // 16))
    pen.rectangle(pen.textbbox((left + line, top + line), box.words, font=font), fill=box.colour)
    pen.text((left + line, top + line), box.words, fill=(0, 0, 0), font=font)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _enlarge(image: "Image", limit: tuple[int, int]) -> "Image":
    """Small pictures grow before a mask's outline is drawn, so that the line stays thin."""
    from PIL.Image import Resampling

    scale = min(limit[0] / image.width, limit[1] / image.height)
    return image.resize((max(1, int(image.width * scale)), max(1, int(image.height * scale))), Resampling.BICUBIC)


def _mask(path: Path) -> "Image":
    from PIL import Image

    from vcd_studio.project.photos import read_mask

    return Image.fromarray(read_mask(path))


def with_mask(image: "Image", mask: "Image", style: MaskStyle) -> "Image":
    """The picture with its mask (any size, 0…255) drawn as an outline, as a veil over the background, or the mask alone."""
    from PIL import Image, ImageChops, ImageFilter
    from PIL.Image import Resampling

    mask = mask.convert("L").resize(image.size, Resampling.BILINEAR).point(lambda value: 255 if value > 127 else 0)
    if style == "mask":
        return mask.convert("RGB")
    shown = image.copy()
    if style == "overlay":
        veil = Image.blend(image, Image.new("RGB", image.size, MASK_COLOUR), 0.62)
        shown.paste(veil, mask=ImageChops.invert(mask))
        return shown
    width = 3 if min(image.size) < 160 else 5
    line = ImageChops.difference(mask.filter(ImageFilter.MaxFilter(width)), mask.filter(ImageFilter.MinFilter(3)))
    shown.paste(MASK_COLOUR, mask=line)
    return shown
