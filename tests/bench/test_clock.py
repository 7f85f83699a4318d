"""The person's clock, in miniature: every figure comes, out of real screens and a real worker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vcd_studio.bench.clock import measure
from vcd_studio.bench.parts import Options


@pytest.mark.slow
def test_every_wait_is_measured_and_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = os.environ.get("VCD_HOME")
    figures = {figure.what: figure for figure in measure(Options("cpu", 1, tmp_path, small=True))}
    wanted = {what for what, figure in figures.items() if figure.met is not None}
    assert wanted == {
        "--help", "first paint", "resident memory then", "a key on the Queue screen", "a key with pictures on screen",
        "a page of thumbnails from the disk cache", "from the queue until it is denoised", "from the queue to the first step",
    }  # fmt: skip
    assert all(figure.value > 0 for what, figure in figures.items() if what != "idle")
    assert figures["loading for the first clip"].note == "packs loaded: 1 of 1"
    assert figures["loading for a further clip on the same base"].note == "packs loaded: 0 of 2"
    assert os.environ.get("VCD_HOME") == before
    assert not list(tmp_path.glob("vcd-bench-*"))
