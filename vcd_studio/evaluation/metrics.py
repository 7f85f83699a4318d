"""The paper's metrics (section 5): identity, text and temporal consistency; and motion, for a still picture is consistent too."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, interpolate, pad

from vcd_studio.evaluation.encoders import Embeddings, ImageEncoder, ImageTextEncoder, Picture
from vcd_studio.method.id_tokens import ADJECTIVE
from vcd_studio.method.protocols import Frames, MethodError
from vcd_studio.method.tiled import seam_score

FLOW_SIDE = 128
"""Optical flow is looked for at most this large: finer, it costs more and finds the same."""
FLOW_PAIRS = 16
"""Pairs of frames whose flow is looked for at a time."""


@dataclass(frozen=True)
class Encoders:
    """``clip`` for CLIP-I, CLIP-T and its temporal consistency, ``dino`` for DINO's two."""

    clip: ImageTextEncoder
    dino: ImageEncoder

    @classmethod
    def load(cls, clip: str | Path, dino: str | Path, device: torch.device | str = "cpu", batch: int = 32) -> Encoders:
        """Folders or hub names: "openai/clip-vit-large-patch14" and "facebook/dino-vits16", or the pack's own. MethodError."""
        return cls(ImageTextEncoder.load(clip, device, batch), ImageEncoder.load(dino, device, batch))


@dataclass(frozen=True)
class Seams:
    """Where a tiled clip could have seams: ``method.tiled.tile_borders``, in pixels. ``upscaled``: the same clip before its tiles."""

    rows: Sequence[int]
    columns: Sequence[int]
    cell: int
    upscaled: Frames | None = None


@dataclass(frozen=True)
class ClipMetrics:
    """One clip's figures. The first five are cosines, -1..1."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    clip_i: float
    """Every frame against every reference photo."""
    dino: float
    clip_t: float
    """Every frame against the prompt, with the noun in the ID token's place."""
    clip_temporal: float
    """Every frame against the next."""
    dino_temporal: float
    motion: float
    """Mean change of a pixel's channel from frame to frame, 0..1."""
    flow: float
    """Mean length of the optical flow from frame to frame, in widths of the picture."""
    seam: float | None = None
    """As ``method.tiled.TiledReport.seam_score``; None where the clip has no tiles."""


def measure_clip(
    frames: Frames,
    references: Sequence[Picture],
    prompt: str,
    encoders: Encoders,
    *,
    nouns: Mapping[str, str] | None = None,
    seams: Seams | None = None,
) -> ClipMetrics:
    """Every figure of one clip. ``prompt`` as the user wrote it, ``nouns`` its ID tokens' ({"<rex>": "dog"}).

    MethodError for a clip of fewer than two frames, no references, or an ID token without a noun.
    """
    _pairs(len(frames))
    text = encoders.clip.texts([plain_prompt(prompt, nouns or {})])
    clip, dino = encoders.clip.images(frames), encoders.dino.images(frames)
    return ClipMetrics(
        clip_i=mean_cosine(clip, encoders.clip.images(references)),
        dino=mean_cosine(dino, encoders.dino.images(references)),
        clip_t=mean_cosine(clip, text),
        clip_temporal=temporal_consistency(clip),
        dino_temporal=temporal_consistency(dino),
        motion=motion(frames),
        flow=mean_flow(frames),
        seam=seam(frames, seams) if seams else None,
    )


def mean_cosine(frames: Embeddings, others: Embeddings) -> float:
    """Of every row (n, d) with every row (m, d): identity where the others are reference photos, text where they are the prompt."""
    if not len(frames) or not len(others):
        raise MethodError(f"There are {len(frames)} frames and {len(others)} references to compare; give at least one of each.")
    return _cosine(_unit(frames) @ _unit(others).T)


def temporal_consistency(frames: Embeddings) -> float:
    """Mean cosine of every row (n, d) with the next. 1 for a still picture: read it beside :func:`motion`."""
    _pairs(len(frames))
    rows = _unit(frames)
    return _cosine((rows[1:] * rows[:-1]).sum(-1))


