"""Pictures as a terminal gets them."""

import re

import pytest
from PIL import Image
from studio_fixtures import subject, subject_mask

from vcd_studio.terminal import Terminal, _best
from vcd_studio.tui.widgets.pictures.encode import encode, fit, select_after_define
from vcd_studio.tui.widgets.pictures.source import MASK_COLOUR, with_mask

SIXEL = Terminal("sixel", 6, 13)


def test_every_colour_is_selected_after_its_definition() -> None:
    data = encode(subject(0), (20, 10), SIXEL).data
    definitions = list(re.finditer(r"#(\d+);2;\d+;\d+;\d+", data))
    assert definitions
    assert all(data[found.end() :].startswith(f"#{found[1]}") for found in definitions)


def test_selecting_leaves_the_rest_alone() -> None:
    assert select_after_define('"1;1;6;6#0;2;9;9;9!6~$#1;2;1;2;3??~-#0!6~') == '"1;1;6;6#0;2;9;9;9#0!6~$#1;2;1;2;3#1??~-#0!6~'


def test_sixels_end_on_whole_bands_and_inside_their_cells() -> None:
    encoded = encode(subject(0), (20, 10), SIXEL)
    width, height = map(int, re.findall(r'"1;1;(\d+);(\d+)', encoded.data)[0])
    assert height % 6 == 0
    assert width <= 20 * 6
    assert height <= 10 * 13
    assert encoded.columns <= 20
    assert encoded.rows <= 10


@pytest.mark.parametrize("graphics", ["sixel", "kitty", "halfcell"])
@pytest.mark.parametrize("size", [(1, 500), (500, 1), (64, 64), (3000, 1000)])
def test_any_shape_stays_inside_its_cells(graphics: str, size: tuple[int, int]) -> None:
    encoded = encode(Image.new("RGB", size, (10, 200, 30)), (12, 5), Terminal(graphics, 10, 20))  # type: ignore[arg-type]
    assert 1 <= encoded.columns <= 12
    assert 1 <= encoded.rows <= 5
    assert all(strip.cell_length == encoded.columns for strip in encoded.strips)


def test_kitty_sends_the_picture_before_its_place() -> None:
    encoded = encode(subject(0), (12, 5), Terminal("kitty", 10, 20))
    assert encoded.data.startswith(f"\x1b_Gi={encoded.kitty_id},f=100,q=2")
    assert f"a=p,i={encoded.kitty_id},c={encoded.columns},r={encoded.rows},U=1" in encoded.data


def test_a_picture_keeps_its_shape() -> None:
    assert fit((200, 100), (10, 10), Terminal("sixel", 10, 20)) == (100, 50)


@pytest.mark.parametrize(
    ("answer", "best"),
    [
        ("\x1b[?63;1;2;4;6c", "sixel"),
        ("\x1b_Gi=4211;OK\x1b\\\x1b[?62;c", "kitty"),
        ("\x1b_Gi=4211;OK\x1b\\\x1b[?62;4c", "sixel"),
        ("\x1b[?1;2c", "halfcell"),
        ("\x1b[?64;14;24c", "halfcell"),
        ("", "halfcell"),
    ],
)
def test_the_terminals_answer_decides(answer: str, best: str) -> None:
    assert _best(answer) == best


def test_a_mask_is_outlined_at_its_edge_only() -> None:
    image, mask = subject(0), Image.fromarray(subject_mask(0))
    outlined = with_mask(image, mask, "outline")
    assert outlined.getpixel((40, 36)) == image.getpixel((40, 36))
    assert outlined.getpixel((0, 0)) == image.getpixel((0, 0))
    assert MASK_COLOUR in set(outlined.get_flattened_data())


def test_a_veil_covers_the_background_alone() -> None:
    image, mask = subject(0), Image.fromarray(subject_mask(0))
    veiled = with_mask(image, mask, "overlay")
    assert veiled.getpixel((40, 36)) == image.getpixel((40, 36))
    assert veiled.getpixel((0, 0)) != image.getpixel((0, 0))
