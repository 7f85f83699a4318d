"""The denoising networks: text encoder + UNet together on pictures, then motion on clips, then ControlNet Tile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, MotionAdapter, UNet2DConditionModel, UNetMotionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from vcd_studio.method.attention import attend_plainly
from vcd_studio.pocket.train import architectures
from vcd_studio.pocket.train.banks import Bank, TwinBank, clip_bank, encode, picture_bank, tokenise, twin_bank
from vcd_studio.pocket.train.data import sample, to_tensor
from vcd_studio.pocket.train.loop import Recipe, train
from vcd_studio.pocket.train.text import WORD_SIZE, Alternatives, resized, too_near
from vcd_studio.pocket.world import caption

SETTLED = 0.2
"""Signal-to-noise ratio from which a noisy latent shows where the head is, though not yet what is on it."""
DECIDED = (200, 800)
"""Timesteps in which a picture's poses and details come about (signal-to-noise ratio 2 to 0.015): what twins are told apart by."""
TWINS = 0.7
"""Share of the batches that are twins."""
TWINS_IN_CLIPS = 0.5
"""The same of clips, which are also to learn how everything moves."""
DECIDED_IN_CLIPS = (300, 1000)
"""The same of a clip: its frames show the same subject, and to who looks at all of them together the signal is as many times as strong.
Even the last timestep is none too noisy then: there a module that learns from clips alone trusts what it sees more than what it is told."""


