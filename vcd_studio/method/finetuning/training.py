"""What the trainers that change a UNet share: the token in the prompt, the twin that learns, prior preservation, the resume."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from vcd_studio.method.augmentation import TrainingPhoto
from vcd_studio.method.conditioning import condition
from vcd_studio.method.denoise import FrameByFrame, denoise
from vcd_studio.method.finetuning.weights import NetworkWeights
from vcd_studio.method.id_tokens import IdTokens, install
from vcd_studio.method.photo_training import LearningOptions, PhotoTraining
from vcd_studio.method.protocols import LowRank, MethodError, Networks
from vcd_studio.method.schedules import schedule

PRIOR_STEPS = 25
PRIOR_GUIDANCE = 7.5
PRIOR_AT_ONCE = 4
LARGEST_GRADIENT = 1.0
"""Gradients are clipped to this norm, as diffusers' training scripts do."""


@dataclass(frozen=True)
class WeightsOptions(LearningOptions):
    """``tokens``: rows of a token that is not trained; ``prior_weight``: λ, 0 for none; ``prior_pictures``: what the base draws for it.

    As the paper's rivals are trained, the loss counts the whole picture: ``unmasked_share`` 0 masks it like that of ID tokens.
    """

    unmasked_share: float = 1.0
    tokens: int = 1
    prior_weight: float = 0.0
    prior_pictures: int = 200


