"""Drawing on a mask: a brush, fill, grow and shrink, with undo. Plain arrays; it knows neither screen nor keys."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

MOST_UNDOS = 100
Mask = npt.NDArray[np.bool_]
"""(height, width): True is subject."""


class MaskCanvas:
    """One mask being drawn. Every change can be undone; a stroke is one change, however many dabs it has."""

    def __init__(self, mask: Mask) -> None:
        self.mask = mask.copy()
        self._undo: list[bytes] = []
        self._redo: list[bytes] = []
        self._saved = self._packed()

    @property
    def width(self) -> int:
        return int(self.mask.shape[1])

    @property
    def height(self) -> int:
        return int(self.mask.shape[0])

    @property
    def changed(self) -> bool:
        """Whether the mask is not what was last saved."""
        return self._packed() != self._saved

    def saved(self) -> None:
        """What stands now is kept on disk."""
        self._saved = self._packed()

    def begin(self) -> None:
        """A change follows: what stands now is what undo comes back to."""
        self._undo = [*self._undo[-(MOST_UNDOS - 1) :], self._packed()]
        self._redo.clear()

    def dab(self, x: int, y: int, radius: int, paint: bool) -> None:
        """Paint or erase a disc of this radius in pixels (0: one pixel) round (x, y); what falls off the picture is cut."""
        top, left = max(0, y - radius), max(0, x - radius)
        rows, columns = np.ogrid[top : min(self.height, y + radius + 1), left : min(self.width, x + radius + 1)]
        part = self.mask[top : y + radius + 1, left : x + radius + 1]
        part[(rows - y) ** 2 + (columns - x) ** 2 <= (radius + 0.5) ** 2] = paint

    def line(self, start: tuple[int, int], end: tuple[int, int], radius: int, paint: bool) -> None:
        """Dabs from ``start`` to ``end``, (x, y) each, close enough to leave no gap."""
        length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
        for at in range(0, length + 1, max(1, radius // 2)):
            share = at / length if length else 0.0
            self.dab(round(start[0] + (end[0] - start[0]) * share), round(start[1] + (end[1] - start[1]) * share), radius, paint)
        self.dab(*end, radius, paint)

    def fill(self, x: int, y: int) -> None:
        """Turn the connected region that (x, y) lies in: a hole becomes subject, a speck background."""
        image = Image.fromarray(self.mask.astype(np.uint8) * 255).copy()  # a picture over an array is not to be written in
        ImageDraw.floodfill(image, (x, y), 0 if self.mask[y, x] else 255)
        self.mask = np.asarray(image) > 127

    def grow(self, by: int) -> None:
        """Move the subject's edge outwards by so many pixels; inwards for a negative number."""
        self.mask = _spread(self.mask, by) if by > 0 else ~_spread(~self.mask, -by)

    def undo(self) -> bool:
        """Take the last change back; False where there is none."""
        return self._step(self._undo, self._redo)

    def redo(self) -> bool:
        """Do again what was taken back last; False where there is none."""
        return self._step(self._redo, self._undo)

    def _step(self, source: list[bytes], target: list[bytes]) -> bool:
        if not source:
            return False
        target.append(self._packed())
        bits = np.frombuffer(zlib.decompress(source.pop()), np.uint8)
        self.mask = np.unpackbits(bits, count=self.mask.size).reshape(self.mask.shape).astype(bool)
        return True

    def _packed(self) -> bytes:
        """A mask is mostly runs: a few kilobytes even of a photo of many megapixels."""
        return zlib.compress(np.packbits(self.mask).tobytes(), 1)


def _spread(mask: Mask, by: int) -> Mask:
    """Every pixel with a True one at most ``by`` rows and columns away, counted in sliding windows: a large ``by`` costs no more."""
    for axis in (0, 1):
        wide = np.pad(mask, [(by + 1, by) if other == axis else (0, 0) for other in (0, 1)])
        count = np.cumsum(wide, axis=axis, dtype=np.int32)
        size, window = mask.shape[axis], 2 * by + 1
        mask = np.take(count, range(window, window + size), axis=axis) > np.take(count, range(size), axis=axis)
    return mask
