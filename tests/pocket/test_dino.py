"""What stands for DINO in the pocket world, as it learns."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from vcd_studio.pocket.train.dino import SIDE, Projected, architecture, coloured, contrast, cropped


@given(st.integers(0, 1000))
def test_each_must_find_its_own_among_all(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first = F.normalize(torch.randn(16, 64, generator=generator), dim=-1)
    other = F.normalize(torch.randn(16, 64, generator=generator), dim=-1)
    assert contrast(first, first) < contrast(first, other) < contrast(first, first.roll(1, 0))
    assert torch.isclose(contrast(first, other), contrast(other, first), atol=1e-4)


def test_a_batch_gives_the_network_a_gradient() -> None:
    torch.manual_seed(0)
    model, rng = Projected(architecture()), np.random.default_rng(0)
    views = [coloured(cropped(torch.rand(4, 3, 64, 64) * 2 - 1, rng), rng) for _ in range(2)]
    assert views[0].shape == (4, 3, SIDE, SIDE)
    assert float(views[0].abs().max()) <= 1
    contrast(*model(torch.cat(views)).split(4)).backward()
    assert all(p.grad is not None for p in model.mlp.parameters())
