"""The oracle's training: renders of training identities, some of them soft and noisy, some through the VAE, with their whole truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from vcd_studio.models.oracle import Oracle
from vcd_studio.pocket.questions import MEASURES, QUESTIONS, answers, measures, measures_of
from vcd_studio.pocket.train.data import sample, to_tensor
from vcd_studio.pocket.train.loop import Recipe, train
from vcd_studio.pocket.world import Identity

SIZES = [len(known) for known in QUESTIONS.values()]


def visible(identity: Identity) -> list[float]:
    """1 for each measure that can be seen of ``identity``."""
    seen = measures_of(identity)
    return [float(name in seen) for name in MEASURES]


def spoil(x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Half of the pictures a little blurred and noisy, in tint and brightness slightly off: what comes out of a decoder is not a render."""
    soft = F.interpolate(
        F.interpolate(x, scale_factor=float(rng.uniform(0.4, 0.9)), mode="bilinear", antialias=True), size=x.shape[-2:], mode="bicubic"
    )
    noise = torch.from_numpy(rng.normal(size=x.shape).astype(np.float32)) * float(rng.uniform(0, 0.08))
    tint = torch.from_numpy(rng.normal(0, 0.03, size=(len(x), 3, 1, 1)).astype(np.float32))
    chosen = torch.from_numpy(rng.random(len(x)) < 0.5)[:, None, None, None]
    return torch.where(chosen, (soft + noise + tint).clamp(-1, 1), x)


def decoded(x: torch.Tensor, vae: AutoencoderKL, rng: np.random.Generator) -> torch.Tensor:
    """A third of the pictures as the VAE gives them back, from latents that are a little off, as a UNet's are."""
    chosen = torch.from_numpy(rng.random(len(x)) < 1 / 3)
    if not chosen.any():
        return x
    with torch.no_grad():
        z = vae.encode(x[chosen]).latent_dist.mean
        off = torch.from_numpy(rng.normal(size=z.shape).astype(np.float32)) * float(rng.uniform(0, 0.12)) / vae.config.scaling_factor
        x = x.clone()
        x[chosen] = vae.decode(z + off).sample.clamp(-1, 1)
    return x


def train_oracle(folder: Path, steps: int, batch: int, device: torch.device, begun: Oracle | None = None) -> Oracle:
    """What it will have to read has been through ``folder/vae``, which blurs what a collar or a pair of glasses hangs on."""
    model: Oracle = begun or Oracle(list(QUESTIONS.items()), MEASURES)
    model.to(device, memory_format=torch.channels_last)
    vae = AutoencoderKL.from_pretrained(folder / "vae").float().eval()

    def loss_at(rng: np.random.Generator) -> torch.Tensor:
        size = 64 if rng.random() < 0.7 else 128
        seen = [sample(rng, size) for _ in range(batch)]
        x = decoded(spoil(to_tensor([picture.image for _, _, picture in seen]), rng), vae, rng)
        x = x.to(device, memory_format=torch.channels_last)
        truth = torch.tensor([answers(identity, shot) for identity, shot, _ in seen], device=device)
        values = torch.tensor([measures(identity) for identity, _, _ in seen], device=device)
        weight = torch.tensor([visible(identity) for identity, _, _ in seen], device=device)
        logits, told = model(x)
        errors = [F.cross_entropy(part, truth[:, column]) for column, part in enumerate(logits.split(SIZES, -1))]
        loss: torch.Tensor = torch.stack(errors).sum() + 20 * (weight * (told - values).square()).sum() / weight.sum()
        return loss

    again = Recipe(steps, 1e-3, warm_up=100, ema_decay=0.998, cool_down=0.5)
    train("oracle", model, loss_at, again if begun else Recipe(steps, 2e-3, warm_up=100), folder)
    model.save_pretrained(folder / "oracle")
    return model
