"""The oracle that travels in a file answers as the one that was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vcd_studio.models.oracle import Oracle
from vcd_studio.pocket.questions import MEASURES, QUESTIONS


def test_questions_keep_their_order_on_disk(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained = Oracle(list(QUESTIONS.items()), MEASURES, widths=(8, 8, 8, 8)).eval()
    trained.save_pretrained(tmp_path)
    read = Oracle.from_pretrained(tmp_path).eval()
    clip = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    assert list(read.questions) == list(QUESTIONS)
    assert read.answers(clip) == trained.answers(clip)
    for name, logits in trained.read(clip)[0].items():
        assert torch.equal(read.read(clip)[0][name], logits)
        assert logits.shape == (3, len(QUESTIONS[name]))
