"""DreamBooth: every weight of the UNet learns (Ruiz et al. 2023, arXiv 2208.12242)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vcd_studio.method.finetuning.training import WeightsOptions, WeightsTraining, differences
from vcd_studio.method.finetuning.weights import twin


@dataclass(frozen=True)
class DreamBoothOptions(WeightsOptions):
    """Ruiz et al.'s for Stable Diffusion: learning rate 5e-6, λ = 1; steps, batch and 200 class pictures as in diffusers' script."""

    steps: int = 800
    learning_rate: float = 5e-6
    batch: int = 1
    prior_weight: float = 1.0


class DreamBoothTraining(WeightsTraining):
    """The whole UNet, held to its class by pictures that the base drew itself (section 3.3). The text encoder does not learn.

    While it learns, a second UNet and the optimiser's two more are in memory; afterwards the difference alone, in 16 bits.
    """

    options: DreamBoothOptions
    defaults = DreamBoothOptions
    method = "dreambooth"

    def _twin(self) -> tuple[Any, dict[str, torch.nn.Parameter]]:
        learning = {name: torch.nn.Parameter(parameter.detach().clone()) for name, parameter in self.networks.unet.named_parameters()}
        return twin(self.networks.unet, learning), learning

    def _changes(self) -> dict[str, Tensor]:
        return differences(self.networks.unet, self._learning)