def motion(frames: Frames) -> float:
    """Mean absolute change of a pixel's channel between consecutive frames, 0..1."""
    _pairs(len(frames))
    # Frame by frame: a long clip is not held twice, and as floats at that.
    changes = [np.abs(a.astype(np.int16) - b).mean() for a, b in zip(frames[1:], frames[:-1], strict=True)]
    return float(np.mean(changes)) / 255


def mean_flow(frames: Frames) -> float:
    """Mean length of the optical flow between consecutive frames, in widths of the picture; flicker alone hardly counts."""
    _pairs(len(frames))
    height, width = int(frames.shape[1]), int(frames.shape[2])
    shrink = min(1.0, FLOW_SIDE / max(height, width))
    size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    lengths = []
    for start in range(0, len(frames) - 1, FLOW_PAIRS):
        x = torch.from_numpy(np.array(frames[start : start + FLOW_PAIRS + 1])).permute(0, 3, 1, 2).float() / 255
        if size != (height, width):
            x = interpolate(x, size=size, mode="bilinear", antialias=True)
        lengths.append(optical_flow(x[:-1], x[1:]).norm(dim=1).mean((1, 2)))
    return float(torch.cat(lengths).mean()) / size[1]


@torch.inference_mode()
def optical_flow(first: Tensor, second: Tensor, rounds: int = 4, spread: float = 2.0) -> Tensor:
    """Where the pixels of ``first`` (n, 3, h, w), 0..1, are found in ``second``: (n, 2, h, w), right and down, in pixels.

    Lucas and Kanade's least squares in a Gaussian window at every pixel, coarse to fine (Bouguet 2001), over all colours. Where the
    window shows nothing to hold on to, the coarser level's answer stays.
    """
    pyramid = [(first, _lit_as(second, first))]
    while min(pyramid[-1][0].shape[2:]) >= 16:
        pyramid.append(tuple(_halved(x) for x in pyramid[-1]))  # type: ignore[arg-type]
    flow = torch.zeros(len(first), 2, *pyramid[-1][0].shape[2:])
    for a, b in reversed(pyramid):
        if flow.shape[2:] != a.shape[2:]:
            grown = interpolate(flow, size=a.shape[2:], mode="bilinear", align_corners=False)
            flow = grown * torch.tensor([a.shape[3] / flow.shape[3], a.shape[2] / flow.shape[2]])[:, None, None]
        for _ in range(rounds):
            flow = flow + _flow_step(a, _moved(b, flow), spread)
    return flow


def _lit_as(x: Tensor, other: Tensor) -> Tensor:
    """x with the other's mean and spread in every channel: brightness that flickers is no movement."""
    means, spreads = zip(*((y.mean((2, 3), keepdim=True), y.std((2, 3), correction=0, keepdim=True)) for y in (x, other)), strict=True)
    lit: Tensor = (x - means[0]) * (spreads[1] / spreads[0].clamp_min(1e-6)) + means[1]
    return lit


def _flow_step(a: Tensor, b: Tensor, spread: float) -> Tensor:
    """The small flow (n, 2, h, w) that best explains b from a, at most a pixel long."""
    across, down = ((_slope(a, axis) + _slope(b, axis)) / 2 for axis in (3, 2))
    change = b - a
    products = torch.stack([across * across, down * down, across * down, across * change, down * change], dim=1).sum(2)
    xx, yy, xy, xt, yt = _blurred(products, spread).unbind(1)
    held = 1e-4  # a slope of 1 % of the range: less is noise
    area = (xx + held) * (yy + held) - xy * xy
    step: Tensor = torch.stack([xy * yt - (yy + held) * xt, xy * xt - (xx + held) * yt], dim=1) / area[:, None]
    length: Tensor = step.norm(dim=1, keepdim=True)
    return step / length.clamp(min=1)


def _slope(x: Tensor, axis: int) -> Tensor:
    grown = pad(x, (1, 1, 1, 1), mode="replicate")
    inner: Tensor = grown[:, :, 1:-1] if axis == 3 else grown[:, :, :, 1:-1]
    length = x.shape[axis]
    return (inner.narrow(axis, 2, length) - inner.narrow(axis, 0, length)) / 2