class WeightsTraining(PhotoTraining):
    """A training that changes the UNet, with prompts of the form "a <token> noun". The text encoder and the VAE stay frozen.

    The networks handed in are not touched at any time, whether the training ends or fails: what learns is a ``twin`` of the UNet.
    The token is a rare identifier in the sense of Ruiz et al. 2023: rows that look like the vocabulary's but mean nothing yet, drawn
    from the seed; or ``tokens``, an identity's trained ID tokens, which then stand in every prompt and are handed back as they were.
    """

    options: WeightsOptions
    defaults: ClassVar[type[WeightsOptions]]
    method: ClassVar[str]
    rows_learn: ClassVar[bool] = False

    def __init__(
        self,
        networks: Networks,
        photos: Sequence[TrainingPhoto],
        noun: str,
        token: str,
        options: WeightsOptions | None = None,
        tokens: IdTokens | None = None,
    ) -> None:
        if networks.dtype != torch.float32:
            raise MethodError(f"This pack is loaded in {networks.dtype}, too coarse for weights to learn in: load it in torch.float32.")
        super().__init__(networks, photos, noun, token, options or self.defaults())
        self._given = tokens
        rows = tokens.embeddings.float().clone() if tokens else self._rare_rows()
        self.ids = install(IdTokens(token, noun, rows), networks.tokenizer, networks.text_encoder)
        self.rows = torch.nn.Parameter(rows.to(networks.device), requires_grad=self.rows_learn)
        self.unet, self._learning = self._twin()
        self._prior: Tensor | None = None
        learning = [*self._learning.values(), *([self.rows] if self.rows_learn else [])]
        self.optimizer = torch.optim.AdamW(learning, self.options.learning_rate, weight_decay=self.options.weight_decay)

    @abstractmethod
    def _twin(self) -> tuple[Any, dict[str, torch.nn.Parameter]]:
        """The UNet that learns, on the base's tensors, and what of it learns, by name."""

    @abstractmethod
    def _changes(self) -> Mapping[str, Tensor | LowRank]:
        """What has been learnt, by the names of the base's parameters."""

    def prepare(self, on_view: Callable[[int, int], None] | None = None) -> None:
        """Make the bank and, with prior preservation, the base's own pictures of the noun: once, before the first step."""
        if self._latents is None:
            super().prepare(on_view)
        if self._prior is None and self.options.prior_weight:
            self._prior = self._class_pictures(on_view)

    def tokens(self, **metadata: str) -> IdTokens:
        if self._given is None or self.rows_learn:
            return super().tokens(**metadata)
        tokens = IdTokens(self.token, self.noun, self._given.embeddings, self._given.metadata)
        install(tokens, self.networks.tokenizer, self.networks.text_encoder)
        return tokens

    def weights(self, **metadata: str) -> NetworkWeights:
        """What has been learnt so far, as it will be read from its file."""
        return NetworkWeights(self._changes(), {**self._facts(), "noun": self.noun, "token": self.token, **metadata})

    def state_dict(self) -> dict[str, Any]:
        """As of a network, the tensors are the training's own: save them before the next step."""
        return {
            **super().state_dict(),
            "rows": self.rows.detach().cpu().clone(),
            "weights": {name: parameter.detach() for name, parameter in self._learning.items()},
            "optimizer": self.optimizer.state_dict(),
            "prior": self._prior,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        shapes = {name: parameter.shape for name, parameter in self._learning.items()}
        if {name: tensor.shape for name, tensor in state.get("weights", {}).items()} != shapes or state["rows"].shape != self.rows.shape:
            raise MethodError(
                f"The checkpoint is of another training than this {self.method}: train anew, or with the options it began with."
            )
        with torch.no_grad():
            self.rows.copy_(state["rows"])
            for name, parameter in self._learning.items():
                parameter.copy_(state["weights"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self._prior = None if state["prior"] is None else state["prior"].to(self.networks.device)
        super().load_state_dict(state)

    def _learn(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.optimizer.param_groups[0]["params"], LARGEST_GRADIENT)
        self.optimizer.step()

    def _loss(self) -> Tensor:
        loss = super()._loss()
        if self._prior is None:
            return loss
        which = torch.randint(0, len(self._prior), (self.options.batch,), generator=self.generator)
        latents = self._prior[which.to(self._prior.device)]
        whole = torch.ones_like(latents[:, :1])
        return loss + self.options.prior_weight * self._error(latents, whole, [self._class_prompt] * len(latents))

    @property
    def _class_prompt(self) -> str:
        return f"a photo of a {self.noun}"

    @property
    def _views(self) -> int:
        return self.options.bank + (self.options.prior_pictures if self.options.prior_weight else 0)

    def _facts(self) -> dict[str, str]:
        return {"method": self.method, **super()._facts()}

    def _class_pictures(self, on_view: Callable[[int, int], None] | None) -> Tensor:
        """(pictures, c, h, w): what the base draws for the class noun, left as latents since nobody looks at them."""
        networks, count = self.networks, self.options.prior_pictures
        if count < 1:
            raise MethodError(
                f"Prior preservation needs pictures to learn from, not {count}: ask for at least one, or set its weight to 0."
            )
        side = networks.size // networks.vae_scale
        plan = schedule("ddim", networks.scheduler.config, PRIOR_STEPS)
        words = condition(networks, self._class_prompt)
        generator = torch.Generator("cpu").manual_seed(self.options.seed)
        made: list[Tensor] = []
        for begin in range(0, count, PRIOR_AT_ONCE):
            shape = (min(PRIOR_AT_ONCE, count - begin), networks.latent_channels, 1, side, side)
            noise = torch.randn(shape, generator=generator).to(networks.device, networks.dtype)
            made.append(denoise(FrameByFrame(networks.unet), plan.start(noise), words, plan, PRIOR_GUIDANCE)[:, :, 0])
            if on_view:
                on_view(self.options.bank + begin + shape[0], self._views)
        return torch.cat(made).clone()

    def _rare_rows(self) -> Tensor:
        """(K, width): as long and as scattered as the vocabulary's own rows, whatever tokens were added to it before."""
        words = self.networks.tokenizer.vocab_size
        table = self.networks.text_encoder.get_input_embeddings().weight.detach()[:words].float().cpu()
        rows: Tensor = table.mean(0) + table.std(0) * torch.randn((self.options.tokens, table.shape[1]), generator=self.generator)
        return rows


def differences(base: Any, learnt: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What ``learnt`` has that the base has not, rounded to 16 bits (see ``NetworkWeights.save``)."""
    parameters = dict(base.named_parameters())
    return {name: (tensor.detach() - parameters[name]).half().cpu() for name, tensor in learnt.items()}