class NoiseLoss:
    """ε-prediction loss, half of it where the words are seen (if known); one prompt in ten is emptied for classifier-free guidance.

    The words' share counts from ``SETTLED`` on alone. In stronger noise it would draw two heads: there a head's place is still a guess,
    a head weighs more than a tail, and so the best guess would be a head on either side.

    Weights are 1/√SNR (Yu et al. 2023, "debiased estimation"), at most 10: with Min-SNR-5 the noisy steps, where text decides what is
    drawn, gave a fiftieth of the loss of the clear ones.
    """

    def __init__(
        self, scheduler: DDIMScheduler, empty_ids: torch.Tensor, drop: float = 0.1, decided: tuple[int, int] = DECIDED
    ) -> None:
        self.scheduler, self.empty, self.drop, self.decided = scheduler, empty_ids, drop, decided
        alphas = scheduler.alphas_cumprod
        snr = alphas / (1 - alphas)
        self.weights = snr.rsqrt().clamp(max=10.0)
        self.settled = snr >= SETTLED

    def noised(self, rng: np.random.Generator, z: torch.Tensor, twins: bool = False) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(noisy latents, ε, timesteps); timesteps are stratified over the batch. ``twins``: the batch's halves get the very same,
        where their one difference is being ``decided``."""
        count = len(z) // 2 if twins else len(z)
        first, last = self.decided if twins else (0, 1000)
        place = (rng.permutation(count) + rng.random(count)) / count
        t = torch.from_numpy((first + place * (last - first)).astype(np.int64)).to(z.device)
        noise = torch.randn((count, *z.shape[1:]), generator=torch.Generator().manual_seed(int(rng.integers(2**31)))).to(z.device)
        if twins:
            t, noise = torch.cat([t, t]), torch.cat([noise, noise])
        noisy: torch.Tensor = self.scheduler.add_noise(z, noise, t)
        return noisy, noise, t

    def empty_some(self, rng: np.random.Generator, ids: torch.Tensor) -> torch.Tensor:
        dropped = torch.from_numpy(rng.random(len(ids)) < self.drop).to(ids.device)
        return torch.where(dropped[:, None], self.empty.to(ids), ids)

    def __call__(self, prediction: torch.Tensor, noise: torch.Tensor, t: torch.Tensor, places: torch.Tensor | None = None) -> torch.Tensor:
        """``prediction``, ``noise`` (n, channels, …, h, w); ``places`` (n, …, h, w), mean about 1."""
        squared = (prediction.float() - noise).square()
        if places is not None:
            share = 0.5 * self.settled.to(t.device)[t].view(-1, *[1] * (places.dim() - 1))
            squared = squared * (1 - share + share * places)[:, None]
        error = squared.flatten(1).mean(1)
        loss: torch.Tensor = (error * self.weights.to(error.device)[t]).mean()
        return loss


class TextAndUNet(nn.Module):
    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.text_encoder, self.unet = text_encoder, unet


def train_text_to_image(
    folder: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, text: CLIPTextModel,
    steps: int, batch: int, pictures: int, device: torch.device, half: bool, begun: UNet2DConditionModel | None = None,
) -> tuple[CLIPTextModel, UNet2DConditionModel]:  # fmt: skip
    """UNet from nothing and the text encoder that has learned to read; or both from where an earlier training left them (``begun``)."""
    unet = begun or architectures.unet()
    recipe = Recipe(steps, 6e-4, cool_down=0.5) if begun else Recipe(steps, 1e-3)
    bank = picture_bank(folder, vae, tokenizer, pictures, device)
    twins = twin_bank(folder, vae, tokenizer, pictures // 4, device)
    return _learn_pictures("text_to_image", TextAndUNet(text, unet), bank, twins, tokenizer, recipe, folder, batch, device, half)


def polish_text_to_image(
    folder: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, text: CLIPTextModel, unet: UNet2DConditionModel,
    steps: int, batch: int, pictures: int, device: torch.device, half: bool,
) -> tuple[CLIPTextModel, UNet2DConditionModel]:  # fmt: skip
    """The plain loss, at a rate that falls to nothing: the words' share teaches words, but it draws two heads.

    Where a head might be counts for more than where a tail might be, so that under the shared-out loss the best guess at a noisy place is
    a head, on either side.
    """
    recipe = Recipe(steps, 4e-4, warm_up=20, cool_down=0.9, ema_decay=0.99, save_every=50)
    bank = replace(picture_bank(folder, vae, tokenizer, pictures, device), places=None)
    return _learn_pictures("polish", TextAndUNet(text, unet), bank, None, tokenizer, recipe, folder, batch, device, half)


def _learn_pictures(
    name: str, model: TextAndUNet, bank: Bank, twins: TwinBank | None, tokenizer: CLIPTokenizer, recipe: Recipe,
    folder: Path, batch: int, device: torch.device, half: bool,
) -> tuple[CLIPTextModel, UNet2DConditionModel]:  # fmt: skip
    """Text encoder and UNet together, the words kept apart, most batches of ``twins``; both end in ``folder``."""
    alternatives = Alternatives(tokenizer)
    model.to(device)
    model.unet.to(memory_format=torch.channels_last)
    attend_plainly(model.unet)
    noise_loss = NoiseLoss(architectures.scheduler(), tokenise(tokenizer, [""])[0])

    def loss_at(rng: np.random.Generator) -> torch.Tensor:
        source = twins if twins is not None and rng.random() < TWINS else bank
        z, ids, places = source.draw(rng, batch, device)
        noisy, noise, t = noise_loss.noised(rng, z, twins=source is twins)
        ids = noise_loss.empty_some(rng, ids)
        changed, exchanged = alternatives.exchanged(rng, ids)
        hidden = model.text_encoder(ids).last_hidden_state
        others = model.text_encoder(changed[exchanged]).last_hidden_state
        drawn = noise_loss(model.unet(noisy.to(memory_format=torch.channels_last), t, hidden).sample, noise, t, places)
        return drawn + 2 * too_near(hidden[exchanged], others)

    train(name, model, loss_at, recipe, folder, half=half)
    resized(model.text_encoder, WORD_SIZE).save_pretrained(folder / "text_encoder")
    model.unet.save_pretrained(folder / "unet")
    return model.text_encoder, model.unet


def train_motion(
    folder: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, text: CLIPTextModel, unet: UNet2DConditionModel,
    steps: int, batch: int, clips: int, device: torch.device, half: bool, begun: MotionAdapter | None = None,
) -> MotionAdapter:  # fmt: skip
    """Spatial weights and text encoder frozen, as AnimateDiff trains its motion modules; i.i.d. noise (the prior is training-free).

    Half of the batches are clips of twins, or the modules would settle among themselves what the prompt is about.
    """
    bank = clip_bank(folder, vae, tokenizer, clips, architectures.FRAMES, device)
    twins = twin_bank(folder, vae, tokenizer, clips // 2, device, architectures.FRAMES)
    model = UNetMotionModel.from_unet2d(unet, begun or architectures.motion_adapter()).to(device)
    model.freeze_unet2d_params()
    attend_plainly(model)
    empty = tokenise(tokenizer, [""])[0]
    noise_loss = NoiseLoss(architectures.scheduler(), empty, decided=DECIDED_IN_CLIPS)

    def loss_at(rng: np.random.Generator) -> torch.Tensor:
        source = twins if rng.random() < TWINS_IN_CLIPS else bank
        z, ids, places = source.draw(rng, batch, device)
        noisy, noise, t = noise_loss.noised(rng, z, twins=source is twins)
        with torch.no_grad():
            hidden = text(noise_loss.empty_some(rng, ids)).last_hidden_state
        hidden = hidden.repeat_interleave(z.shape[2], dim=0)  # one per frame, as the motion UNet wants them
        return noise_loss(model(noisy, t, hidden).sample, noise, t, places)

    train("motion", model, loss_at, Recipe(steps, 5e-4 if begun else 1e-3, warm_up=50, ema_decay=0.995, save_every=50), folder, half=half)
    model.save_motion_modules(str(folder / "motion_adapter"))
    return MotionAdapter.from_pretrained(folder / "motion_adapter")


def tile_condition(x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """What ControlNet Tile sees, 0..1: the picture (−1..1) made soft, as an upscaler's output may be."""
    factor = int(rng.choice((1, 2, 4)))
    size = x.shape[-1]
    soft = F.interpolate(F.avg_pool2d(x, factor), size=(size, size), mode="bicubic") if factor > 1 else x
    return (soft + 0.03 * float(rng.random()) * torch.randn_like(soft)).clamp(-1, 1).add(1).div(2)


