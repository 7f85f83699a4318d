"""Where in a picture its words are to be seen: what counts in the loss of a denoiser that must learn to follow them.

A collar is one cell in two hundred of a latent. Under the plain loss, 294 000 pictures taught pocket scenes, subjects and shirts, and
next to nothing of collars, patterns and skirts. So half of the loss is shared out evenly among the words: each attribute gets as much of
it as any other, however few cells it covers. The places come from the world itself: an attribute is where the picture changes when
the attribute does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vcd_studio.pocket.world import Colour, Identity, Picture, Shot, render

LEAST = 2.0
"""Cells over which a word's share is spread at least: less is noise."""


def _other(colour: Colour) -> Colour:
    """A colour far from ``colour``."""
    return (1 - colour[0], 1 - colour[1], 1 - colour[2]) if max(abs(c - 0.5) for c in colour) > 0.2 else (1.0, 1.0, 1.0)


def counterparts(who: Identity) -> Iterator[Identity]:
    """``who`` with one nameable attribute changed at a time: its colour, or whether it is there at all.

    What is absent counts as well (where a hat would be), or hats would be learned where nobody asked for one.
    """
    if who.is_animal:
        yield replace(who, main=_other(who.main))
        if who.pattern == "plain":
            yield replace(who, pattern="spots", second=_other(who.main))
        else:
            yield replace(who, pattern="plain")
        yield replace(who, collar=not who.collar)
        return
    yield replace(who, bright=_other(who.bright))
    yield replace(who, lower=_other(who.lower))
    if who.hair_style != "bald":
        yield replace(who, second=_other(who.second))
    yield replace(who, hat="cap") if who.hat == "none" else replace(who, hat="none")
    yield replace(who, glasses=not who.glasses)
    if who.kind == "man":
        yield replace(who, beard=not who.beard)


def places(identity: Identity, shot: Shot, time: float, picture: Picture, cells: int = 16) -> NDArray[np.float32]:
    """(cells, cells), mean about 1: each word's even share of attention, the subject's own included; ones where nothing is to be seen."""
    size = picture.image.shape[0]
    shares = [_share((picture.mask / 255.0), cells)]
    for other in counterparts(identity):
        changed = render(other, shot, time, size).image
        difference = np.abs(changed.astype(np.float32) - picture.image).max(axis=-1)
        shares.append(_share((difference > 24).astype(np.float64), cells))
    seen = [share for share in shares if share is not None]
    if not seen:
        return np.ones((cells, cells), np.float32)
    together: NDArray[np.float32] = (np.mean(seen, axis=0) * cells * cells).astype(np.float32)
    return together


def _share(covered: NDArray[np.float64], cells: int) -> NDArray[np.float64] | None:
    """How much of each cell is covered, scaled to sum 1 (less for what covers under ``LEAST`` cells); None where nothing is."""
    side = covered.shape[0] // cells
    area = covered.reshape(cells, side, cells, side).mean(axis=(1, 3))
    total = float(area.sum())
    return area / max(total, LEAST) if total > 0.1 else None
