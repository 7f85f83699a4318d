"""A queue of its own for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vcd_studio.jobs.store import Store


@pytest.fixture(autouse=True)
def studio_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VCD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def store(studio_home: Path) -> Iterator[Store]:
    with Store() as opened:
        yield opened
