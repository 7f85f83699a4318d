"""Learning one identity from a few photos: the bank of augmented views, the batches and the loss. A trainer says which numbers learn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import diffusers
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from vcd_studio.method.attention import plainly_attending
from vcd_studio.method.augmentation import CAPTIONS, Kind, TrainingPhoto, augment, is_close_up, view
from vcd_studio.method.conditioning import Conditioning, token_ids
from vcd_studio.method.id_tokens import IdTokens, expand, install
from vcd_studio.method.pictures import drawn, posterior, to_tensor
from vcd_studio.method.protocols import MethodError, Networks
from vcd_studio.method.sampling import Sampling
from vcd_studio.method.text_to_video import text_to_pictures

if TYPE_CHECKING:
    from vcd_studio.method.finetuning.weights import NetworkWeights


@dataclass(frozen=True)
class LearningOptions:
    """What every training has. ``bank``: views encoded before the first step, varied where ``augmented``; ``framed``: captions say which
    photos are close ups, so that the token need not; ``unmasked_share``: of the draws, 0..1."""

    steps: int = 200
    learning_rate: float = 1e-3
    batch: int = 4
    unmasked_share: float = 0.0
    weight_decay: float = 1e-2
    bank: int = 64
    augmented: bool = False
    framed: bool = True
    seed: int = 0


@dataclass(frozen=True)
class StepReport:
    step: int
    loss: float
    token_norm: float


STEADY_PLACES = (1 / 8, 3 / 8, 5 / 8, 7 / 8)
"""Where along the schedule the steady loss is taken."""


@dataclass(frozen=True)
class _Encoded:
    """A view: what the VAE sees in it, mean and standard deviation (1, c, h, w), its soft mask (1, 1, h, w), and how near it is."""

    mean: Tensor
    spread: Tensor
    mask: Tensor
    kind: Kind


def masked_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Σ mask·(ε̂−ε)² / (Σ mask · channels) per sample, then the mean. (b, c, h, w), (b, c, h, w), (b, 1, h, w) soft."""
    error = mask * (predicted.float() - target.float()) ** 2
    return (error.sum((1, 2, 3)) / (mask.sum((1, 2, 3)).clamp_min(1e-6) * predicted.shape[1])).mean()


