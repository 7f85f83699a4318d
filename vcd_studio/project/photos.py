"""Photos and masks as they come: upright RGB pictures out of whatever a camera wrote; nothing is trusted before it is decoded."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from vcd_studio.project.errors import InputError
from vcd_studio.project.paths import reason, write_atomic
from vcd_studio.project.text import plain

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif"})
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF")
LARGEST_BYTES = 256 * 1024 * 1024
LARGEST_PIXELS = 80_000_000
SMALLEST_SIDE = 16
_BROKEN = (  # what Pillow's readers raise on damaged files
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError, AttributeError, RuntimeError, AssertionError,
    struct.error, zlib.error,
)  # fmt: skip


def is_photo_name(name: str) -> bool:
    """Whether a file of this name is looked at as a photo."""
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def open_photo(path: Path, *, smallest: int = SMALLEST_SIDE) -> Image.Image:
    """The photo as RGB, upright, its first picture if it has several; InputError if it is missing, too large, broken or no picture."""
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about sizes that are checked here
        try:
            image = _opened(path, smallest)
            image.load()
            return _as_rgb(ImageOps.exif_transpose(image))
        except InputError:
            raise
        except (Image.DecompressionBombError, MemoryError) as error:
            raise InputError(f"The photo {plain(str(path))} is too large to open; scale it below 80 megapixels.") from error
        except _BROKEN as error:
            raise InputError(
                f"The photo {plain(str(path))} is damaged and cannot be read; save it again as JPEG or PNG, or leave it out."
            ) from error


def _opened(path: Path, smallest: int) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        if not path.is_file():
            raise InputError(f"The photo {plain(str(path))} is not there; check the path.")
        if path.stat().st_size > LARGEST_BYTES:
            raise InputError(f"The photo {plain(str(path))} is larger than 256 MiB; scale it down first.")
        image = Image.open(io.BytesIO(path.read_bytes()), formats=[name for name in FORMATS if _known(name)])
    except (UnidentifiedImageError, SyntaxError) as error:
        raise InputError(
            f"The file {plain(str(path))} is not a picture that can be read; use JPEG, PNG or WebP, or leave it out."
        ) from error
    except OSError as error:
        raise InputError(f"The photo {plain(str(path))} cannot be read ({reason(error)}); check the file and its permissions.") from error
    width, height = image.size
    if width * height > LARGEST_PIXELS:
        raise InputError(f"The photo {plain(str(path))} has {width} x {height} pixels; scale it below 80 megapixels.")
    if min(width, height) < smallest:
        raise InputError(f"The photo {plain(str(path))} has only {width} x {height} pixels; use one of at least {smallest} x {smallest}.")
    return image


def _known(name: str) -> bool:
    from PIL import Image

    Image.init()
    return name in Image.OPEN


def _as_rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB: 16-bit scaled to 8, transparency laid on white."""
    import numpy as np
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float64)
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        top = 65535.0 if values.max(initial=0) > 255 else 255.0 if values.max(initial=0) > 1 else 1.0
        grey = np.clip(values / max(top, float(values.max(initial=0))) * 255, 0, 255).round().astype(np.uint8)
        return Image.fromarray(grey, "L").convert("RGB")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        ground = Image.new("RGBA", clear.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, clear).convert("RGB")
    return image.convert("RGB")


def read_mask(path: Path) -> npt.NDArray[np.uint8]:
    """A mask as (height, width) uint8, 0 background and 255 subject; InputError if it is not a readable picture."""
    import numpy as np

    grey = np.asarray(open_photo(path, smallest=1).convert("L"))
    return np.where(grey >= 128, 255, 0).astype(np.uint8)


def write_mask(path: Path, array: npt.NDArray[np.bool_] | npt.NDArray[np.uint8]) -> None:
    """Write a (height, width) mask, bool or 0…255, as an 8-bit PNG; whole or not at all. InputError if it cannot be written."""
    import numpy as np
    from PIL import Image

    if array.ndim != 2:
        raise ValueError(f"a mask has two dimensions, not shape {array.shape}")
    subject = array if array.dtype == np.bool_ else array >= 128
    buffer = io.BytesIO()
    Image.fromarray(np.where(subject, 255, 0).astype(np.uint8), "L").save(buffer, "PNG")
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {plain(str(path.parent))} cannot be made ({reason(error)}); make the project writable.") from error
    write_atomic(path, buffer.getvalue())
