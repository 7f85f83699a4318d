"""The few-step adapter: a difference of low rank with which a clip takes 4 steps without guidance where it took 25 with it.

Consistency distillation (Song et al. 2023; of latents, with guidance: Luo et al. 2023, LCM and LCM-LoRA): from wherever a denoising step of
the frozen networks leads, the same clean picture is to be foretold as from where it began.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, MotionAdapter, UNet2DConditionModel, UNetMotionModel
from torch import Tensor, nn
from torch.func import functional_call
from transformers import CLIPTextModel, CLIPTokenizer

from vcd_studio.method.attention import attend_plainly
from vcd_studio.method.finetuning.weights import NetworkWeights
from vcd_studio.method.protocols import LowRank
from vcd_studio.pocket.train import architectures
from vcd_studio.pocket.train.banks import clip_bank, picture_bank, tokenise
from vcd_studio.pocket.train.loop import Recipe, train

ADAPTER = "few-steps.safetensors"
GUIDANCE = 5.0
"""What the adapter is to draw without: the study's."""
STRIDE = 40
"""Timesteps of one step of the networks that are learnt from: 25 on the whole way."""
RANK = 8
PICTURES = 0.5
"""Share of the batches that are pictures: as long a batch shows many more of them, with more subjects in it, than of clips."""
HUBER = 0.001
SIGMA_DATA, TIMESTEP_SCALE = 0.5, 10.0
"""Of the boundary condition, as LCMScheduler has them."""


class Difference(nn.Module):
    """Beside every weight of products and convolutions: W + up · down, nothing at first."""

    def __init__(self, network: nn.Module, rank: int = RANK) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(rank)
        self.bases = {name: base for name, base in network.named_parameters() if base.dim() >= 2}
        flat = [base.flatten(1) for base in self.bases.values()]
        self.downs = nn.ParameterList(torch.randn((rank, base.shape[1]), generator=generator) / base.shape[1] ** 0.5 for base in flat)
        self.ups = nn.ParameterList(torch.zeros(base.shape[0], rank) for base in flat)

    def weights(self) -> dict[str, Tensor]:
        """The weights with their differences."""
        halves = zip(self.bases.items(), self.downs, self.ups, strict=True)
        return {name: base + (up @ down).view_as(base) for (name, base), down, up in halves}

    def changes(self) -> dict[str, Tensor | LowRank]:
        """As a LoRA has them: of a convolution in four dimensions, its kernel in the lower half."""
        changes: dict[str, Tensor | LowRank] = {}
        for (name, base), down, up in zip(self.bases.items(), self.downs, self.ups, strict=True):
            ones = [1] * (base.dim() - 2)
            changes[name] = LowRank(down.detach().unflatten(1, base.shape[1:]).half(), up.detach().reshape(*up.shape, *ones).half())
        return changes


class Consistency:
    """The loss of a batch of latents, and what is foretold of them."""

    def __init__(self, scheduler: DDIMScheduler, device: torch.device) -> None:
        self.alphas = scheduler.alphas_cumprod.to(device)

    def noise_at(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """(√ᾱ, √(1−ᾱ)) of each timestep; 1 and 0 below the first."""
        alpha = torch.where(t >= 0, self.alphas[t.clamp(min=0)], 1.0).view(-1, *[1] * (like.dim() - 1))
        return alpha.sqrt(), (1 - alpha).sqrt()

    def clean(self, z: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        signal, sigma = self.noise_at(t, z)
        return (z - sigma * noise) / signal

    def foretold(self, network: Any, weights: dict[str, Tensor], z: Tensor, t: Tensor, hidden: Tensor) -> Tensor:
        """f(z, t) = c_skip z + c_out x̂₀."""
        scaled = (t.float() * TIMESTEP_SCALE).view(-1, *[1] * (z.dim() - 1))
        skip, out = SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2), scaled / (scaled**2 + SIGMA_DATA**2).sqrt()
        noise = functional_call(network, weights, (z, t, hidden)).sample.float()
        return skip * z + out * self.clean(z, noise, t)

    def loss(self, rng: np.random.Generator, network: Any, weights: dict[str, Tensor], x: Tensor, hidden: Tensor, empty: Tensor) -> Tensor:
        """x (b, channels, …, h, w): clean latents; ``hidden`` and ``empty``: words and none, a row for each latent or frame."""
        place = (rng.permutation(len(x)) + rng.random(len(x))) / len(x)
        t = torch.from_numpy((STRIDE - 1 + place * (1000 - STRIDE)).astype(np.int64)).to(x.device)
        before = t - STRIDE
        signal, sigma = self.noise_at(t, x)
        z = signal * x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(int(rng.integers(2**31)))).to(x.device)
        with torch.no_grad():
            without, told = network(torch.cat([z, z]), torch.cat([t, t]), torch.cat([empty, hidden])).sample.float().chunk(2)
            noise = without + GUIDANCE * (told - without)
            signal, sigma = self.noise_at(before, x)
            nearer = signal * self.clean(z, noise, t) + sigma * noise  # DDIM, η 0
            fixed = {name: weight.detach() for name, weight in weights.items()}
            wanted = self.foretold(network, fixed, nearer, before.clamp(min=0), hidden)
        apart = self.foretold(network, weights, z, t, hidden) - wanted
        loss: Tensor = ((apart**2 + HUBER**2).sqrt() - HUBER).mean()
        return loss


def train_few_steps(
    folder: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, text: CLIPTextModel, unet: UNet2DConditionModel, motion: MotionAdapter,
    steps: int, batch: int, pictures: int, clips: int, device: torch.device, half: bool,
) -> NetworkWeights:  # fmt: skip
    """On pictures and clips in turn; the weights of the picture UNet are also those of the one with motion."""
    shown = picture_bank(folder, vae, tokenizer, pictures, device)
    moving = clip_bank(folder, vae, tokenizer, clips, architectures.FRAMES, device)
    still: Any = unet.to(device)
    network: Any = UNetMotionModel.from_unet2d(unet, motion).to(device)
    for each in (still, network):
        each.requires_grad_(False).eval()
        attend_plainly(each)
    difference = Difference(network).to(device)
    consistency = Consistency(architectures.scheduler(), device)
    with torch.no_grad():
        nothing = text(tokenise(tokenizer, [""]).to(device)).last_hidden_state

    def loss_at(rng: np.random.Generator) -> Tensor:
        as_pictures = rng.random() < PICTURES
        x, ids, _ = shown.draw(rng, batch * architectures.FRAMES, device) if as_pictures else moving.draw(rng, batch, device)
        with torch.no_grad():
            hidden = text(ids).last_hidden_state
        weights = difference.weights()
        if as_pictures:
            known = dict(still.named_parameters())
            return consistency.loss(rng, still, {n: w for n, w in weights.items() if n in known}, x, hidden, nothing.expand_as(hidden))
        hidden = hidden.repeat_interleave(x.shape[2], dim=0)
        return consistency.loss(rng, network, weights, x, hidden, nothing.expand_as(hidden))

    train("few_steps", difference, loss_at, Recipe(steps, 1e-3, warm_up=50, ema_decay=0.99, save_every=50), folder, half=half)
    adapter = NetworkWeights(difference.changes(), {"base_model": "pocket", "steps": "4", "scheduler": "lcm", "guidance": "1"})
    adapter.save(folder / ADAPTER)
    return adapter
