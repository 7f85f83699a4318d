"""Encoded pictures kept on disk: sixels of a large photo cost a tenth of a second, and the next start shows the same ones."""

import contextlib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from vcd_studio.tui.widgets.pictures.encode import Encoded

if TYPE_CHECKING:
    from vcd_studio.terminal import Terminal
    from vcd_studio.tui.widgets.pictures.source import Source, Stamp

MOST_BYTES = 64 * 1024 * 1024
LOOK_EVERY = 64  # pictures kept between two looks at how much there is
_FORMAT = "1"  # of the files and of what encode() draws: another one finds none of the old


class KeptPictures:
    """A folder of sixels by what they were made of. A cache: where it cannot be read or written, pictures are encoded again.

    Only sixels are kept: half cells are made faster than they are read, and kitty pictures carry a number of this run.
    """

    _put = 0  # by all of them, for the screens make one for each picture

    def __init__(self, folder: Path, most: int = MOST_BYTES) -> None:
        self._folder, self._most = folder, most

    def path(self, source: "Source", stamp: "Stamp", cells: tuple[int, int], terminal: "Terminal") -> Path:
        """Where the picture of this file, as it is now, in so many cells of this terminal, is kept."""
        made_of = _FORMAT, source, stamp, cells, terminal.graphics, terminal.cell_width, terminal.cell_height
        return self._folder / f"{hashlib.sha256(repr(made_of).encode()).hexdigest()}.sixel"

    def get(self, path: Path) -> Encoded | None:
        """What is kept there, or None."""
        try:
            head, _, data = path.read_text(encoding="ascii").partition("\n")
            columns, rows, length = map(int, head.split())
        except (OSError, ValueError):
            return None
        return Encoded(columns, rows, data=data) if len(data) == length else None

    def put(self, path: Path, encoded: Encoded) -> None:
        """Keep it, whole or not at all, and let the oldest go where there is too much."""
        if not encoded.data or encoded.kitty_id:
            return
        part = path.with_suffix(f".{id(encoded):x}.part")
        with contextlib.suppress(OSError):  # a full or read-only disk costs the cache, not the picture
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_text(f"{encoded.columns} {encoded.rows} {len(encoded.data)}\n{encoded.data}", encoding="ascii")
            part.replace(path)
            KeptPictures._put += 1
            if KeptPictures._put % LOOK_EVERY == 1:
                self._tidy()

    def _tidy(self) -> None:
        kept = sorted((found.stat().st_mtime_ns, found.stat().st_size, found) for found in self._folder.iterdir())
        left = sum(size for _, size, _ in kept)
        for _, size, path in kept:
            if left <= self._most:
                return
            path.unlink(missing_ok=True)
            left -= size