class PhotoTraining(ABC):
    """One training. ``step()`` until ``options.steps``; ``state_dict()`` at any step resumes to the very same result.

    The networks handed in are frozen and stay as they are, but for the token's rows that ``tokens()`` puts into the vocabulary.
    """

    options: LearningOptions
    rows: Tensor
    """(K, width) fp32: the token's embeddings as they are now. While training they are put in the vocabulary's place."""
    ids: list[int]

    def __init__(self, networks: Networks, photos: Sequence[TrainingPhoto], noun: str, token: str, options: LearningOptions) -> None:
        if not photos:
            raise MethodError("There is no photo to learn from: add at least one, or let one of them back in.")
        self.networks, self.photos, self.noun, self.token = networks, list(photos), noun, token
        self.options = options
        self.generator = torch.Generator("cpu").manual_seed(options.seed)
        for network in (networks.text_encoder, networks.unet, networks.vae):
            network.requires_grad_(False).eval()
        self.unet = networks.unet
        schedulers: Any = diffusers.DDPMScheduler
        self.noise = schedulers.from_config(networks.scheduler.config, clip_sample=False)
        self.steps_done = 0
        self._latents: Tensor | None = None
        self._masks = torch.empty(0)
        self._kinds: list[Kind] = []
        self._words: dict[str, Tensor] = {}
        self._steady: tuple[Tensor, Tensor, Tensor, list[str]] | None = None

    @property
    def finished(self) -> bool:
        return self.steps_done >= self.options.steps

    def prepare(self, on_view: Callable[[int, int], None] | None = None) -> None:
        """Make the bank: augmented views, encoded once. Nothing to do when it is there already."""
        if self._latents is not None:
            return
        latents, views = [], list[_Encoded]()
        for i in range(self.options.bank):
            if self.options.augmented or i < len(self.photos):
                views.append(self._encoded(self.photos[i % len(self.photos)], augmented=self.options.augmented))
            else:  # a photo that was seen before, and is seen the same way: only the draw is another
                views.append(views[i % len(self.photos)])
            latents.append(drawn(views[i].mean, views[i].spread, self.networks, self.generator)[:, :, 0])
            if on_view:
                on_view(i + 1, self._views)
        self._kinds = [seen.kind for seen in views]
        self._latents = torch.cat(latents).float().clone()
        self._masks = torch.cat([seen.mask for seen in views]).to(self.networks.device)

    def _encoded(self, photo: TrainingPhoto, *, augmented: bool) -> _Encoded:
        """One view of a photo: a random one, or the photo as it is."""
        networks = self.networks
        seen = augment(photo, networks.size, self.generator) if augmented else view(photo, networks.size)
        soft = torch.from_numpy(np.array(seen.mask, np.float32))[None, None] / 255
        portrait = self.options.framed and photo.mask is not None and is_close_up(seen.mask)
        mean, spread = posterior(to_tensor(np.asarray(seen.picture)[None]), networks)
        return _Encoded(mean, spread, avg_pool2d(soft, networks.vae_scale), "close" if portrait else seen.kind)

    def step(self) -> StepReport:
        """Learn from one batch."""
        self.prepare()
        loss = self._loss()
        self._learn(loss)
        self.steps_done += 1
        return StepReport(self.steps_done, float(loss.detach()), float(self.rows.detach().norm(dim=-1).mean()))

    @torch.no_grad()
    def steady_loss(self) -> float:
        """The loss with all chance taken out: every photo as it is, at the same places of the schedule, in the same noise.

        Whatever the options and the seed, so that trainings on the same photos and masks compare: the lower, the more of the subject was
        learnt. A batch's own loss does not tell, for what it measures most of all is which timesteps were drawn. Takes no part in learning.
        """
        latents, noises, mask, captions = self._steady = self._steady or self._steady_draws()
        total = 0.0
        for place, noise in zip(STEADY_PLACES, noises, strict=True):
            t = torch.full((len(latents),), int(place * self.noise.config["num_train_timesteps"]), device=latents.device)
            noisy, target = self.noise.add_noise(latents, noise, t), self._target(latents, noise, t)
            for part in torch.arange(len(latents)).split(self.options.batch):
                predicted = self._predicted(self.rows, noisy[part], t[part], self._ids([captions[i] for i in part]))
                total += len(part) * float(masked_loss(predicted, target[part], mask[part]))
        return total / noises[:, :, 0, 0, 0].numel()

    def tokens(self, **metadata: str) -> IdTokens:
        """The token's embeddings as they are now, installed, with what is worth knowing about them."""
        tokens = IdTokens(self.token, self.noun, self.rows.detach().float().cpu().clone(), {**self._facts(), **metadata})
        install(tokens, self.networks.tokenizer, self.networks.text_encoder)
        return tokens

    def weights(self, **metadata: str) -> NetworkWeights | None:
        """What changes in the UNet; None where the tokens are all there is."""
        return None

    def preview(self, prompt: str | None = None, *, steps: int = 12, guidance: float = 7.5, seed: int = 0) -> NDArray[np.uint8]:
        """A picture (height, width, 3) of what has been learnt so far. Leaves the training's own chance alone."""
        networks = self.networks
        with torch.inference_mode():
            positive, negative = self._encode([prompt or f"a photo of a {self.token}"]), self._encode([""])
        learnt = replace(networks, unet=self.unet)
        picture: NDArray[np.uint8] = text_to_pictures(learnt, Conditioning(positive, negative), Sampling(steps, guidance, seed=seed))[0]
        return picture

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed training needs: here chance, step and the bank; trainers add what learns and its optimiser."""
        self.prepare()
        return {
            "generator": self.generator.get_state(),
            "step": self.steps_done,
            "latents": cast(Tensor, self._latents).cpu(),
            "masks": self._masks.cpu(),
            "kinds": list(self._kinds),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a ``state_dict`` of a training with the same options. Raises MethodError for one with others."""
        self.generator.set_state(state["generator"])
        self.steps_done = state["step"]
        self._latents = state["latents"].to(self.networks.device)
        self._masks = state["masks"].to(self.networks.device)
        self._kinds = list(state["kinds"])

    @abstractmethod
    def _learn(self, loss: Tensor) -> None:
        """Move what learns by one step."""

    @property
    def _views(self) -> int:
        """How many views (and other pictures) ``prepare`` makes."""
        return self.options.bank

    def _facts(self) -> dict[str, str]:
        """What every file of a training says."""
        return {"steps": str(self.steps_done), "seed": str(self.options.seed), "learning_rate": str(self.options.learning_rate)}

    def _loss(self) -> Tensor:
        latents, mask, captions = self._draw()
        return self._error(latents, mask, captions)

    def _error(self, latents: Tensor, mask: Tensor, captions: Sequence[str]) -> Tensor:
        """The masked loss of one batch at fresh noise and timesteps."""
        noise = torch.randn(latents.shape, generator=self.generator).to(latents)
        t = torch.randint(0, self.noise.config["num_train_timesteps"], (len(latents),), generator=self.generator).to(latents.device)
        predicted = self._predict(self.noise.add_noise(latents, noise, t), t, self._ids(captions))
        return masked_loss(predicted, self._target(latents, noise, t), mask)

    def _predict(self, noisy: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        """The UNet's prediction for latents (b, c, h, w) in fp32 and the words of their captions (b, length)."""
        return self._predicted(self.rows, noisy, t, ids)

    def _predicted(self, rows: Tensor, noisy: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        with plainly_attending(self.unet):
            predicted: Tensor = self.unet(noisy.to(self.unet.dtype), t, encoder_hidden_states=self._embeds(rows, ids)).sample
        return predicted

    def _steady_draws(self) -> tuple[Tensor, Tensor, Tensor, list[str]]:
        """Of each photo: its latents (n, c, h, w), noise for every place (p, n, c, h, w), its mask (n, 1, h, w) and a caption."""
        seen = [self._encoded(photo, augmented=False) for photo in self.photos]
        latents = torch.cat([drawn(each.mean, each.spread, self.networks)[:, :, 0] for each in seen]).float()
        always = torch.Generator("cpu").manual_seed(0)
        noises = torch.stack([torch.randn((len(STEADY_PLACES), *latents.shape[1:]), generator=always) for _ in seen], 1).to(latents)
        masks = torch.cat([each.mask for each in seen]).to(latents)
        return latents, noises, masks, [CAPTIONS[each.kind][0].format(self.token) for each in seen]

    def _draw(self) -> tuple[Tensor, Tensor, list[str]]:
        """A batch from the bank: latents (b, c, h, w), masks (b, 1, h, w), captions."""
        latents = cast(Tensor, self._latents)
        which = torch.randint(0, len(latents), (self.options.batch,), generator=self.generator)
        whole = torch.rand(len(which), generator=self.generator) < self.options.unmasked_share
        mask = torch.where(whole[:, None, None, None].to(latents.device), 1.0, self._masks[which.to(latents.device)])
        captions = []
        for i in which.tolist():
            templates = CAPTIONS[self._kinds[i]]
            captions.append(templates[int(torch.randint(0, len(templates), (), generator=self.generator))].format(self.token))
        return latents[which.to(latents.device)], mask, captions

    def _encode(self, captions: Sequence[str]) -> Tensor:
        """Prompt embeds (b, length, width), with the token's rows as they are now."""
        return self._embeds(self.rows, self._ids(captions))

    def _ids(self, captions: Sequence[str]) -> Tensor:
        """(b, length): the words of captions, each read once."""
        tokens = [IdTokens(self.token, self.noun, self.rows.detach())]
        for caption in captions:
            if caption not in self._words:
                self._words[caption] = token_ids(expand(caption, tokens), self.networks)
        return torch.cat([self._words[caption] for caption in captions])

    def _embeds(self, rows: Tensor, ids: Tensor) -> Tensor:
        with self._in_place(rows):
            embeds: Tensor = self.networks.text_encoder(ids)[0]
        return embeds.to(self.networks.dtype)

    @contextmanager
    def _in_place(self, rows: Tensor) -> Iterator[None]:
        """While open, the vocabulary has these rows for the token."""

        def look_up(_: Any, inputs: tuple[Tensor, ...], embedded: Tensor) -> Tensor:
            for i, row in zip(self.ids, rows, strict=True):
                embedded = torch.where((inputs[0] == i)[..., None], row.to(embedded), embedded)
            return embedded

        handle = self.networks.text_encoder.get_input_embeddings().register_forward_hook(look_up)
        try:
            yield
        finally:
            handle.remove()

    def _target(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        kind = self.noise.config["prediction_type"]
        if kind == "epsilon":
            return noise
        if kind == "v_prediction":
            return cast(Tensor, self.noise.get_velocity(latents, noise, t))
        if kind == "sample":
            return latents
        raise MethodError(f'This model predicts "{kind}", which training does not know.')
