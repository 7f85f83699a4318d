"""The face stage: what it follows, what it changes, what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny import tiny_networks

from vcd_studio.method.conditioning import Conditioning, condition
from vcd_studio.method.denoise import Cancelled
from vcd_studio.method.face import FaceCrop, face
from vcd_studio.method.pictures import to_frames, to_tensor
from vcd_studio.method.protocols import Box, Frames, MethodError, Networks
from vcd_studio.method.sampling import Sampling
from vcd_studio.method.tracks import Track

SAMPLING = Sampling(steps=5)


class RedFaces:
    """Finds pure red squares: the truth in the clips below."""

    def detect(self, image: NDArray[np.uint8], noun: str) -> list[Box]:
        red = (image == (255, 0, 0)).all(-1)
        if not red.any():
            return []
        rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
        return [Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1), 1.0, "face")]


def walking(frames: int = 6, height: int = 48, width: int = 64, step: int = 8, size: int = 8) -> Frames:
    """A red face that walks across smooth colours."""
    y, x = np.mgrid[:height, :width]
    picture = np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 90)], -1).astype(np.uint8)
    clip = np.repeat(picture[None], frames, 0)
    for i in range(frames):
        left = 6 + step * i
        clip[i, 20 : 20 + size, left : left + size] = (255, 0, 0)
    return clip


def with_faces(networks: Networks) -> Networks:
    return replace(networks, faces=RedFaces())


def crops(frames: int = 6, step: float = 8, margin: float = 2.0) -> FaceCrop:
    path = np.stack([10 + step * np.arange(frames), np.full(frames, 24.0), np.full(frames, 8.0)], 1)
    return FaceCrop.along(Track(0, path, frames), margin, (48, 64))


def cut_of(crop: FaceCrop, clip: Frames, size: int) -> torch.Tensor:
    return torch.stack(list(crop.cut(torch.from_numpy(clip), size)))


def pasted_by(crop: FaceCrop, clip: Frames, cut: torch.Tensor, others: list[FaceCrop]) -> Frames:
    before = clip.copy()
    pasted: Frames = crop.paste(torch.from_numpy(clip), cut, others).numpy()
    assert np.array_equal(clip, before)
    return pasted


def test_a_clip_without_a_face_passes_unchanged_and_says_so(networks: Networks) -> None:
    clip = walking()
    clip[:] = 128
    result, report = face(with_faces(networks), clip, "dog", condition(networks, "a dog"), SAMPLING)
    assert result is clip
    assert (report.detections, report.tracks) == (0, ())
    assert "No face" in report.message


def test_no_detector_is_one_sentence(networks: Networks) -> None:
    with pytest.raises(MethodError, match="no face detector"):
        face(networks, walking(), "dog", condition(networks, "a dog"), SAMPLING)


@pytest.mark.parametrize("margin", [1.5, 2.0, 3.0])
def test_pixels_outside_of_the_crop_are_bit_identical_and_those_inside_are_new(networks: Networks, margin: float) -> None:
    clip = walking()
    result, report = face(with_faces(networks), clip, "dog", condition(networks, "a dog"), SAMPLING, margin=margin)
    assert len(report.tracks) == 1
    assert report.detections == 6
    assert "1 face" in report.message
    assert result.shape == clip.shape
    assert result.dtype == np.uint8
    squares = FaceCrop.along(report.tracks[0], margin, (48, 64)).squares
    for before, after, (left, top, side) in zip(clip, result, squares.tolist(), strict=True):
        outside = np.ones(before.shape[:2], bool)
        outside[int(top) : int(np.ceil(top + side)), int(left) : int(np.ceil(left + side))] = False
        assert np.array_equal(before[outside], after[outside])
        assert not np.array_equal(before[~outside], after[~outside])


def test_the_crop_follows_a_face_across_the_frame_and_magnifies_it() -> None:
    clip = walking()
    cut = to_frames(cut_of(crops(), clip, 32)).astype(int)
    for picture in cut:
        red = np.abs(picture - (255, 0, 0)).max(-1) < 60
        assert 0.15 < red.mean() < 0.35  # a quarter of every crop; 1/48 of the clip
        rows, columns = np.nonzero(red)
        assert abs(rows.mean() - 15.5) < 1
        assert abs(columns.mean() - 15.5) < 1


def test_the_crop_stays_inside_and_is_never_larger_than_the_picture() -> None:
    squares = crops(frames=8, step=7, margin=3).squares
    assert (squares[:, :2] >= 0).all()
    assert (squares[:, 0] + squares[:, 2] <= 64).all()
    assert (squares[:, 1] + squares[:, 2] <= 48).all()
    huge = FaceCrop.along(Track(0, np.array([[32.0, 24.0, 40.0]] * 2), 2), 3, (48, 64))
    assert (huge.squares[:, 2] == 48).all()


def test_pasting_back_what_was_cut_changes_nothing_that_can_be_seen() -> None:
    clip = walking()
    crop = crops(step=7.3)
    back = pasted_by(crop, clip, cut_of(crop, clip, 64), [])
    smooth = np.ones(clip.shape[:3], bool)
    for i in range(len(clip)):  # the face's own hard edge softens
        smooth[i, 17:31, max(0, 3 + 8 * i - 3) : 3 + 8 * i + 17] = False
    assert np.abs(back.astype(int) - clip)[smooth].max() <= 3


def test_the_paste_has_no_border_even_when_the_colours_are_off() -> None:
    plain = np.full((6, 48, 64, 3), 120, np.uint8)
    crop = crops(step=0)
    brighter = cut_of(crop, plain, 32) + 0.3
    assert np.abs(pasted_by(crop, plain, brighter, []).astype(int) - 120).max() <= 1  # matched to what surrounds it
    spot = cut_of(crop, plain, 32)
    spot[:, :, 12:20, 12:20] += 0.5
    left, top, side = crop.squares[0].tolist()
    pasted = pasted_by(crop, plain, spot, []).astype(int)[0, :, :, 0]
    assert pasted[24, 10] > 150
    rim = [pasted[int(top), :], pasted[int(top + side) - 1, :], pasted[:, int(left)], pasted[:, int(left + side) - 1]]
    assert all(np.abs(line - 120).max() <= 2 for line in rim)


def test_two_faces_that_meet_are_each_pasted_to_their_own_side() -> None:
    plain = np.full((3, 48, 64, 3), 120, np.uint8)
    left, right = (
        FaceCrop.along(Track(0, np.array([[x, 24.0, 10.0]] * 3), 3), 3, (48, 64)) for x in (26.0, 38.0)
    )  # fmt: skip
    wave = cut_of(left, plain, 32)
    wave += torch.linspace(-0.5, 0.5, 32)[:, None]
    pasted = pasted_by(left, plain, wave, [right]).astype(int)
    assert np.array_equal(pasted[:, :, 36:], plain[:, :, 36:])
    assert (pasted[:, :, 24:28] != 120).any()


def test_a_face_that_comes_late_fades_in(networks: Networks) -> None:
    clip = walking(frames=12, step=4)
    clip[:7] = clip[0, 0, 0]
    travel = condition(networks, "a dog", "blurry")
    travel = Conditioning(travel.positive.expand(12, -1, -1), travel.negative)
    result, report = face(with_faces(networks), clip, "dog", travel, SAMPLING)
    assert report.tracks[0].frames == range(7, 12)
    assert np.array_equal(result[:7], clip[:7])
    assert not np.array_equal(result[7:], clip[7:])
    change = np.abs(result.astype(int) - clip).mean((1, 2, 3))
    assert change[7] < 0.6 * change[9:].mean()


def test_steps_count_over_all_faces_and_cancel(networks: Networks) -> None:
    class TwoFaces:
        def detect(self, image: NDArray[np.uint8], noun: str) -> list[Box]:
            return [Box(4, 4, 12, 12), Box(40, 24, 50, 34)]

    two = replace(networks, faces=TwoFaces())
    steps: list[tuple[int, int]] = []

    def watch(step: int, of: int, clean: torch.Tensor) -> None:
        steps.append((step, of))
        if step == 6:
            raise Cancelled

    clip = walking()
    before = clip.copy()
    with pytest.raises(Cancelled):
        face(two, clip, "dog", condition(networks, "a dog"), SAMPLING, on_step=watch)
    assert steps == [(i, 8) for i in range(1, 7)]
    assert np.array_equal(clip, before)


def test_the_same_seed_gives_the_same_faces_and_the_noise_is_not_that_of_text_to_video(networks: Networks) -> None:
    conditioning, pack = condition(networks, "a dog"), with_faces(tiny_networks())
    runs = [face(pack, walking(), "dog", conditioning, replace(SAMPLING, seed=seed))[0] for seed in (1, 1, 2)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])
    draws = [
        torch.randn(4, generator=SAMPLING.generator(stage, part)) for stage, part in (("t2v", 0), ("face", 0), ("face", 1), ("tiled", 0))
    ]
    assert len({tuple(draw.tolist()) for draw in draws}) == 4


def test_tensors_and_frames_round_trip() -> None:
    clip = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, -1)
    assert np.array_equal(to_frames(to_tensor(clip)), clip)
