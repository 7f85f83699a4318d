"""The small seeing networks, trained on true boxes and masks: grounding, faces, segmenter; and the ×2 upscaler."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from vcd_studio.models.box_segmenter import BoxSegmenter, crop_of, paint_box
from vcd_studio.models.centre_detector import STRIDE, CentreDetector
from vcd_studio.models.rrdbnet import RRDBNet
from vcd_studio.pocket.drawing import draw_scene
from vcd_studio.pocket.train.data import sample, to_tensor
from vcd_studio.pocket.train.loop import Recipe, train
from vcd_studio.pocket.world import KINDS

Truth = tuple[tuple[float, float, float, float], int]  # box, class


@dataclass(frozen=True)
class Seen:
    """A training picture for detectors: none, one or two subjects."""

    image: NDArray[np.uint8]
    subjects: list[Truth]
    faces: list[Truth]


def scene_with_subjects(rng: np.random.Generator) -> Seen:
    """One in ten empty, one in five with a second subject in front; sometimes as soft as a generated picture."""
    identity, shot, picture = sample(rng)
    if rng.random() < 0.1:
        return Seen(_soften(rng, draw_scene(shot, 64)), [], [])
    image, truths = picture.image, [(picture, KINDS.index(identity.kind))]
    if shot.framing != "close up" and rng.random() < 0.22:
        other, _, front = sample(rng, framing="far" if shot.framing == "far" else "medium")
        cover = front.mask[..., None] / 255.0
        hidden = (front.mask[picture.mask > 127] > 127).mean() if (picture.mask > 127).any() else 1.0
        image = (front.image * cover + image * (1 - cover)).round().astype(np.uint8)
        if hidden > 0.4:
            truths = []
        truths.append((front, KINDS.index(other.kind)))
    subjects = [(p.box, kind) for p, kind in truths if p.box is not None]
    faces = [(p.face, kind) for p, kind in truths if p.face is not None]
    return Seen(_soften(rng, image), subjects, faces)


def _soften(rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if rng.random() < 0.5:
        return image
    soft = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.3)))), np.float64)
    return (soft + rng.normal(0, float(rng.uniform(0, 8)), soft.shape)).clip(0, 255).astype(np.uint8)


def targets(truths: list[Truth], classes: int, cells: int, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Heat (classes, cells, cells) with a small Gaussian per centre, sides (4, cells, cells) and where sides count."""
    heat, sides, counts = torch.zeros(classes, cells, cells), torch.zeros(4, cells, cells), torch.zeros(cells, cells)
    place = (torch.arange(cells) + 0.5) * STRIDE
    for (left, top, right, bottom), label in truths:
        x, y = (left + right) / 2, (top + bottom) / 2
        spread = max(2.0, 0.12 * max(right - left, bottom - top))
        bump = torch.exp(-((place[None, :] - x) ** 2 + (place[:, None] - y) ** 2) / (2 * spread**2))
        row, column = min(cells - 1, int(y / STRIDE)), min(cells - 1, int(x / STRIDE))
        bump[row, column] = 1.0
        heat[label] = torch.maximum(heat[label], bump)
        near = bump > 0.6
        distances = torch.stack(
            [
                (place[None, :] - left).expand(cells, cells), (place[:, None] - top).expand(cells, cells),
                (right - place[None, :]).expand(cells, cells), (bottom - place[:, None]).expand(cells, cells),
            ]
        )  # fmt: skip
        sides[:, near] = distances[:, near].clamp(min=0) / size
        counts[near] = 1.0
    return heat, sides, counts


