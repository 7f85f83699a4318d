"""The few-step adapter: what it is learnt by, and that it is worn as it was learnt."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from vcd_studio.method.finetuning import NetworkWeights, worn
from vcd_studio.models import load_pack
from vcd_studio.models.loras import load_lora
from vcd_studio.pocket.train import architectures
from vcd_studio.pocket.train.few_steps import ADAPTER, STRIDE, Consistency, Difference, train_few_steps

LATENTS = torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(3))
WORDS = torch.zeros(2, 1)


class Knowing(nn.Module):
    """Foretells clean latents: the right ones, or as far off as told; the prompt moves it a little."""

    def __init__(self, clean: Tensor, off: float = 0.0) -> None:
        super().__init__()
        self.truth, self.off = clean, off
        self.alphas = architectures.scheduler().alphas_cumprod

    def forward(self, z: Tensor, t: Tensor, hidden: Tensor) -> Any:
        alpha = self.alphas[t].view(-1, 1, 1, 1)
        truth = self.truth.repeat(len(z) // len(self.truth), 1, 1, 1) + self.off * alpha
        return SimpleNamespace(sample=(z - alpha.sqrt() * truth) / (1 - alpha).sqrt())


@pytest.fixture
def consistency() -> Consistency:
    return Consistency(architectures.scheduler(), torch.device("cpu"))


def test_who_foretells_the_same_everywhere_has_nothing_to_learn(consistency: Consistency) -> None:
    def loss(off: float) -> float:
        return float(consistency.loss(np.random.default_rng(1), Knowing(LATENTS, off), {}, LATENTS, WORDS, WORDS))

    assert loss(0.0) < 1e-4 < 1e-2 < loss(1.0)


def test_at_the_end_of_the_way_latents_are_what_they_are(consistency: Consistency) -> None:
    anything = Knowing(torch.randn(2, 4, 8, 8))
    assert torch.allclose(consistency.foretold(anything, {}, LATENTS, torch.tensor([0, 0]), WORDS), LATENTS)
    late = consistency.foretold(anything, {}, LATENTS, torch.tensor([999, 999]), WORDS)
    assert torch.allclose(late, anything.truth, atol=1e-2)


def test_below_the_first_timestep_there_is_no_noise(consistency: Consistency) -> None:
    signal, sigma = consistency.noise_at(torch.tensor([-1, STRIDE - 1]), LATENTS)
    assert signal.flatten()[0] == 1
    assert sigma.flatten()[0] == 0
    assert torch.allclose(signal**2 + sigma**2, torch.ones(()))


def test_it_changes_nothing_at_first_and_is_worn_as_it_was_learnt(tmp_path: Path) -> None:
    networks = load_pack("pocket")
    difference = Difference(networks.motion_unet)
    given = (torch.randn(1, 4, 2, 16, 16), torch.tensor([500]), torch.randn(2, 40, 128))
    with torch.no_grad():
        begun = functional_call(networks.motion_unet, difference.weights(), given).sample
        assert torch.allclose(begun, networks.motion_unet(*given).sample, atol=1e-4)
        for up in difference.ups:
            up.copy_(torch.randn(up.shape, generator=torch.Generator().manual_seed(1)) * 0.02)
        learnt = functional_call(networks.motion_unet, difference.weights(), given).sample
        NetworkWeights(difference.changes()).save(tmp_path / ADAPTER)
        wearing = worn(networks, [NetworkWeights(load_lora(tmp_path / ADAPTER, networks).unet)])
        assert torch.allclose(wearing.motion_unet(*given).sample, learnt, atol=2e-2)
        assert not torch.allclose(networks.motion_unet(*given).sample, learnt, atol=2e-2)


@pytest.mark.slow
def test_a_training_ends_in_a_file_that_networks_wear(tmp_path: Path) -> None:
    networks = load_pack("pocket")
    train_few_steps(
        tmp_path, networks.vae, networks.tokenizer, networks.text_encoder, networks.unet, architectures.motion_adapter(),
        1, 1, 64, 4, torch.device("cpu"), False,
    )  # fmt: skip
    changes = load_lora(tmp_path / ADAPTER, networks).unet
    assert any(".motion_modules." in name for name in changes)
    assert any(bool(change.up.any()) for change in changes.values())
