"""What the finished parts are worth on held-out identities: PSNR, box and mask IoU, face recall, upscaler gain, what the judges see."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from PIL import Image

from vcd_studio.evaluation.following import HIDDEN_IN_CLOSE_UPS
from vcd_studio.method.protocols import Box
from vcd_studio.models.box_segmenter import BoxSegmenter
from vcd_studio.models.centre_detector import CentreDetector, iou
from vcd_studio.models.oracle import Oracle
from vcd_studio.models.rrdbnet import RRDBNet
from vcd_studio.pocket.questions import QUESTIONS, answers, questions_of
from vcd_studio.pocket.train import clip, dino
from vcd_studio.pocket.train.data import to_tensor
from vcd_studio.pocket.world import Framing, Identity, Picture, render, render_clip, sample_held_out_identity, sample_shot


def held_out_pictures(count: int, seed: int, size: int = 64, framing: Framing | None = None) -> list[tuple[Identity, Picture]]:
    rng = np.random.default_rng([seed, 31337])
    found: list[tuple[Identity, Picture]] = []
    while len(found) < count:
        identity = sample_held_out_identity(rng)
        picture = render(identity, sample_shot(rng, identity, framing), float(rng.uniform(0, 2)), size)
        if picture.box is not None:
            found.append((identity, picture))
    return found


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    """Mean PSNR in dB of pictures in −1..1."""
    return float((-10 * ((a - b) / 2).square().flatten(1).mean(1).log10()).mean())


@torch.inference_mode()
def measure(folder: Path, count: int = 200) -> dict[str, float]:
    """Every figure whose part is in ``folder``, over ``count`` held-out pictures."""
    figures: dict[str, float] = {}
    shown = held_out_pictures(count, 1)
    x = to_tensor([p.image for _, p in shown])
    if (folder / "vae").exists():
        vae = AutoencoderKL.from_pretrained(folder / "vae").eval().float()
        seen = [vae.decode(vae.encode(part).latent_dist.mean).sample.clamp(-1, 1) for part in x.split(32)]
        figures["VAE PSNR (dB)"] = psnr(torch.cat(seen), x)
    if (folder / "grounding").exists():
        figures |= _grounding(CentreDetector.from_pretrained(folder / "grounding").eval().float(), shown)
    if (folder / "segmenter").exists():
        network = BoxSegmenter.from_pretrained(folder / "segmenter").eval().float()
        masks = [network.segment(Image.fromarray(p.image), Box(*p.box)) > 0.5 for _, p in shown if p.box]
        figures["mask IoU from true boxes"] = float(np.mean([_mask_iou(m, p.mask > 127) for m, (_, p) in zip(masks, shown, strict=True)]))
    if (folder / "faces").exists():
        network = CentreDetector.from_pretrained(folder / "faces").eval().float()
        for name, framing in (("near", None), ("far", "far")):
            figures[f"face recall at IoU 0.5, {name}"] = _face_recall(network, held_out_pictures(count, 2, framing=framing))  # type: ignore[arg-type]
    if (folder / "upscaler").exists():
        network = RRDBNet.from_pretrained(folder / "upscaler").eval().float()
        large = to_tensor([p.image for _, p in held_out_pictures(max(8, count // 4), 3, 128)])
        small = F.avg_pool2d(large, 2)
        bicubic = F.interpolate(small, scale_factor=2, mode="bicubic").clamp(-1, 1)
        figures["upscaler gain over bicubic (dB)"] = psnr(network.upscale(small), large) - psnr(bicubic, large)
    if (folder / "oracle").exists():
        figures |= _oracle(Oracle.from_pretrained(folder / "oracle").eval().float(), count)
    if (folder / "clip").exists():
        figures |= clip.figures(folder / "clip")
    if (folder / "dino").exists():
        figures |= dino.figures(folder / "dino")
    return figures


def _oracle(network: Oracle, count: int) -> dict[str, float]:
    """Right answers about what can be seen: who, over all framings but far; clothes below and actions not in close ups."""
    right: dict[str, list[float]] = {}
    rng = np.random.default_rng([4, 31337])
    for _ in range(count):
        identity = sample_held_out_identity(rng)
        shot = sample_shot(rng, identity, "close up" if rng.random() < 0.3 else "medium")
        frames = np.stack([p.image for p in render_clip(identity, shot)])
        seen, truth = network.answers(frames[:1]), dict(zip(QUESTIONS, answers(identity, shot), strict=True))
        asked = [*questions_of(identity), "scene"]
        if shot.framing == "close up":
            asked = [question for question in asked if question not in HIDDEN_IN_CLOSE_UPS]
        for question in asked:
            right.setdefault(question, []).append(seen[question] == QUESTIONS[question][truth[question]])
        if shot.framing == "medium":
            right.setdefault("action of a clip", []).append(network.answers(frames)["action"] == shot.action)
    all_of_them = [value for question, values in right.items() if question != "action of a clip" for value in values]
    each = {f"oracle, {question} right": float(np.mean(values)) for question, values in right.items()}
    return {"oracle, all answers right": float(np.mean(all_of_them)), **each}


def _grounding(network: CentreDetector, shown: list[tuple[Identity, Picture]]) -> dict[str, float]:
    overlaps, right = [], []
    for identity, picture in shown:
        boxes = network.detect(picture.image, 0.3)
        assert picture.box is not None
        overlaps.append(iou(boxes[0], Box(*picture.box)) if boxes else 0.0)
        right.append(bool(boxes) and boxes[0].label == identity.kind)
    return {"grounding box IoU": float(np.mean(overlaps)), "grounding noun right": float(np.mean(right))}


def _mask_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else math.nan


def _face_recall(network: CentreDetector, shown: list[tuple[Identity, Picture]]) -> float:
    faces = [(p, Box(*p.face)) for _, p in shown if p.face is not None]
    return float(np.mean([any(iou(box, face) >= 0.5 for box in network.detect(p.image, 0.3)) for p, face in faces]))
