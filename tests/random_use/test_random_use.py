"""A little of it in every round of the tests; an hour by ``python -m tests.random_use``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.random_use.driver import REPOSITORY, run


@pytest.mark.slow
def test_random_use_leaves_nothing_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VCD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert run(tmp_path, seconds=15, seed=7).found == []
