"""Frames on disk, contact sheets, overlays and thumbnails."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vcd_studio.media.frames import load_frames, save_frames
from vcd_studio.media.sheet import contact_sheet, overlay, poster, thumbnail
from vcd_studio.project.errors import InputError


@dataclass
class Box:
    left: float
    top: float
    right: float
    bottom: float


def noise(count: int, size: tuple[int, int] = (12, 16), seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8))


def test_frames_come_back_bit_for_bit_in_order(tmp_path: Path) -> None:
    frames = noise(11)
    paths = save_frames(tmp_path / "t2v" / "frames", iter(frames))
    assert [path.name for path in paths][:2] == ["0000.png", "0001.png"]
    assert np.array_equal(load_frames(tmp_path / "t2v" / "frames"), frames)


def test_a_stage_that_runs_again_takes_the_place_of_the_old_and_of_a_killed_one(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    (tmp_path / "frames.part").mkdir()
    (tmp_path / "frames.part" / "0099.png").touch()
    save_frames(folder, noise(3))
    save_frames(folder, noise(2, seed=1))
    assert np.array_equal(load_frames(folder), noise(2, seed=1))
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


def test_frames_that_break_off_never_look_finished(tmp_path: Path) -> None:
    def breaking():  # type: ignore[no-untyped-def]
        yield from noise(2)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        save_frames(tmp_path / "frames", breaking())
    assert not (tmp_path / "frames").exists()
    with pytest.raises(InputError, match="no frames"):
        load_frames(tmp_path / "frames")


def test_frames_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        save_frames(tmp_path / "file" / "frames", noise(1))


@settings(max_examples=40)
@given(st.integers(1, 20), st.integers(1, 8), st.integers(1, 300), st.integers(1, 40), st.integers(1, 40))
def test_a_sheet_holds_every_frame(count: int, columns: int, width: int, high: int, wide: int) -> None:
    frames = [np.full((high, wide, 3), 100 + index, dtype=np.uint8) for index in range(count)]
    sheet = np.asarray(contact_sheet(frames, columns, width))
    assert {100 + index for index in range(count)} <= set(np.unique(sheet))


def test_a_poster_is_the_sharpest_of_the_middle() -> None:
    frames = [np.full((16, 16, 3), 90, dtype=np.uint8) for _ in range(8)]
    frames[0], frames[5] = noise(1, (16, 16))[0], noise(1, (16, 16), seed=2)[0] // 2
    assert np.array_equal(np.asarray(poster(frames)), frames[5])


def test_an_overlay_keeps_the_subject_and_darkens_the_rest() -> None:
    image = Image.new("RGB", (64, 64), (200, 200, 200))
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[20:44, 20:44] = 255
    shown = np.asarray(overlay(image, mask, [Box(2, 2, 60, 60)], (255, 0, 0)))
    assert tuple(shown[32, 32]) == (200, 200, 200)
    assert shown[10, 10].max() < 120
    assert tuple(shown[19, 30]) == (255, 0, 0)
    assert tuple(shown[2, 30]) == (255, 0, 0)
    overlay(image, mask[:32, :32], [Box(60, 60, 2, 2), Box(-50, -50, 500, 500)])


def test_a_thumbnail_is_kept_and_a_file_rewritten_in_place_is_seen(tmp_path: Path) -> None:
    picture, mask, cache = tmp_path / "a.png", tmp_path / "mask.png", tmp_path / "cache"
    Image.new("RGB", (100, 50), "red").save(picture)
    Image.new("L", (100, 50), 255).save(mask)
    assert thumbnail(picture, 40, cache).size == (40, 20)
    assert thumbnail(picture, (40, 40), cache).getpixel((5, 5)) == (255, 0, 0)
    assert len(list(cache.iterdir())) == 1
    thumbnail(picture, 40, cache, mask=mask, boxes=[Box(1, 1, 9, 9)])
    assert len(list(cache.iterdir())) == 2
    Image.new("RGB", (100, 50), "blue").save(picture)
    assert thumbnail(picture, 40, cache).getpixel((5, 5)) == (0, 0, 255)
    for kept in cache.iterdir():
        kept.write_bytes(b"broken")
    assert thumbnail(picture, 40, cache).getpixel((5, 5)) == (0, 0, 255)


def test_small_pictures_grow_by_whole_steps(tmp_path: Path) -> None:
    Image.new("RGB", (20, 16), "red").save(tmp_path / "a.png")
    assert thumbnail(tmp_path / "a.png", 70, tmp_path / "cache").size == (60, 48)


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    Image.new("RGB", (20, 16), "red").save(tmp_path / "a.png")
    (tmp_path / "file").touch()
    assert thumbnail(tmp_path / "a.png", 20, tmp_path / "file" / "cache").size == (20, 16)
    with pytest.raises(InputError, match="cannot be read"):
        thumbnail(tmp_path / "gone.png", 20, tmp_path / "cache")