def train_controlnet(
    folder: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, text: CLIPTextModel, unet: UNet2DConditionModel,
    steps: int, batch: int, device: torch.device, half: bool, begun: ControlNetModel | None = None,
) -> ControlNetModel:  # fmt: skip
    """Half the batch are whole pictures, half are 64-pixel tiles cut from 128-pixel ones, since tiles are what Tiled VCD shows it."""
    model = (begun or architectures.controlnet(unet)).to(device, memory_format=torch.channels_last)
    unet.requires_grad_(False)
    for network in (model, unet):
        attend_plainly(network)
    noise_loss = NoiseLoss(architectures.scheduler(), tokenise(tokenizer, [""])[0], drop=0.2)

    def views(rng: np.random.Generator) -> tuple[torch.Tensor, list[str]]:
        images, texts = [], []
        for index in range(batch):
            identity, shot, picture = sample(rng, 64 if index % 2 else 128)
            left, top = (int(v) for v in rng.integers(0, picture.image.shape[0] - 63, size=2))
            images.append(picture.image[top : top + 64, left : left + 64])
            texts.append(caption(identity, shot, rng))
        return to_tensor(images).to(device), texts

    def loss_at(rng: np.random.Generator) -> torch.Tensor:
        x, texts = views(rng)
        z = encode(vae, x).float().to(device).clone()
        ids = noise_loss.empty_some(rng, tokenise(tokenizer, texts).to(device))
        noisy, noise, t = noise_loss.noised(rng, z)
        with torch.no_grad():
            hidden = text(ids).last_hidden_state
        down, middle = model(noisy, t, hidden, controlnet_cond=tile_condition(x, rng), return_dict=False)
        prediction = unet(noisy, t, hidden, down_block_additional_residuals=down, mid_block_additional_residual=middle).sample
        return noise_loss(prediction, noise, t)

    train("controlnet", model, loss_at, Recipe(steps, 5e-4, warm_up=50, ema_decay=0.995, save_every=50), folder, half=half)
    model.save_pretrained(folder / "controlnet")
    return model