def _blurred(x: Tensor, spread: float) -> Tensor:
    reach = min(math.ceil(2.5 * spread), *(side - 1 for side in x.shape[2:]))
    bell = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * spread**2))
    bell = (bell / bell.sum()).expand(x.shape[1], 1, 1, -1)
    x = conv2d(pad(x, (reach, reach, 0, 0), mode="reflect"), bell, groups=x.shape[1])
    blurred: Tensor = conv2d(pad(x, (0, 0, reach, reach), mode="reflect"), bell.transpose(2, 3), groups=x.shape[1])
    return blurred


def _halved(x: Tensor) -> Tensor:
    half: Tensor = interpolate(x, size=[(side + 1) // 2 for side in x.shape[2:]], mode="bilinear", antialias=True, align_corners=False)
    return half


def _moved(x: Tensor, flow: Tensor) -> Tensor:
    """x (n, 3, h, w) fetched from where the flow points."""
    still = affine_grid(torch.eye(2, 3).expand(len(x), 2, 3), list(x.shape), align_corners=False)
    scale = torch.tensor([2 / x.shape[3], 2 / x.shape[2]])
    moved: Tensor = grid_sample(x, still + flow.permute(0, 2, 3, 1) * scale, padding_mode="border", align_corners=False)
    return moved


def seam(frames: Frames, seams: Seams) -> float:
    """How much more brightness steps across the tiles' borders than beside them: 1 where no seam shows.

    Divided by the same figure of ``upscaled``, where given, so that a subject's own edge on a border is not called a seam.
    """
    score = seam_score(frames, seams.rows, seams.columns, seams.cell)
    return score / seam_score(seams.upscaled, seams.rows, seams.columns, seams.cell) if seams.upscaled is not None else score


def plain_prompt(prompt: str, nouns: Mapping[str, str]) -> str:
    """``a <rex> running`` and ``a <rex> dog running`` → ``a dog running``: what CLIP-T compares the frames with.

    ``nouns`` are the ID tokens' nouns. The K tokens that a prompt is expanded to go the same way, and a noun that already stands
    beside its token (up to two adjectives on, as :func:`vcd_studio.method.id_tokens.expand` reads it) is not said twice.
    """
    for token, noun in nouns.items():
        one = re.escape(token) + r"(?:_\d+)?"
        others = "|".join(re.escape(other) for other in nouns.values() if other != noun)
        adjective = rf"(?!(?:{others})\b){ADJECTIVE}" if others else ADJECTIVE  # what somebody else is, is none
        following = re.compile(rf"\s+(?:{adjective}\s+){{0,2}}{re.escape(noun)}\b", re.IGNORECASE)
        preceding = re.compile(rf"\b{re.escape(noun)}\s*$", re.IGNORECASE)
        pieces = re.split(rf"{one}(?:\s+{one})*", prompt)
        prompt = pieces[0]
        for piece in pieces[1:]:
            if following.match(piece):
                prompt = preceding.sub("", prompt) + piece.lstrip()
            elif preceding.search(prompt):
                prompt = prompt.rstrip() + piece
            else:
                prompt += f"\0{noun}\0{piece}"  # marked, or the next token would take it for an adjective of its own
    prompt = prompt.replace("\0", "")
    if left := re.search(r"<[^<>\s]+>", prompt):
        raise MethodError(f"The prompt names {left.group()}, whose noun is not known; say what {left.group()} is.")
    return prompt


def _pairs(frames: int) -> None:
    if frames < 2:
        raise MethodError(f"A clip of {frames} frames has no frame and a next one to compare; give at least two.")


def _unit(rows: Embeddings) -> NDArray[np.float64]:
    exact = rows.astype(np.float64)
    return exact / np.linalg.norm(exact, axis=-1, keepdims=True).clip(1e-12)  # type: ignore[no-any-return]


def _cosine(cosines: NDArray[np.float64]) -> float:
    return float(cosines.mean().clip(-1, 1))
