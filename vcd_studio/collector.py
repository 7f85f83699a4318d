"""Python's garbage collector, where thousands of things are read that are there to stay: it would look through them again and again, for
a fifth to half a second each time, in which no key is answered."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

MANY = 1000
"""Jobs or clips, from which on that is felt."""


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for garbage while open: what is read meanwhile is kept, and a search takes longer with each of it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def let_stay(count: int) -> None:
    """So many were read and will be kept; of many, the collector leaves alone what is there now. Call it before it is on again."""
    if count >= MANY:
        gc.freeze()
