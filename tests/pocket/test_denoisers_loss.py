"""What the denoisers' loss weighs, and when."""

from __future__ import annotations

import torch

from vcd_studio.pocket.train import architectures
from vcd_studio.pocket.train.denoisers import SETTLED, NoiseLoss


def loss_with_an_error_at(cell: tuple[int, int], t: int, places: torch.Tensor) -> float:
    noise = torch.zeros(1, 4, 16, 16)
    prediction = noise.clone()
    prediction[0, :, cell[0], cell[1]] = 1
    return float(NoiseLoss(architectures.scheduler(), torch.zeros(40))(prediction, noise, torch.tensor([t]), places))


def test_words_count_where_they_are_seen_once_the_layout_stands_and_not_before() -> None:
    alphas = architectures.scheduler().alphas_cumprod
    clear = int((alphas / (1 - alphas) >= SETTLED).sum()) - 1
    places = torch.zeros(1, 16, 16)
    places[0, :4, :4] = 16.0
    on, off = (2, 2), (12, 12)
    assert loss_with_an_error_at(on, clear, places) > 10 * loss_with_an_error_at(off, clear, places)
    assert loss_with_an_error_at(on, clear + 1, places) == loss_with_an_error_at(off, clear + 1, places)
