"""Faces found frame by frame, linked into tracks: gaps filled, centre and size smoothed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vcd_studio.method.protocols import Box

MAX_GAP = 4
"""Frames that a face may go unseen and still be the same track."""
REACH = 1.5
"""How far from where it was expected a face may turn up, in its own sizes."""


@dataclass(frozen=True)
class Track:
    """One face through part of a clip: from frame ``first``, one row (centre x, centre y, size) in pixels per frame."""

    first: int
    path: NDArray[np.float64]
    seen: int
    """In how many frames a detector saw it; the others are filled."""

    @property
    def frames(self) -> range:
        return range(self.first, self.first + len(self.path))


def follow(detections: Sequence[Sequence[Box]], *, max_gap: int = MAX_GAP, min_seen: int = 2) -> list[Track]:
    """Boxes per frame to tracks, the longest first. A face seen in fewer than ``min_seen`` frames is taken for a mistake.

    Linking expects every face to go on as it went, so that two whose paths cross stay two.
    """
    open_tracks: list[dict[int, NDArray[np.float64]]] = []
    done: list[dict[int, NDArray[np.float64]]] = []
    for frame, boxes in enumerate(detections):
        faces = [np.array([*box.centre, max(box.width, box.height)]) for box in boxes]
        done += [track for track in open_tracks if frame - max(track) - 1 > max_gap]
        open_tracks = [track for track in open_tracks if frame - max(track) - 1 <= max_gap]
        costs = sorted(
            (cost, i, j)
            for i, track in enumerate(open_tracks)
            for j, face in enumerate(faces)
            if (cost := _distance(expected(track, frame), face)) < REACH * (1 + 0.25 * (frame - max(track) - 1))
        )
        taken: set[int] = set()
        linked: set[int] = set()
        for _, i, j in costs:
            if i not in linked and j not in taken:
                open_tracks[i][frame] = faces[j]
                linked.add(i)
                taken.add(j)
        open_tracks += [{frame: face} for j, face in enumerate(faces) if j not in taken]
    needed = min(min_seen, len(detections))
    tracks = [_filled(track, len(detections), max_gap) for track in done + open_tracks if len(track) >= needed]
    return sorted(tracks, key=lambda track: -track.seen)


def expected(track: dict[int, NDArray[np.float64]], frame: int) -> NDArray[np.float64]:
    """Where a track should be in a later frame: on the straight line through its last few sightings; its size stays."""
    seen = sorted(track)[-4:]
    place = track[seen[-1]].copy()
    if len(seen) > 1:
        centres = np.array([track[i][:2] for i in seen])
        speed = np.polyfit(seen, centres, 1)[0]
        place[:2] += speed * (frame - seen[-1])
    return place


def _distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Between centres, in sizes, plus how differently large they are."""
    return float(np.hypot(*(a[:2] - b[:2])) / max(a[2], b[2], 1) + abs(np.log(max(a[2], 1) / max(b[2], 1))))


def _filled(track: dict[int, NDArray[np.float64]], length: int, max_gap: int) -> Track:
    """Gaps on straight lines; a short way to either end of the clip is filled with the nearest sighting."""
    seen = sorted(track)
    first = 0 if seen[0] <= max_gap else seen[0]
    last = length - 1 if length - 1 - seen[-1] <= max_gap else seen[-1]
    frames = np.arange(first, last + 1)
    known = np.array([track[i] for i in seen])
    path = np.stack([np.interp(frames, seen, known[:, k]) for k in range(3)], 1)
    return Track(first, smooth(path), len(seen))


def smooth(path: NDArray[np.float64], radius: int = 2) -> NDArray[np.float64]:
    """A short bell-shaped mean over time, mirrored in point at both ends so that a steady walk stays where it is."""
    radius = min(radius, len(path) - 1)
    if radius < 1:
        return path
    bell = np.exp(-0.5 * (np.arange(-radius, radius + 1) / (radius / 1.5)) ** 2)
    bell /= bell.sum()
    before, after = 2 * path[0] - path[radius:0:-1], 2 * path[-1] - path[-2 : -radius - 2 : -1]
    longer = np.concatenate([before, path, after])
    return np.stack([np.convolve(longer[:, k], bell, "valid") for k in range(path.shape[1])], 1)
