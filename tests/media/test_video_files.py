"""Films: written whole, read back, and saying how they were made."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vcd_studio.media import provenance
from vcd_studio.media.video import Frame, read_metadata, read_video, write_gif, write_video, write_webp
from vcd_studio.project.errors import InputError

RECIPE = {
    "prompt": "a <rex> dog, running & <jumping> \x1b[2J",
    "negative": "blurry",
    "steps": 25,
    "scheduler": "ddim",
    "guidance": 7.5,
    "seed": 7,
    "width": 64,
    "height": 48,
    "model": "pocket",
    "stages": ("t2v", "face"),
}


def film(count: int = 6, width: int = 64, height: int = 48) -> list[Frame]:
    """A bright square that walks over a soft ground."""
    rows, columns = np.mgrid[0:height, 0:width]
    frames = []
    for index in range(count):
        frame = np.stack([columns * 2, rows * 3, np.full_like(rows, 90)], axis=2).astype(np.uint8)
        frame[10:26, 4 + 4 * index : 20 + 4 * index] = (230, 120, 40)
        frames.append(frame)
    return frames


def test_an_mp4_comes_back_as_it_was(tmp_path: Path) -> None:
    frames = film()
    write_video(tmp_path / "clip.mp4", iter(frames), 8, RECIPE)
    again, fps = read_video(tmp_path / "clip.mp4")
    assert fps == 8
    assert len(again) == 6
    assert again[0].shape == (48, 64, 3)
    error = np.abs(np.asarray(again, dtype=int) - np.asarray(frames, dtype=int))
    assert error.mean() < 3, f"mean error {error.mean():.2f}"
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_colours_keep_their_hue(tmp_path: Path) -> None:
    for name, colour in {
        "red": (220, 30, 30),
        "green": (30, 200, 40),
        "blue": (30, 40, 220),
        "white": (255, 255, 255),
        "black": (0, 0, 0),
    }.items():
        frame = np.full((32, 32, 3), colour, dtype=np.uint8)
        write_video(tmp_path / f"{name}.mp4", [frame, frame], 8)
        (again, _), _ = read_video(tmp_path / f"{name}.mp4")
        assert np.abs(again.astype(int) - colour).max() <= 4, name


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    """Many times over: x264's macroblock tree made one file in a hundred differ."""
    seen = set()
    for _ in range(60):
        write_video(tmp_path / "clip.mp4", film(), 8, RECIPE)
        seen.add((tmp_path / "clip.mp4").read_bytes())
    assert len(seen) == 1


def test_odd_sides_are_filled_up(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", film(width=63, height=47), 12.5)
    frames, fps = read_video(tmp_path / "clip.mp4")
    assert frames[0].shape == (48, 64, 3)
    assert fps == 12.5


@pytest.mark.parametrize("suffix", ["mp4", "gif", "webp", "png"])
def test_every_output_says_how_it_was_made_and_that_it_was_generated(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip.{suffix}"
    if suffix == "png":
        Image.fromarray(film()[0]).save(path, pnginfo=provenance.png_info(RECIPE))
    else:
        {"mp4": write_video, "gif": write_gif, "webp": write_webp}[suffix](path, film(), 8, RECIPE)
    found = provenance.read_recipe(path)
    assert found["digital_source_type"] == provenance.SOURCE_TYPE
    assert found["parameters"].startswith("a <rex> dog, running & <jumping>")
    assert "Negative prompt: blurry\nSteps: 25, Sampler: ddim, CFG scale: 7.5, Seed: 7, Size: 64x48, Model: pocket" in found["parameters"]
    assert provenance.SOURCE_TYPE.encode() in path.read_bytes()
    if suffix != "gif":
        assert json.loads(found["recipe"])["seed"] == 7
        assert json.loads(found["recipe"])["prompt"] == RECIPE["prompt"]


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_gif_and_webp_play_all_frames_for_ever(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip.{suffix}"
    (write_gif if suffix == "gif" else write_webp)(path, film(), 8, RECIPE)
    with Image.open(path) as image:
        assert (image.n_frames, image.info["loop"], image.size) == (6, 0, (64, 48))
        for index, frame in enumerate(film()):
            image.seek(index)
            assert np.abs(np.asarray(image.convert("RGB"), dtype=int) - frame).mean() < 8
            assert image.info["duration"] in (120, 125)


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
def test_ffprobe_reads_it(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", film(), 8, RECIPE)
    shown = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", str(tmp_path / "clip.mp4")],
        capture_output=True,
        check=True,
    )
    answer = json.loads(shown.stdout)
    assert (answer["streams"][0]["pix_fmt"], answer["streams"][0]["nb_frames"]) == ("yuv420p", "6")


def test_metadata_is_plain_tags(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", film(), 8, RECIPE)
    assert read_metadata(tmp_path / "clip.mp4")["comment"].startswith("a <rex> dog")


def test_a_film_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", film(), 8)
    before = (tmp_path / "clip.mp4").read_bytes()
    with pytest.raises(ValueError, match="have one size"):
        write_video(tmp_path / "clip.mp4", [*film(), film(width=32)[0]], 8)
    with pytest.raises(ValueError, match="at least one frame"):
        write_video(tmp_path / "clip.mp4", [], 8)
    assert (tmp_path / "clip.mp4").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(InputError, match="cannot be written"):
        write_video(tmp_path / "nowhere" / "clip.mp4", film(), 8)


def test_what_is_no_video_says_so(tmp_path: Path) -> None:
    (tmp_path / "letter.mp4").write_text("Dear dog,")
    write_video(tmp_path / "clip.mp4", film(), 8)
    data = (tmp_path / "clip.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 8])
    for name, sentence in (
        ("gone.mp4", "is not there"),
        ("letter.mp4", "cannot be read as a video"),
        ("cut.mp4", "cannot be read as a video"),
    ):
        with pytest.raises(InputError, match=sentence):
            read_video(tmp_path / name)
    with pytest.raises(InputError, match="more than 3 frames"):
        read_video(tmp_path / "clip.mp4", most=3)
    with pytest.raises(InputError, match="cannot be read"):
        provenance.read_recipe(tmp_path / "letter.mp4")


def test_a_playlist_cannot_read_other_files(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", film(), 8)
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile '{tmp_path / 'clip.mp4'}'\n")
    (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\nfile://{tmp_path / 'clip.mp4'}\n")
    for name in ("list.mp4", "list.m3u8"):
        with pytest.raises(InputError):
            read_video(tmp_path / name)
