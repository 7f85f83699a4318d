"""Every saver is measured beside the clip without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vcd_studio.bench.parts import Options, measure
from vcd_studio.evaluation.plan import SAVERS


@pytest.mark.slow
def test_every_saver_is_measured_against_the_clip_without_it(tmp_path: Path) -> None:
    plain, *savers, preview = measure("savers", Options("cpu", 1, tmp_path, small=True))
    assert [figure.what for figure in savers] == [name for name in SAVERS if name != "none"]
    assert all(figure.rival == plain.samples and figure.ratio and figure.ratio > 0 for figure in savers)
    assert preview.value > 0
