"""Pocket's DINO (Caron et al. 2021, arXiv 2104.14294): a ViT that learns without labels by agreeing with its own slower self."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import ViTConfig, ViTModel

from vcd_studio.evaluation.encoders import ImageEncoder
from vcd_studio.pocket.train.clip import SIZE, write_preprocessing
from vcd_studio.pocket.train.data import pictures, to_tensor
from vcd_studio.pocket.train.loop import Recipe, train
from vcd_studio.pocket.train.oracle import spoil
from vcd_studio.pocket.world import KINDS, Identity, Picture, Shot, render, sample_held_out_identity, sample_shot, sample_training_identity

WIDTH = 160
PROTOTYPES = 512
GLOBAL, LOCAL = 2, 4
"""Crops of each picture; the teacher sees the global ones alone."""
GLOBAL_SIZE, LOCAL_SIZE = 48, 24
"""In pixels. Smaller than the pictures that it will see: half the cost, and a subject in a crop is then about as large as in a picture."""
STUDENT_TEMPERATURE, TEACHER_TEMPERATURE = 0.1, 0.04
MOMENTUM = 0.99
"""Of the teacher. The paper's 0.996 is for some 10⁵ steps and batches of a thousand; here a few thousand steps must do."""
CENTRE_MOMENTUM = 0.9


def architecture() -> ViTModel:
    """1.3 M parameters on 8-pixel patches."""
    return ViTModel(
        ViTConfig(
            image_size=SIZE, patch_size=8, hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=4, num_attention_heads=4
        ),
        add_pooling_layer=False,
    )


class Projected(nn.Module):
    """A ViT under DINO's head: CLS token → MLP → unit length → cosine with each prototype."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = architecture()
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 256), nn.GELU(), nn.Linear(256, 64))
        self.prototypes = nn.Parameter(torch.randn(PROTOTYPES, 64) / 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, side, side) in −1..1 → (n, prototypes) in −1..1, fp32."""
        seen = self.mlp(self.vit(pixel_values=x, interpolate_pos_encoding=True).last_hidden_state[:, 0])
        with torch.autocast(x.device.type, enabled=False):  # the temperatures blow bf16's rounding up to a tenth
            cosines: torch.Tensor = F.normalize(seen.float(), dim=-1) @ F.normalize(self.prototypes, dim=-1).T
            return cosines


class SelfDistillation(nn.Module):
    """Student, teacher and the centre of the teacher's answers.

    The training loop saves a module's trainable parameters and nothing else. A resumed run must find teacher and centre as they were, so
    both are parameters that no gradient ever reaches: they are moved by hand, and the optimiser passes over what has no gradient.
    """

    def __init__(self) -> None:
        super().__init__()
        self.student = Projected()
        self.teacher = copy.deepcopy(self.student)
        self.centre = nn.Parameter(torch.zeros(PROTOTYPES))

    def forward(self, crops: list[torch.Tensor]) -> torch.Tensor:
        """Cross-entropy of the student's answer to every crop with the teacher's to each other global one (the first ``GLOBAL``)."""
        n = len(crops[0])
        with torch.no_grad():
            self._follow()
            taught = self.teacher(torch.cat(crops[:GLOBAL]))
            targets = ((taught - self.centre) / TEACHER_TEMPERATURE).softmax(-1).split(n)
            self.centre.lerp_(taught.mean(0), 1 - CENTRE_MOMENTUM)
        answers = [*self.student(torch.cat(crops[:GLOBAL])).split(n), *self.student(torch.cat(crops[GLOBAL:])).split(n)]
        told = [(answer / STUDENT_TEMPERATURE).log_softmax(-1) for answer in answers]
        losses = [-(target * other).sum(-1).mean() for i, target in enumerate(targets) for j, other in enumerate(told) if i != j]
        return torch.stack(losses).mean()

    def _follow(self) -> None:
        """The teacher takes a step towards the student as the last optimiser step left it."""
        for mine, students in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            mine.lerp_(students, 1 - MOMENTUM)


def crops_of(x: torch.Tensor, rng: np.random.Generator) -> Iterator[torch.Tensor]:
    """``GLOBAL`` crops with 40 to 100 % of each picture (n, 3, h, w), then ``LOCAL`` ones with 10 to 40 %."""
    for index in range(GLOBAL + LOCAL):
        size, least, most = (GLOBAL_SIZE, 0.4, 1.0) if index < GLOBAL else (LOCAL_SIZE, 0.1, 0.4)
        yield coloured(cropped(x, rng, size, least, most), rng)


def cropped(x: torch.Tensor, rng: np.random.Generator, size: int, least: float, most: float) -> torch.Tensor:
    """A random square of ``least`` to ``most`` of each picture's area, mirrored half the time: (n, 3, size, size)."""
    side = np.sqrt(rng.uniform(least, most, len(x)))
    left, top = rng.uniform(-1, 1, (2, len(x))) * (1 - side)
    mirror = np.where(rng.random(len(x)) < 0.5, -1.0, 1.0)
    theta = np.zeros((len(x), 2, 3), np.float32)
    theta[:, 0, 0], theta[:, 0, 2], theta[:, 1, 1], theta[:, 1, 2] = side * mirror, left, side, top
    grid = F.affine_grid(torch.from_numpy(theta).to(x.device), [len(x), 3, size, size], align_corners=False)
    crops: torch.Tensor = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    return crops


def coloured(x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """A little lighter or darker, stronger or paler. No hue shifts and no greys: in this world colour is half of who one is."""
    drawn = np.stack([rng.uniform(0.8, 1.2, len(x)), rng.uniform(-0.15, 0.15, len(x))]).astype(np.float32)
    gain, lift = torch.from_numpy(drawn).to(x.device)[..., None, None, None]
    return torch.clamp(x * gain + lift, -1, 1)


def train_dino(folder: Path, steps: int, batch: int, device: torch.device, half: bool = False) -> ViTModel:
    """Self-distillation on renders. Ends in ``folder/dino``, preprocessing included: the student's average."""
    model = SelfDistillation().to(device)

    def loss_at(rng: np.random.Generator) -> torch.Tensor:
        x = spoil(to_tensor([p.image for p in pictures(rng, batch, SIZE)]), rng).to(device)
        loss: torch.Tensor = model(list(crops_of(x, rng)))
        return loss

    train("dino", model, loss_at, Recipe(steps, 5e-4, warm_up=100, ema_decay=0.998, weight_decay=0.04), folder, half=half)
    model.student.vit.save_pretrained(folder / "dino")
    write_preprocessing(folder / "dino", "ViT")
    return model.student.vit


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
