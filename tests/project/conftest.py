"""A project with one dog, made afresh for each test, and a studio home of its own."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vcd_studio.project.project import Project


def paint(path: Path, seed: int = 0, size: tuple[int, int] = (40, 32)) -> Path:
    """A small picture that is like no other of another seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VCD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "camera"
    folder.mkdir()
    return [paint(folder / f"{name}.png", seed) for seed, name in enumerate(("one", "two", "three"))]


@pytest.fixture
def project(tmp_path: Path, photos: list[Path]) -> Project:
    project = Project.create(tmp_path / "film")
    project.add_identity("rex", "dog", photos)
    return project
