"""Custom Diffusion: keys and values of the cross-attention, and the token itself, learn (Kumari et al. 2023, arXiv 2212.04488)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vcd_studio.method.finetuning.training import WeightsOptions, WeightsTraining, differences
from vcd_studio.method.finetuning.weights import twin

TARGETS = (".attn2.to_k.weight", ".attn2.to_v.weight")


@dataclass(frozen=True)
class CustomDiffusionOptions(WeightsOptions):
    """Kumari et al., section 4: 250 steps, batch 8, learning rate 8e-5, 200 regularisation pictures with λ = 1."""

    steps: int = 250
    learning_rate: float = 8e-5
    batch: int = 8
    prior_weight: float = 1.0


class CustomDiffusionTraining(WeightsTraining):
    """W_k and W_v of every cross-attention, with one new token V* begun at a rare one (section 3.2). ``tokens`` begins it elsewhere.

    The regularisation pictures are drawn by the base (the paper's variant "w/ Gen"), not looked up in a large collection.
    """

    options: CustomDiffusionOptions
    defaults = CustomDiffusionOptions
    method = "custom-diffusion"
    rows_learn = True

    def _twin(self) -> tuple[Any, dict[str, torch.nn.Parameter]]:
        parameters = self.networks.unet.named_parameters()
        learning = {name: torch.nn.Parameter(parameter.detach().clone()) for name, parameter in parameters if name.endswith(TARGETS)}
        return twin(self.networks.unet, learning), learning

    def _changes(self) -> dict[str, Tensor]:
        return differences(self.networks.unet, self._learning)
