"""Extended textual inversion with a masked loss (paper section 4.2): only the K rows of the ID tokens learn."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import diffusers
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from vcd_studio.method.augmentation import CAPTIONS, Kind, TrainingPhoto, augment
from vcd_studio.method.conditioning import Conditioning, token_ids
from vcd_studio.method.denoise import FrameByFrame, denoise
from vcd_studio.method.id_tokens import IdTokens, expand, install
from vcd_studio.method.pictures import decode_latents, encode_frames, to_frames, to_tensor
from vcd_studio.method.protocols import MethodError, Networks
from vcd_studio.method.schedules import schedule


@dataclass(frozen=True)
class TrainingOptions:
    """Defaults are ours. ``bank``: augmented views encoded before the first step; ``init_noise``: share of the noun's own size."""

    tokens: int = 4
    steps: int = 200
    learning_rate: float = 1e-3
    batch: int = 4
    unmasked_share: float = 0.0
    keep_norm: bool = False
    init_noise: float = 0.01
    weight_decay: float = 1e-2
    bank: int = 64
    seed: int = 0


@dataclass(frozen=True)
class StepReport:
    step: int
    loss: float
    token_norm: float


def masked_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Σ mask·(ε̂−ε)² / (Σ mask · channels) per sample, then the mean. (b, c, h, w), (b, c, h, w), (b, 1, h, w) soft."""
    error = mask * (predicted.float() - target.float()) ** 2
    return (error.sum((1, 2, 3)) / (mask.sum((1, 2, 3)).clamp_min(1e-6) * predicted.shape[1])).mean()


class IdTraining:
    """One training. ``step()`` until ``options.steps``; ``state_dict()`` at any step resumes to the very same tokens.

    The vocabulary is frozen: while training, the ID rows are put in its place where the text encoder looks them up.
    """

    def __init__(
        self, networks: Networks, photos: Sequence[TrainingPhoto], noun: str, token: str, options: TrainingOptions | None = None
    ) -> None:
        if not photos:
            raise MethodError("There is no photo to learn from: add at least one, or let one of them back in.")
        self.networks, self.photos, self.noun, self.token = networks, list(photos), noun, token
        self.options = options or TrainingOptions()
        self.generator = torch.Generator("cpu").manual_seed(self.options.seed)
        for network in (networks.text_encoder, networks.unet, networks.vae):
            network.requires_grad_(False).eval()
        rows = self._first_rows()
        self.ids = install(IdTokens(token, noun, rows), networks.tokenizer, networks.text_encoder)
        self.rows = torch.nn.Parameter(rows.to(networks.device))
        self.optimizer = torch.optim.AdamW([self.rows], self.options.learning_rate, weight_decay=self.options.weight_decay)
        schedulers: Any = diffusers.DDPMScheduler
        self.noise = schedulers.from_config(networks.scheduler.config, clip_sample=False)
        self.steps_done = 0
        self._latents: Tensor | None = None
        self._masks = torch.empty(0)
        self._kinds: list[Kind] = []

    @property
    def finished(self) -> bool:
        return self.steps_done >= self.options.steps

    def prepare(self, on_view: Callable[[int, int], None] | None = None) -> None:
        """Make the bank: augmented views, encoded once. Nothing to do when it is there already."""
        if self._latents is not None:
            return
        latents, masks = [], []
        self._kinds = []
        for i in range(self.options.bank):
            seen = augment(self.photos[i % len(self.photos)], self.networks.size, self.generator)
            picture = to_tensor(np.asarray(seen.picture)[None])
            latents.append(encode_frames(picture, self.networks, self.generator)[:, :, 0])
            soft = torch.from_numpy(np.array(seen.mask, np.float32))[None, None] / 255
            masks.append(avg_pool2d(soft, self.networks.vae_scale))
            self._kinds.append(seen.kind)
            if on_view:
                on_view(i + 1, self.options.bank)
        self._latents, self._masks = torch.cat(latents).clone(), torch.cat(masks).to(self.networks.device)

    def step(self) -> StepReport:
        """Learn from one batch."""
        self.prepare()
        latents, mask, captions = self._draw()
        noise = torch.randn(latents.shape, generator=self.generator).to(latents)
        t = torch.randint(0, self.noise.config["num_train_timesteps"], (len(latents),), generator=self.generator).to(latents.device)
        predicted = self.networks.unet(self.noise.add_noise(latents, noise, t), t, encoder_hidden_states=self._encode(captions)).sample
        loss = masked_loss(predicted, self._target(latents, noise, t), mask)
        (self.rows.grad,) = torch.autograd.grad(loss, self.rows)
        self.optimizer.step()
        if self.options.keep_norm:
            self._keep_norm()
        self.steps_done += 1
        return StepReport(self.steps_done, float(loss.detach()), float(self.rows.detach().norm(dim=-1).mean()))

    def tokens(self, **metadata: str) -> IdTokens:
        """The ID tokens as they are now, installed, with what is worth knowing about them."""
        known = {"steps": str(self.steps_done), "seed": str(self.options.seed), "learning_rate": str(self.options.learning_rate)}
        tokens = IdTokens(self.token, self.noun, self.rows.detach().float().cpu().clone(), {**known, **metadata})
        install(tokens, self.networks.tokenizer, self.networks.text_encoder)
        return tokens

    def preview(self, prompt: str | None = None, *, steps: int = 12, guidance: float = 7.5, seed: int = 0) -> NDArray[np.uint8]:
        """A picture (height, width, 3) of what has been learnt so far. Leaves the training's own chance alone."""
        networks = self.networks
        with torch.inference_mode():
            positive, negative = self._encode([prompt or f"a photo of a {self.token}"]), self._encode([""])
        side = networks.size // networks.vae_scale
        plan = schedule("ddim", networks.scheduler.config, steps, networks.device)
        shape = (1, networks.latent_channels, 1, side, side)
        noise = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed)).to(networks.device, networks.dtype)
        clean = denoise(FrameByFrame(networks.unet), plan.start(noise), Conditioning(positive, negative), plan, guidance)
        picture: NDArray[np.uint8] = to_frames(decode_latents(clean, networks))[0]
        return picture

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed training needs: rows, optimiser, chance, step and the bank."""
        self.prepare()
        return {
            "rows": self.rows.detach().cpu().clone(),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "generator": self.generator.get_state(),
            "step": self.steps_done,
            "latents": cast(Tensor, self._latents).cpu(),
            "masks": self._masks.cpu(),
            "kinds": list(self._kinds),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a ``state_dict`` of a training with the same options."""
        if state["rows"].shape != self.rows.shape:
            raise MethodError(f"The checkpoint holds {len(state['rows'])} tokens, but this training wants {len(self.rows)}.")
        with torch.no_grad():
            self.rows.copy_(state["rows"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.steps_done = state["step"]
        self._latents = state["latents"].to(self.networks.device)
        self._masks = state["masks"].to(self.networks.device)
        self._kinds = list(state["kinds"])

    def _first_rows(self) -> Tensor:
        """(K, width): the noun's embedding, each row with a little noise of its own."""
        ids = self.networks.tokenizer(self.noun, add_special_tokens=False).input_ids
        table = self.networks.text_encoder.get_input_embeddings().weight.detach()
        noun = table[torch.as_tensor(ids, device=table.device)].float().cpu().mean(0)
        noise = torch.randn((self.options.tokens, len(noun)), generator=self.generator)
        rows: Tensor = noun + self.options.init_noise * noun.std() * noise
        return rows

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
        """Prompt embeds (b, length, width), with the ID rows as they are now."""
        tokens = [IdTokens(self.token, self.noun, self.rows.detach())]
        ids = torch.cat([token_ids(expand(caption, tokens), self.networks) for caption in captions])
        with self._rows_in_place():
            embeds: Tensor = self.networks.text_encoder(ids)[0]
        return embeds.to(self.networks.dtype)

    @contextmanager
    def _rows_in_place(self) -> Iterator[None]:
        def look_up(_: Any, inputs: tuple[Tensor, ...], embedded: Tensor) -> Tensor:
            for i, row in zip(self.ids, self.rows, strict=True):
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
        raise MethodError(f'This model predicts "{kind}", which ID training does not know.')

    def _keep_norm(self) -> None:
        """Hold every row at the vocabulary's mean length."""
        table = self.networks.text_encoder.get_input_embeddings().weight
        others = torch.ones(len(table), dtype=torch.bool, device=table.device)
        others[self.ids] = False
        with torch.no_grad():
            self.rows.mul_(table[others].float().norm(dim=-1).mean() / self.rows.norm(dim=-1, keepdim=True).clamp_min(1e-8))
