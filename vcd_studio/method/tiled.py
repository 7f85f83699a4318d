"""Tiled VCD (paper section 4.3): twice the size, and detail denoised back in, tile by tile but fused at every step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad

from vcd_studio.method.conditioning import Conditioning
from vcd_studio.method.denoise import Control, OnStep, denoise
from vcd_studio.method.fused.running import quickly
from vcd_studio.method.noise_prior import noise_prior
from vcd_studio.method.pictures import blank_frames, decode_near, encode_frames, to_bytes, to_tensor
from vcd_studio.method.protocols import Frames, Networks
from vcd_studio.method.sampling import Sampling
from vcd_studio.method.views import LARGER, View, overlapping, tile_size


@dataclass(frozen=True)
class TiledReport:
    """``seam_score``: gradient across tile borders over gradient beside them, 1 where no seam shows (and where there is one tile).

    It is divided by the same figure of the upscaled clip, so that a subject's own edge on a tile's border is not called a seam.
    """

    seam_score: float
    tiles: int
    size: tuple[int, int]
    """(height, width)"""
    controlled: bool
    """Whether a ControlNet held on to the upscaled frames."""


def tiled(
    networks: Networks,
    clip: Frames,
    conditioning: Conditioning,
    sampling: Sampling,
    *,
    strength: float = 0.2,
    overlap: float = 0.2,
    larger: float = LARGER,
    scale: int = 2,
    control_scale: float = 1.0,
    on_step: OnStep | None = None,
) -> tuple[Frames, TiledReport]:
    """The clip ``scale`` times as large, in tiles of the model's size, or larger by a share of up to ``larger`` where fewer will then do;
    ``overlap`` is the least share of a tile that neighbours have in common."""
    height, width = clip.shape[1] * scale, clip.shape[2] * scale
    cell = networks.vae_scale
    large = blank_frames(len(clip), height + -height % cell, width + -width % cell, networks)

    def pictures() -> Iterator[Tensor]:
        """Each for the VAE as the upscaler made it; only as bytes are all of them kept."""
        for i, picture in enumerate(upscaled(clip, networks, scale)):
            picture = pad(picture, (0, -width % cell, 0, -height % cell), mode="replicate")
            large[i] = to_bytes(picture[None])[0]
            yield picture

    generator = sampling.generator("tiled")
    latents = encode_frames(pictures(), networks, generator)
    noise = noise_prior(latents.shape, sampling.gamma, generator, networks.device, networks.dtype)
    schedule = sampling.schedule(networks.scheduler.config).tail(strength)
    tile = tile_of(networks, height, width, overlap, larger)
    views = sampling.views(latents.shape[2:], networks.motion_range, tile=tile, tile_overlap=overlapping(tile, overlap))
    controlled = networks.controlnet and control_scale
    control = Control(networks.controlnet, large.permute(0, 3, 1, 2), cell, control_scale) if controlled else None
    latents = denoise(
        networks.motion_unet,
        schedule.renoise(latents, noise),
        conditioning,
        schedule,
        sampling.guidance,
        views=views,
        control=control,
        savers=sampling.savers,
        on_step=on_step,
    )
    rows, columns = tile_borders(views, cell)
    seams = seam_score(large[:, :height, :width], rows, columns, cell)  # where it is not near, while the card is still at work
    made = decode_near(latents, networks)[:, :height, :width]
    tiles = len({(view.rows.start, view.columns.start) for view in views})
    score = seam_score(made, rows, columns, cell) / seams
    frames: Frames = made.cpu().numpy()
    return frames, TiledReport(score, tiles, (height, width), control is not None)


def tile_of(networks: Networks, height: int, width: int, overlap: float, larger: float = LARGER) -> int:
    """The side, in latent cells, of the tiles that a clip of (height, width) pixels is cut into."""
    cells = (-(-height // networks.vae_scale), -(-width // networks.vae_scale))
    return tile_size(cells, networks.size // networks.vae_scale, overlap, halved(networks.motion_unet), larger)


def halved(unet: Any) -> int:
    """A network that halves a picture n times sees it whole where its sides are multiples of 2ⁿ."""
    return int(2 ** getattr(unet, "num_upsamplers", 0))


def upscale(clip: Frames, networks: Networks, scale: int = 2) -> Tensor:
    """(f, 3, scale · h, scale · w), -1..1, by the pack's upscaler (then resized where its own factor differs) or bicubic without one."""
    return torch.stack(list(upscaled(clip, networks, scale)))


@torch.inference_mode()
def upscaled(clip: Frames, networks: Networks, scale: int = 2) -> Iterator[Tensor]:
    """``upscale``, a frame after the other; on a card as many grow at a time as the VAE sees of theirs."""
    size = (clip.shape[1] * scale, clip.shape[2] * scale)
    together = 1 if networks.device.type == "cpu" else max(1, networks.pixels_at_once // (clip.shape[1] * clip.shape[2]))
    for begin in range(0, len(clip), together):
        frames = to_tensor(clip[begin : begin + together], networks.device)
        if networks.upscaler:
            with quickly(networks.upscaler):
                frames = networks.upscaler.upscale(frames).float()
        if frames.shape[2:] != size:
            frames = interpolate(frames, size=size, mode="bicubic", antialias=True)
        yield from frames.clamp(-1, 1)


def tile_borders(views: Sequence[View], cell: int) -> tuple[list[int], list[int]]:
    """The pixel rows and columns at which some tile begins or ends inside the picture."""
    borders = []
    for parts in ([view.rows for view in views], [view.columns for view in views]):
        edges = {edge for part in parts for edge in (part.start, part.stop)}
        borders.append([edge * cell for edge in sorted(edges - {0, max(edges)})])
    return borders[0], borders[1]


def seam_score(frames: Frames | Tensor, rows: Sequence[int], columns: Sequence[int], cell: int = 1) -> float:
    """Mean step in brightness across the given lines over that across their neighbours, one to three ``cell`` away on either side.

    Neighbours a whole number of cells away stand at the same place of the VAE's own pattern, and see the same content.
    """
    across, beside = 0.0, 0.0
    for steps, lines in zip(_mean_steps(frames), (rows, columns), strict=True):
        for line in lines:
            near = [line + k * cell for k in (-3, -2, -1, 1, 2, 3)]
            inside = [steps[i - 1] for i in near if 1 <= i <= len(steps) and i not in lines]
            if inside:
                across += float(steps[line - 1])
                beside += float(np.mean(inside))
    return (across + 1e-3) / (beside + 1e-3)


def _mean_steps(frames: Frames | Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean steps in brightness from each row to the next, and from each column, in whole numbers (a tenth of the time) where the frames
    lie; a frame at a time, as brightness takes more bytes."""
    seen = frames if isinstance(frames, Tensor) else torch.from_numpy(np.ascontiguousarray(frames))
    count, height, width = seen.shape[:3]
    down, right = (torch.zeros(length - 1, dtype=torch.int64, device=seen.device) for length in (height, width))
    for frame in seen:
        grey = frame.sum(-1, dtype=torch.int16)
        down += (grey[1:] - grey[:-1]).abs().sum(1, dtype=torch.int32)
        right += (grey[:, 1:] - grey[:, :-1]).abs().sum(0, dtype=torch.int32)
    return down.cpu().numpy() / (3 * count * width), right.cpu().numpy() / (3 * count * height)