def train_detector(
    folder: Path, name: Literal["grounding", "faces"], steps: int, batch: int, device: torch.device, begun: CentreDetector | None = None
) -> CentreDetector:
    model: CentreDetector = begun or CentreDetector(classes=list(KINDS))
    model.to(device, memory_format=torch.channels_last)

    def loss_at(rng: np.random.Generator) -> torch.Tensor:
        seen = [scene_with_subjects(rng) for _ in range(batch)]
        truth = [targets(s.subjects if name == "grounding" else s.faces, len(KINDS), 64 // STRIDE, 64) for s in seen]
        heat, sides, counts = (torch.stack(part).to(device) for part in zip(*truth, strict=True))
        logits, found = model(to_tensor([s.image for s in seen]).to(device, memory_format=torch.channels_last))
        p = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
        positive = heat == 1.0
        focal = torch.where(positive, -((1 - p) ** 2) * p.log(), -((1 - heat) ** 4) * p**2 * (1 - p).log()).sum()
        box = ((found - sides).abs() * counts[:, None]).sum() / counts.sum().clamp(min=1)
        overlap = _side_iou(found, sides)
        loss: torch.Tensor = focal / positive.sum().clamp(min=1) + 2 * box + ((1 - overlap) * counts).sum() / counts.sum().clamp(min=1)
        return loss

    train(name, model, loss_at, Recipe(steps, 1e-3 if begun else 2e-3, warm_up=100, ema_decay=0.998), folder)
    model.save_pretrained(folder / name)
    return model


def _side_iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """IoU of boxes given as sides (n, 4, h, w) around the same points."""
    shared = torch.minimum(a, b)
    inside = (shared[:, 0] + shared[:, 2]) * (shared[:, 1] + shared[:, 3])
    areas = (a[:, 0] + a[:, 2]) * (a[:, 1] + a[:, 3]) + (b[:, 0] + b[:, 2]) * (b[:, 1] + b[:, 3])
    return inside / (areas - inside + 1e-6)


def train_segmenter(folder: Path, steps: int, batch: int, device: torch.device, begun: BoxSegmenter | None = None) -> BoxSegmenter:
    model: BoxSegmenter = begun or BoxSegmenter()
    model.to(device, memory_format=torch.channels_last)

    def example(rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        picture = sample(rng, 96)[2]
        if picture.box is None:
            return example(rng)
        shake = rng.normal(0, 0.05, 4) * max(picture.box[2] - picture.box[0], picture.box[3] - picture.box[1])
        shaken = [float(v + s) for v, s in zip(picture.box, shake, strict=True)]
        box = (shaken[0], shaken[1], shaken[2], shaken[3])
        left, top, side = crop_of(box)
        extent = (left, top, left + side, top + side)
        crop, cover = (
            Image.fromarray(a).transform((64, 64), Image.Transform.EXTENT, extent, Image.Resampling.BILINEAR)
            for a in (_soften(rng, picture.image), picture.mask)
        )
        x = np.asarray(crop, np.float32).transpose(2, 0, 1) / 127.5 - 1
        mask: NDArray[np.float32] = np.asarray(cover, np.float32)[None] / np.float32(255)
        return np.concatenate([x, paint_box(box, left, top, side, 64)[None]]), mask

    def loss_at(rng: np.random.Generator) -> torch.Tensor:
        pairs = [example(rng) for _ in range(batch)]
        x, mask = (torch.from_numpy(np.stack(part)).to(device) for part in zip(*pairs, strict=True))
        logits = model(x.to(memory_format=torch.channels_last))
        p = logits.sigmoid()
        dice = 1 - (2 * (p * mask).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1)
        loss: torch.Tensor = F.binary_cross_entropy_with_logits(logits, mask) + dice.mean()
        return loss

    train("segmenter", model, loss_at, Recipe(steps, 1e-3 if begun else 2e-3, warm_up=100, ema_decay=0.998), folder)
    model.save_pretrained(folder / "segmenter")
    return model


def train_upscaler(folder: Path, steps: int, batch: int, device: torch.device, begun: RRDBNet | None = None) -> RRDBNet:
    """L1 and L2 between the network's ×2 of a (sometimes softened) 64-pixel picture and the same moment drawn at 128; on 40-pixel crops."""
    model: RRDBNet = begun or RRDBNet(scale=2, num_feat=32, num_block=3, num_grow_ch=16)
    model.to(device, memory_format=torch.channels_last)

    def loss_at(rng: np.random.Generator) -> torch.Tensor:
        large, small = [], []
        for _ in range(batch):
            picture = sample(rng, 128)[2].image
            half = np.asarray(Image.fromarray(picture).resize((64, 64), Image.Resampling.BOX))
            half = _soften(rng, half)
            left, top = (int(v) for v in rng.integers(0, 25, size=2))
            small.append(half[top : top + 40, left : left + 40])
            large.append(picture[2 * top : 2 * top + 80, 2 * left : 2 * left + 80])
        x, y = to_tensor(small).to(device), to_tensor(large).to(device)
        grown: torch.Tensor = model((x.to(memory_format=torch.channels_last) + 1) / 2)
        missed = grown - (y + 1) / 2
        return missed.abs().mean() + 10 * missed.square().mean()

    train("upscaler", model, loss_at, Recipe(steps, 1e-3, warm_up=100, ema_decay=0.998), folder)
    model.save_pretrained(folder / "upscaler")
    return model
