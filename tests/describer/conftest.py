"""A studio home of its own, no proxy in the way of loopback, and a project with one dog."""

from pathlib import Path

import pytest
from PIL import Image

from vcd_studio.project.project import Project


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VCD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "camera").mkdir()
    for at in range(5):
        Image.new("RGB", (40, 30), (40 * at, 0, 0)).save(tmp_path / "camera" / f"{at}.png")
    made = Project.create(tmp_path / "film")
    made.add_identity("rex", "dog", [tmp_path / "camera"])
    return made
