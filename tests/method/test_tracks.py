"""Linking faces over frames."""

from __future__ import annotations

import numpy as np
import pytest

from vcd_studio.method.protocols import Box
from vcd_studio.method.tracks import follow, smooth


def box(x: float, y: float, size: float = 10) -> Box:
    return Box(x - size / 2, y - size / 2, x + size / 2, y + size / 2, 0.9, "face")


def test_a_walking_face_is_one_track_and_its_gaps_are_filled() -> None:
    detections = [[box(10 + 3 * i, 20)] if i not in (4, 5, 9) else [] for i in range(16)]
    (track,) = follow(detections)
    assert (track.frames, track.seen) == (range(16), 13)
    assert np.allclose(track.path[:, 0], 10 + 3 * np.arange(16), atol=0.01)
    assert np.allclose(track.path[:, 1], 20)


def test_a_face_missed_at_either_end_is_filled_but_a_late_one_is_not_invented() -> None:
    (track,) = follow([[]] * 2 + [[box(20, 20)]] * 12 + [[]] * 2)
    assert track.frames == range(16)
    (late,) = follow([[]] * 8 + [[box(20, 20)]] * 8)
    assert late.frames == range(8, 16)


@pytest.mark.parametrize("hidden", [0, 2])
@pytest.mark.parametrize("swapped", [False, True])
def test_two_faces_whose_paths_cross_stay_two(hidden: int, swapped: bool) -> None:
    detections = []
    for i in range(16):
        pair = [box(5 + 4 * i, 20), box(65 - 4 * i, 22)]
        if hidden and abs(i - 7.5) < hidden:
            pair = pair[:1]  # one hides behind the other
        detections.append(pair[::-1] if swapped and i % 2 else pair)
    tracks = follow(detections)
    assert len(tracks) == 2
    ends = sorted((track.path[0, 0], track.path[-1, 0]) for track in tracks)
    assert ends[0][0] < 10
    assert ends[0][1] > 55
    assert ends[1][0] > 55
    assert ends[1][1] < 10


def test_two_faces_side_by_side_do_not_swap_and_a_blink_of_a_detector_is_dropped() -> None:
    detections = [[box(20, 20), box(34, 20)][:: 1 if i % 2 else -1] for i in range(8)]
    detections[3].append(box(60, 60))
    left, right = sorted(follow(detections), key=lambda track: track.path[0, 0])
    assert np.allclose(left.path[:, 0], 20)
    assert np.allclose(right.path[:, 0], 34)


def test_a_long_absence_makes_two_tracks_and_a_still_picture_one() -> None:
    detections = [[box(20, 20)] if i < 4 or i > 11 else [] for i in range(16)]
    assert [len(track.path) for track in follow(detections)] == [4, 4]
    assert len(follow([[box(20, 20)]])) == 1
    assert follow([[], []]) == []
    assert follow([]) == []


def test_smoothing_keeps_a_steady_walk_and_calms_a_shaking_one() -> None:
    steady = np.stack([np.arange(10.0), np.full(10, 5.0), np.full(10, 8.0)], 1)
    assert np.allclose(smooth(steady), steady)
    shaking = steady + np.where(np.arange(10) % 2, 1.0, -1.0)[:, None]
    assert np.abs(np.diff(smooth(shaking)[:, 1])).max() < 2 / 3  # of 2
    for length in (1, 2, 3):
        assert smooth(steady[:length]).shape == (length, 3)
