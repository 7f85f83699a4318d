"""More photos for an identity that is there."""

from pathlib import Path

import pytest
from PIL import Image

from vcd_studio.project.errors import InputError
from vcd_studio.project.project import Project


def picture(path: Path, colour: tuple[int, int, int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 24), colour).save(path)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project.create(tmp_path / "film")
    made.add_identity("rex", "dog", [picture(tmp_path / "first" / "a.png", (10, 20, 30))])
    return made


def test_new_photos_are_copied_under_names_of_their_own(project: Project, tmp_path: Path) -> None:
    picture(tmp_path / "more" / "a.png", (90, 20, 30))
    picture(tmp_path / "more" / "same.png", (10, 20, 30))
    assert project.add_photos("rex", [tmp_path / "more"]) == 1
    assert [photo.name for photo in project.identity("rex").photos()] == ["a-2.png", "a.png"]


def test_one_file_that_is_no_picture_adds_none(project: Project, tmp_path: Path) -> None:
    picture(tmp_path / "more" / "b.png", (90, 20, 30))
    (tmp_path / "more" / "c.png").write_text("no picture")
    with pytest.raises(InputError, match=r"c\.png"):
        project.add_photos("rex", [tmp_path / "more"])
    assert [photo.name for photo in project.identity("rex").photos()] == ["a.png"]


def test_nothing_new_is_said(project: Project, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no new photos"):
        project.add_photos("rex", [tmp_path / "first"])
