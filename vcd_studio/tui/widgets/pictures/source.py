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
class Source:
    """A picture file and how its mask, if any, is shown."""

    path: Path
    mask: Path | None = None
    style: MaskStyle = "none"

    def stamp(self) -> Stamp:
        """Modification time and size of every file behind this picture; None for one that is not there."""
        return tuple(_stamp(path) for path in (self.path, self.mask) if path is not None)

    def load(self, limit: tuple[int, int]) -> "Image":
        """The RGB picture, no larger than `limit` pixels; raises InputError or OSError where it cannot be read."""
        from vcd_studio.project.photos import open_photo

        image = open_photo(self.path, smallest=1)
        if image.width > limit[0] or image.height > limit[1]:
            image.thumbnail(limit)
        elif image.width * 2 <= limit[0]:
            image = _enlarge(image, limit)
        if self.mask is not None and self.style != "none" and self.mask.exists():
            image = with_mask(image, _mask(self.mask), self.style)
        return image


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
