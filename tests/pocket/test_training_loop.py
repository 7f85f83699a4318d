"""The one training loop: a run that is cut off goes on and ends with the very weights of an unbroken one."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vcd_studio.pocket.train.loop import Recipe, train


def train_line(folder: Path, steps: int, until: int | None = None) -> nn.Module:
    """Fit y = 3x − 1; ``until`` stops as a kill would, after that many calls."""
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    calls = 0

    def loss_at(rng: np.random.Generator) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if until is not None and calls > until:
            raise KeyboardInterrupt
        x = torch.from_numpy(rng.normal(size=(32, 1))).float()
        return (model(x) - (3 * x - 1)).square().mean()

    recipe = Recipe(steps, 0.05, ema_decay=0.9, warm_up=5, weight_decay=0.0, save_every=10)
    try:
        return train("line", model, loss_at, recipe, folder, say=lambda _: None)
    except KeyboardInterrupt:
        return model


def test_a_run_that_was_cut_off_ends_like_an_unbroken_one(tmp_path: Path) -> None:
    whole = train_line(tmp_path / "whole", 200)
    train_line(tmp_path / "cut", 200, until=57)
    resumed = train_line(tmp_path / "cut", 200)
    assert torch.equal(whole.weight, resumed.weight)
    assert torch.equal(whole.bias, resumed.bias)
    assert abs(float(whole.weight) - 3) < 0.05
    assert abs(float(whole.bias) + 1) < 0.05


def test_the_rate_warms_up_and_cools_down() -> None:
    recipe = Recipe(steps=1000, learning_rate=1.0, warm_up=100)
    rates = [recipe.rate(step) for step in range(1000)]
    assert rates[0] == 0.01
    assert rates[100] == rates[700] == 1.0
    assert all(a >= b for a, b in pairwise(rates[750:]))
    assert rates[-1] == 0.02
