"""What stands for DINO in the pocket world: a ViT whose class token tells individuals apart.

DINO's own recipe (Caron et al. 2021: self-distillation over crops of one picture) learns from the whole picture, and here most of a
picture is its scene: after 400 steps of 32, with the teacher's targets kept from collapsing by Sinkhorn-Knopp, an identity was nearer to
itself than to another one in 47 % of cases. Two shots of one individual put apart from those of others: in 91 %, after as many of 64.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import ViTConfig, ViTModel

from vcd_studio.evaluation.encoders import ImageEncoder
from vcd_studio.pocket.train.clip import SIZE, write_preprocessing
from vcd_studio.pocket.train.data import to_tensor
from vcd_studio.pocket.train.loop import Recipe, train
from vcd_studio.pocket.train.oracle import spoil
from vcd_studio.pocket.world import KINDS, Identity, Picture, Shot, render, sample_held_out_identity, sample_shot, sample_training_identity

WIDTH = 160
SIDE = 48
"""Pixels of a training crop. Smaller than the pictures that the network will see: half the cost, and a subject is then about as large."""
LEAST_CROP = 0.5
"""Share of a picture's area."""
TEMPERATURE = 0.2


def architecture() -> ViTModel:
    """1.3 M parameters on 8-pixel patches."""
    return ViTModel(
        ViTConfig(
            image_size=SIZE, patch_size=8, hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=4, num_attention_heads=4
        ),
        add_pooling_layer=False,
    )


class Projected(nn.Module):
    """A ViT under a small head that is thrown away after training: CLS token → MLP → unit length."""

    def __init__(self, vit: ViTModel) -> None:
        super().__init__()
        self.vit = vit
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 256), nn.GELU(), nn.Linear(256, 64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, side, side) in −1..1 → (n, 64), fp32."""
        seen = self.mlp(self.vit(pixel_values=x, interpolate_pos_encoding=True).last_hidden_state[:, 0])
        return F.normalize(seen.float(), dim=-1)


def contrast(first: torch.Tensor, again: torch.Tensor) -> torch.Tensor:
    """InfoNCE (van den Oord et al. 2018, arXiv 1807.03748): each of ``first`` (n, width) must find its own in ``again``; and back."""
    with torch.autocast(first.device.type, enabled=False):  # the temperature blows bf16's rounding up
        both = torch.cat([first, again])
        likeness = (both @ both.T / TEMPERATURE).masked_fill(torch.eye(len(both), dtype=torch.bool, device=both.device), -torch.inf)
        own = torch.arange(len(both), device=both.device).roll(len(first))
        loss: torch.Tensor = F.cross_entropy(likeness, own)
        return loss


def cropped(x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """A random square of each picture, mirrored half the time: (n, 3, ``SIDE``, ``SIDE``)."""
    side = np.sqrt(rng.uniform(LEAST_CROP, 1.0, len(x)))
    left, top = rng.uniform(-1, 1, (2, len(x))) * (1 - side)
    mirror = np.where(rng.random(len(x)) < 0.5, -1.0, 1.0)
    theta = np.zeros((len(x), 2, 3), np.float32)
    theta[:, 0, 0], theta[:, 0, 2], theta[:, 1, 1], theta[:, 1, 2] = side * mirror, left, side, top
    grid = F.affine_grid(torch.from_numpy(theta).to(x.device), [len(x), 3, SIDE, SIDE], align_corners=False)
    crops: torch.Tensor = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    return crops


def coloured(x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """A little lighter or darker, stronger or paler. No hue shifts and no greys: in this world colour is half of who one is."""
    drawn = np.stack([rng.uniform(0.8, 1.2, len(x)), rng.uniform(-0.15, 0.15, len(x))]).astype(np.float32)
    gain, lift = torch.from_numpy(drawn).to(x.device)[..., None, None, None]
    return torch.clamp(x * gain + lift, -1, 1)


def train_dino(
    folder: Path, steps: int, batch: int, device: torch.device, half: bool = False, begun: ViTModel | None = None
) -> ViTModel:
    """Two shots of one individual are to be alike, those of two are not. Ends in ``folder/dino``, preprocessing included."""
    model = Projected(begun or architecture()).to(device)

    def loss_at(rng: np.random.Generator) -> torch.Tensor:
        ones = [sample_training_identity(rng) for _ in range(batch)]
        shots = (to_tensor([seen(rng, one)[2].image for one in ones]) for _ in range(2))
        views = [coloured(cropped(spoil(x, rng).to(device), rng), rng) for x in shots]
        return contrast(*model(torch.cat(views)).split(batch))

    train("dino", model, loss_at, Recipe(steps, 5e-4 if begun else 1e-3, warm_up=100, ema_decay=0.99, weight_decay=0.04), folder, half=half)
    model.vit.save_pretrained(folder / "dino")
    write_preprocessing(folder / "dino", "ViT")
    return model.vit


def seen(rng: np.random.Generator, identity: Identity) -> tuple[Shot, float, Picture]:
    """A shot of ``identity`` and a time in it at which it is to be seen."""
    while True:
        shot, time = sample_shot(rng, identity), float(rng.uniform(0, 2))
        picture = render(identity, shot, time, SIZE)
        if picture.box is not None:
            return shot, time, picture


def figures(folder: Path, count: int = 256, neighbours: int = 10) -> dict[str, float]:
    """What ``folder`` (a DINO) knows of held-out identities.

    Their kind, by the vote of the nearest of 4 · ``count`` training pictures; and whether one identity is nearer to itself in another
    shot than to another of its kind, which is in a shot of its own, or in that very shot.
    """
    encoder = ImageEncoder.load(folder)
    rng = np.random.default_rng(707)
    known = [sample_training_identity(rng) for _ in range(4 * count)]
    kinds = np.array([KINDS.index(identity.kind) for identity in known])
    bank = encoder.images(seen(rng, identity)[2].image for identity in known)
    ones = [sample_held_out_identity(rng) for _ in range(count)]
    shown: list[Picture] = []
    for one in ones:
        other = sample_held_out_identity(rng, one.kind)
        shot, time, second = seen(rng, one)
        shown += [seen(rng, one)[2], second, seen(rng, other)[2], render(other, shot, time, SIZE)]
    first, again, apart, beside = (encoder.images(p.image for p in shown[start::4]) for start in range(4))
    nearest = np.argsort(-first @ bank.T, axis=1)[:, :neighbours]
    votes = [np.bincount(kinds[row], minlength=len(KINDS)).argmax() for row in nearest]
    same = (first * again).sum(1)
    return {
        "DINO: kind by nearest neighbours": float(np.mean([KINDS[v] == one.kind for v, one in zip(votes, ones, strict=True)])),
        "DINO: itself nearer than another elsewhere": float((same > (first * apart).sum(1)).mean()),
        "DINO: itself nearer than another in that shot": float((same > (first * beside).sum(1)).mean()),
    }
