"""The pocket VAE: L1 on pictures and on their edges, a breath of KL."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from vcd_studio.pocket.train import architectures
from vcd_studio.pocket.train.data import pictures, to_tensor
from vcd_studio.pocket.train.loop import Recipe, train


def edges(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., 1:] - x[..., :-1]


def train_vae(folder: Path, steps: int, batch: int, device: torch.device) -> AutoencoderKL:
    model = architectures.vae().to(device, memory_format=torch.channels_last)

    def loss_at(rng: np.random.Generator) -> torch.Tensor:
        x = to_tensor([p.image for p in pictures(rng, batch)]).to(device, memory_format=torch.channels_last)
        posterior = model.encode(x).latent_dist
        y = model.decode(posterior.sample()).sample
        loss = (y - x).abs().mean() + (y - x).square().mean()
        for a, b in zip(edges(y), edges(x), strict=True):
            loss = loss + 0.5 * (a - b).abs().mean()
        kl: torch.Tensor = posterior.kl().mean() / 1024
        total: torch.Tensor = loss + 1e-5 * kl
        return total

    train("vae", model, loss_at, Recipe(steps, 2e-3, warm_up=100, weight_decay=0.0), folder)
    # SD's convention: latents times this have unit variance.
    with torch.no_grad():
        x = to_tensor([p.image for p in pictures(np.random.default_rng(1), 256)]).to(device)
        deviation = torch.cat([model.encode(part).latent_dist.mean for part in x.split(32)]).std()
    model.register_to_config(scaling_factor=round(1.0 / float(deviation), 5))
    model.save_pretrained(folder / "vae")
    return model


def train_decoder(folder: Path, steps: int, batch: int, device: torch.device) -> AutoencoderKL:
    """``folder/vae`` with a sharper decoder. The encoder stays as it is, and with it every latent that other parts were trained on."""
    model = AutoencoderKL.from_pretrained(folder / "vae").float().to(device, memory_format=torch.channels_last)
    model.encoder.requires_grad_(False)
    model.quant_conv.requires_grad_(False)

    def loss_at(rng: np.random.Generator) -> torch.Tensor:
        x = to_tensor([p.image for p in pictures(rng, batch)]).to(device, memory_format=torch.channels_last)
        with torch.no_grad():
            z = model.encode(x).latent_dist.mean
        y = model.decode(z).sample
        loss: torch.Tensor = 10 * (y - x).square().mean() + 0.5 * (y - x).abs().mean()
        return loss

    train("decoder", model, loss_at, Recipe(steps, 1e-3, warm_up=50, weight_decay=0.0, cool_down=0.5), folder)
    model.save_pretrained(folder / "vae")
    return model
