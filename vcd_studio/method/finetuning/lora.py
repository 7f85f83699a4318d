"""LoRA: a difference of low rank beside every attention projection (Hu et al. 2021, arXiv 2106.09685), trained through peft."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from vcd_studio.method.finetuning.training import WeightsOptions, WeightsTraining
from vcd_studio.method.finetuning.weights import twin
from vcd_studio.method.protocols import LowRank, MethodError

TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]


@dataclass(frozen=True)
class LoraOptions(WeightsOptions):
    """Defaults are those of diffusers' DreamBooth-LoRA script for SD 1.5: no prior preservation, scale α/r = 1."""

    rank: int = 4
    steps: int = 500
    learning_rate: float = 1e-4
    batch: int = 1


class LoraTraining(WeightsTraining):
    """W + B·A: A (r, in) begins as noise, B (out, r) at zero, so that the first step starts from the base (Hu et al., section 4.1)."""

    options: LoraOptions
    defaults = LoraOptions
    method = "lora"

    def _twin(self) -> tuple[Any, dict[str, torch.nn.Parameter]]:
        from peft import LoraConfig

        rank = self.options.rank
        if rank < 1:
            raise MethodError(f"The rank of a LoRA must be at least 1, but is {rank}.")
        unet = twin(self.networks.unet, {})
        with torch.random.fork_rng(devices=[]):  # peft draws from the process's chance; ours is drawn below
            unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGETS))
        learning = {name: parameter for name, parameter in unet.named_parameters() if parameter.requires_grad}
        with torch.no_grad():
            for name, parameter in learning.items():
                if ".lora_A." in name:
                    parameter.copy_(torch.randn(parameter.shape, generator=self.generator) / rank)
        return unet, learning

    def _changes(self) -> dict[str, LowRank]:
        """Copies in 32 bits: a LoRA is small."""
        halves = {name: parameter.detach().cpu().clone() for name, parameter in self._learning.items()}
        downs = {name: tensor for name, tensor in halves.items() if ".lora_A." in name}
        return {
            name.split(".lora_A.")[0] + ".weight": LowRank(a, halves[name.replace(".lora_A.", ".lora_B.")]) for name, a in downs.items()
        }

    def _facts(self) -> dict[str, str]:
        return {**super()._facts(), "rank": str(self.options.rank)}
