"""Extended textual inversion with a masked loss (paper section 4.2): only the K rows of the ID tokens learn."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vcd_studio.method.augmentation import TrainingPhoto
from vcd_studio.method.fused.running import quickly
from vcd_studio.method.id_tokens import IdTokens, install
from vcd_studio.method.photo_training import LearningOptions, PhotoTraining, StepReport, masked_loss
from vcd_studio.method.protocols import MethodError, Networks
from vcd_studio.method.recorded import Work, coarser_products, recorded

__all__ = ["TEXTUAL_INVERSION", "IdTraining", "StepReport", "TrainingOptions", "masked_loss"]


@dataclass(frozen=True)
class TrainingOptions(LearningOptions):
    """Defaults are ours, by what was measured on pocket (README, "Defaults"). ``init_noise``: share of the noun's own spread."""

    tokens: int = 4
    keep_norm: bool = False
    init_noise: float = 0.01


TEXTUAL_INVERSION = TrainingOptions(tokens=1, unmasked_share=1.0)
"""The paper's rival "TI" (Gal et al. 2022, arXiv 2208.01618): one token begun at its class word, the loss over the whole picture.

Steps, batch and learning rate stay ours, so that a comparison shows what the tokens and the mask bring; Gal et al. put the token in the
noun's place, here the noun stays behind it.
"""


class IdTraining(PhotoTraining):
    """ID tokens: the vocabulary and every network are frozen, the rows alone learn, in fp32.

    So UNet and VAE may be in bf16 (fp16's range is too small for the way back: gradients were 21 % off on SD 1.5's shapes, 1.2 % in bf16).
    """

    options: TrainingOptions

    def __init__(
        self, networks: Networks, photos: Sequence[TrainingPhoto], noun: str, token: str, options: TrainingOptions | None = None
    ) -> None:
        super().__init__(networks, photos, noun, token, options or TrainingOptions())
        networks.text_encoder.float()  # whatever the others are in: rows learn in steps that 16 bits would not see
        self._played: Work | None = None
        rows = self._first_rows()
        self.ids = install(IdTokens(token, noun, rows), networks.tokenizer, networks.text_encoder)
        self.rows = torch.nn.Parameter(rows.to(networks.device))
        self.optimizer = torch.optim.AdamW([self.rows], self.options.learning_rate, weight_decay=self.options.weight_decay)

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed training needs: rows, optimiser, chance, step and the bank."""
        return {
            **super().state_dict(),
            "rows": self.rows.detach().cpu().clone(),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["rows"].shape != self.rows.shape:
            raise MethodError(f"The checkpoint holds {len(state['rows'])} tokens, but this training wants {len(self.rows)}.")
        with torch.no_grad():
            self.rows.copy_(state["rows"])
        self.optimizer.load_state_dict(state["optimizer"])
        super().load_state_dict(state)

    def _predict(self, noisy: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        """Recorded at the first step, where every step is alike: not if the UNet comes and goes."""
        if self._played is None:
            comes_and_goes = bool(self.unet._forward_pre_hooks)
            with quickly(self.unet), coarser_products():
                self._played = self._predicted if comes_and_goes else recorded(self._predicted, self.rows, noisy, t, ids)
        return self._played(self.rows, noisy, t, ids)

    def _learn(self, loss: Tensor) -> None:
        (self.rows.grad,) = torch.autograd.grad(loss, self.rows)
        self.optimizer.step()
        if self.options.keep_norm:
            self._keep_norm()

    def _first_rows(self) -> Tensor:
        """(K, width): the noun's embedding, each row with a little noise of its own."""
        ids = self.networks.tokenizer(self.noun, add_special_tokens=False).input_ids
        table = self.networks.text_encoder.get_input_embeddings().weight.detach()
        noun = table[torch.as_tensor(ids, device=table.device)].float().cpu().mean(0)
        noise = torch.randn((self.options.tokens, len(noun)), generator=self.generator)
        rows: Tensor = noun + self.options.init_noise * noun.std() * noise
        return rows

    def _keep_norm(self) -> None:
        """Hold every row at the vocabulary's mean length; identities that were put in earlier are none of it."""
        words = self.networks.text_encoder.get_input_embeddings().weight[: self.networks.tokenizer.vocab_size]
        with torch.no_grad():
            self.rows.mul_(words.float().norm(dim=-1).mean() / self.rows.norm(dim=-1, keepdim=True).clamp_min(1e-8))
