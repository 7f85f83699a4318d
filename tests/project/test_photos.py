"""Pictures as cameras and the net bring them."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from vcd_studio.project.errors import InputError
from vcd_studio.project.photos import open_photo, read_mask, write_mask
from vcd_studio.project.text import plain


def one_line(error: Exception) -> None:
    """An error is one line without control characters."""
    assert plain(str(error)) == str(error)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def gradient(mode: str, size: tuple[int, int] = (32, 24)) -> Image.Image:
    return Image.linear_gradient("L").resize(size).convert(mode)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.png", "L"),
        ("a.png", "LA"),
        ("a.png", "P"),
        ("a.png", "1"),
        ("a.png", "RGBA"),
        ("a.jpg", "CMYK"),
        ("a.tif", "CMYK"),
        ("a.webp", "RGBA"),
    ],
)
def test_any_mode_comes_out_as_rgb(tmp_path: Path, name: str, mode: str) -> None:
    image = open_photo(saved(tmp_path / name, gradient(mode)))
    assert (image.mode, image.size) == ("RGB", (32, 24))


def test_sixteen_bits_keep_their_range(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 32 * 24).reshape(24, 32).astype(np.uint16)
    grey = np.asarray(open_photo(saved(tmp_path / "a.png", Image.fromarray(values))).convert("L"), dtype=int)
    assert np.abs(grey - values // 257).max() <= 1


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    image = open_photo(saved(tmp_path / "a.png", Image.new("RGBA", (20, 20), (255, 0, 0, 0))))
    assert image.getpixel((5, 5)) == (255, 255, 255)


def test_a_photo_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (40, 20), "black")
    image.paste((255, 255, 255), (0, 0, 20, 20))
    upright = open_photo(saved(tmp_path / "a.png", image, exif=exif))
    assert upright.size == (20, 40)
    assert upright.getpixel((10, 5)) == (255, 255, 255)
    assert upright.getpixel((10, 35)) == (0, 0, 0)


def test_an_animation_gives_its_first_picture(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert open_photo(tmp_path / "a.gif").getpixel((3, 3)) == (254, 0, 0) or open_photo(tmp_path / "a.gif").getpixel((3, 3)) == (255, 0, 0)


def test_what_is_no_photo_says_so_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = saved(tmp_path / "whole.png", gradient("RGB", (64, 64)))
    (tmp_path / "letter.jpg").write_text("Dear dog,")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "drawing.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    saved(tmp_path / "tiny.png", gradient("RGB", (4, 4)))
    cases = {
        "gone.jpg": "is not there",
        "letter.jpg": "not a picture",
        "empty.jpg": "not a picture",
        "folder.jpg": "is not there",
        "drawing.png": "not a picture",
        "cut.png": "is damaged",
        "tiny.png": "at least 16",
    }
    for name, sentence in cases.items():
        with pytest.raises(InputError, match=sentence) as caught:
            open_photo(tmp_path / name)
        assert name in str(caught.value)
    monkeypatch.setattr("vcd_studio.project.photos.LARGEST_PIXELS", 1000)
    with pytest.raises(InputError, match="64 x 64 pixels; scale it"):
        open_photo(whole)


def test_a_bomb_is_not_decoded(tmp_path: Path) -> None:
    header = Image.new("1", (20_000, 20_000))
    with pytest.raises(InputError, match=r"20000 x 20000|too large"):
        open_photo(saved(tmp_path / "bomb.png", header))


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"]),
    st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=8),
    st.floats(0.1, 1),
)
def test_damaged_pictures_open_or_are_refused(tmp_path: Path, kind: str, damage: list[tuple[float, int]], length: float) -> None:
    buffer = io.BytesIO()
    gradient("RGB").save(buffer, kind)
    data = bytearray(buffer.getvalue())
    for where, value in damage:
        data[int(where * len(data))] = value
    path = tmp_path / "damaged.png"
    path.write_bytes(data[: int(length * len(data))])
    try:
        assert open_photo(path).mode == "RGB"
    except InputError as error:
        one_line(error)


def test_masks_go_there_and_back(tmp_path: Path) -> None:
    mask = np.zeros((24, 32), dtype=np.uint8)
    mask[5:10, 3:20] = 255
    path = tmp_path / "masks" / "one.png"
    write_mask(path, mask)
    write_mask(path, mask > 0)
    assert np.array_equal(read_mask(path), mask)
    assert [entry.name for entry in path.parent.iterdir()] == ["one.png"]
    with pytest.raises(ValueError, match="two dimensions"):
        write_mask(path, np.zeros((2, 3, 3), dtype=np.uint8))
