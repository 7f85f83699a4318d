"""The boxes grounding found stay beside the mask, and box numbers are read as people count."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcd_studio.project.errors import InputError, ProjectError
from vcd_studio.project.found_boxes import FoundBox, FoundBoxes, boxes_path, read_boxes, read_pick, write_boxes

FOUND = FoundBoxes(
    noun="dog", box_threshold=0.3, text_threshold=0.25, chosen=(1,), picked=True, warnings=("small",),
    box=(FoundBox(left=1, top=2, right=30, bottom=40.5, score=0.8, label="dog"), FoundBox(left=0, top=0, right=5, bottom=5)),
)  # fmt: skip


def test_what_was_written_is_read(tmp_path: Path) -> None:
    mask = tmp_path / "a.png.png"
    assert read_boxes(mask) is None
    write_boxes(mask, FOUND)
    assert boxes_path(mask).name == "a.png.toml"
    assert read_boxes(mask) == FOUND


def test_a_broken_file_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('noun = "dog"\nbox_threshold = "high"\ntext_threshold = 0.2\n')
    with pytest.raises(ProjectError, match=r"box_threshold") as raised:
        read_boxes(tmp_path / "a.png")
    assert raised.value.line == 2


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.toml").write_text("")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.toml").symlink_to(tmp_path / "secret.toml")
    with pytest.raises(ProjectError, match="leads out"):
        read_boxes(tmp_path / "masks" / "a.png")


@pytest.mark.parametrize(("text", "pick"), [("best", "best"), ("ALL", "all"), ("2", [1]), ("3, 1", [0, 2]), ("1 1", [0])])
def test_boxes_are_picked_as_people_count(text: str, pick: object) -> None:
    assert read_pick(text) == pick


@given(st.text(max_size=12))
def test_anything_else_is_one_sentence(text: str) -> None:
    try:
        pick = read_pick(text)
    except InputError:
        return
    assert pick in ("best", "all") or all(place >= 0 for place in pick)  # type: ignore[union-attr]
