"""Face VCD (paper section 4.3): what is only a few latent cells wide is denoised once more, large."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from vcd_studio.method.conditioning import Conditioning
from vcd_studio.method.denoise import OnStep, denoise
from vcd_studio.method.noise_prior import noise_prior
from vcd_studio.method.pictures import decode_latents, encode_frames, near, to_bytes, to_tensor
from vcd_studio.method.protocols import Box, FaceDetector, Frames, MethodError, Networks
from vcd_studio.method.sampling import Sampling
from vcd_studio.method.tracks import Track, follow


@dataclass(frozen=True)
class FaceReport:
    """``detections``: faces seen, over all frames; ``tracks``: the faces that were denoised; ``message``: one sentence."""

    detections: int
    tracks: tuple[Track, ...]
    message: str


def detect(clip: Frames, faces: FaceDetector, noun: str) -> list[list[Box]]:
    """The faces of every frame."""
    return [list(faces.detect(frame, noun)) for frame in clip]


def face(
    networks: Networks,
    clip: Frames,
    noun: str,
    conditioning: Conditioning,
    sampling: Sampling,
    *,
    strength: float = 0.8,
    margin: float = 2.0,
    on_step: OnStep | None = None,
) -> tuple[Frames, FaceReport]:
    """The clip with every face denoised again from a crop that follows it. No face: the clip itself, and a report that says so.

    Raises MethodError when the pack has no face detector.
    """
    if networks.faces is None:
        raise MethodError("This pack has no face detector, so the face stage cannot run: leave the stage out or add a detector.")
    detections = detect(clip, networks.faces, noun)
    tracks = follow(detections)
    found = sum(map(len, detections))
    if not tracks:
        return clip, FaceReport(found, (), "No face was found: the clip passed unchanged.")
    schedule = sampling.schedule(networks.scheduler.config).tail(strength)
    crops = [FaceCrop.along(track, margin, clip.shape[1:3]) for track in tracks]
    frames = near(clip, networks)
    for part, crop in enumerate(crops):
        generator = sampling.generator("face", part)
        latents = encode_frames(crop.cut(frames, networks.size, networks.device), networks, generator)
        noise = noise_prior(latents.shape, sampling.gamma, generator, networks.device, networks.dtype)
        latents = denoise(
            networks.motion_unet,
            schedule.renoise(latents, noise),
            crop.conditioning(conditioning),
            schedule,
            sampling.guidance,
            views=sampling.views(latents.shape[2:], networks.motion_range),
            savers=sampling.savers,
            on_step=_counted(on_step, part, len(crops)),
        )
        others = [other for other in crops if other is not crop]
        frames = crop.paste(frames, decode_latents(latents, networks), others)
    made: Frames = frames.cpu().numpy()
    return made, FaceReport(found, tuple(tracks), f"{len(tracks)} face{'s' if len(tracks) > 1 else ''} denoised again.")


def _counted(on_step: OnStep | None, part: int, parts: int) -> OnStep | None:
    """One count of steps over all faces."""
    if on_step is None:
        return None
    call = on_step
    return lambda step, steps, clean: call(part * steps + step, parts * steps, clean)


@dataclass(frozen=True)
class FaceCrop:
    """Squares that follow one face: one row (left, top, side) per frame, in pixels, inside the picture, not on whole pixels."""

    track: Track
    squares: Tensor
    margin: float

    @classmethod
    def along(cls, track: Track, margin: float, size: tuple[int, ...]) -> FaceCrop:
        """Squares ``margin`` times the face, pushed inside a picture of (height, width)."""
        height, width = size[:2]
        x, y, face_size = torch.from_numpy(track.path).unbind(1)
        side = (margin * face_size).clamp(max=float(min(height, width)))
        left = torch.minimum((x - side / 2).clamp_min(0), width - side)
        top = torch.minimum((y - side / 2).clamp_min(0), height - side)
        return cls(track, torch.stack([left, top, side], 1), margin)

    def conditioning(self, whole: Conditioning) -> Conditioning:
        """The part of a clip's conditioning that belongs to the track's frames."""
        frames = slice(self.track.first, self.track.first + len(self.squares))
        return replace(whole, **{k: v[frames] for k, v in (("positive", whole.positive), ("negative", whole.negative)) if len(v) > 1})

    def cut(self, clip: Tensor, size: int, device: torch.device | str = "cpu") -> Iterator[Tensor]:
        """The face-centred clip: one picture (3, size, size) in -1..1 for each frame of the track, made on ``device``."""
        height, width = clip.shape[1:3]
        steps = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        for frame, (left, top, side) in zip(self.track.frames, self.squares.tolist(), strict=True):
            across, down = (left + steps * side) * 2 / width - 1, (top + steps * side) * 2 / height - 1
            yield _sample(to_tensor(clip[frame : frame + 1], device)[0], across, down).clamp(-1, 1)

    def paste(self, clip: Tensor, crop: Tensor, others: list[FaceCrop]) -> Tensor:
        """The clip (f, h, w, 3), bytes, with a crop put back, feathered and with its colours matched to what surrounds it; every pixel
        outside stays as it is. A card is not waited for."""
        clip, device = clip.clone(), crop.device
        height, width = clip.shape[1:3]
        shift = self._colour_shift(clip, crop)
        for i, (frame, (left, top, side)) in enumerate(zip(self.track.frames, self.squares.tolist(), strict=True)):
            rows, columns = slice(int(top), min(int(np.ceil(top + side)), height)), slice(int(left), min(int(np.ceil(left + side)), width))
            weight = self._weight(i, (height, width), rows, columns).to(device) * self._presence(i, len(clip))
            for other in others:
                weight = weight * self._share(i, other, frame, rows, columns).to(device)
            new = self._back(crop[i], (left, top, side), rows, columns) + shift[i][:, None, None]
            before = clip[frame, rows, columns].to(device)
            old = to_tensor(before[None], device)[0]
            mixed = to_bytes((old + weight * (new - old))[None])[0]
            clip[frame, rows, columns] = torch.where(weight[..., None] > 0, mixed, before).to(clip.device)
        return clip

    def _back(self, crop: Tensor, square: tuple[float, float, float], rows: slice, columns: slice) -> Tensor:
        """One crop's picture (3, rows, columns) at the clip's own resolution: averaged down first, then placed between pixels."""
        left, top, side = square
        whole = max(1, round(side))
        if whole < crop.shape[-1]:
            crop = interpolate(crop[None].float(), size=(whole, whole), mode="bicubic", antialias=True)[0]
        x = torch.arange(columns.start, columns.stop, dtype=torch.float64) + 0.5
        y = torch.arange(rows.start, rows.stop, dtype=torch.float64) + 0.5
        return _sample(crop, (x - left) * 2 / side - 1, (y - top) * 2 / side - 1)

    def _weight(self, i: int, size: tuple[int, int], rows: slice, columns: slice) -> Tensor:
        """1 on the face, smoothly 0 at the square's border, but not where that is the picture's own."""
        left, top, side = self.squares[i].tolist()
        feather = side * max(min(0.25, (1 - 1 / self.margin) / 2), 0.05)
        axes = []
        for low, part, length in ((top, rows, size[0]), (left, columns, size[1])):
            place = torch.arange(part.start, part.stop, dtype=torch.float32) + 0.5
            ramp = torch.ones_like(place)
            if low > 0.5:
                ramp = torch.minimum(ramp, (place - low - 0.5) / feather)
            if low + side < length - 0.5:
                ramp = torch.minimum(ramp, (low + side - 0.5 - place) / feather)
            axes.append(_smoothstep(ramp))
        return axes[0][:, None] * axes[1]

    def _presence(self, i: int, length: int) -> float:
        """1, but fading where a face comes or goes in the middle of a clip."""
        come = 1.0 if self.track.first == 0 else (i + 1) / 3
        go = 1.0 if self.track.frames.stop == length else (len(self.squares) - i) / 3
        return min(1.0, come, go)

    def _share(self, i: int, other: FaceCrop, frame: int, rows: slice, columns: slice) -> Tensor:
        """Which of two faces each pixel belongs to: 1 nearer to this face, 0 nearer to the other, soft in between."""
        if frame not in other.track.frames:
            return torch.ones(())
        y = torch.arange(rows.start, rows.stop, dtype=torch.float32)[:, None] + 0.5
        x = torch.arange(columns.start, columns.stop, dtype=torch.float32) + 0.5
        mine, theirs = (
            torch.hypot(x - path[0], y - path[1]) / path[2] for path in (self.track.path[i], other.track.path[frame - other.track.first])
        )
        return _smoothstep((theirs - mine + 0.5).clamp(0, 1))

    def _colour_shift(self, clip: Tensor, crop: Tensor) -> Tensor:
        """(frames, 3): how much brighter the clip is than the crop around the face, steady over time."""
        size = crop.shape[-1]
        place = (torch.arange(size) + 0.5) / size - 0.5
        ring = (torch.maximum(place.abs()[:, None], place.abs()) > 0.25).float()
        share = (ring / ring.sum()).to(crop.device)
        pairs = zip(self.cut(clip, size, crop.device), crop, strict=True)
        difference = torch.stack([((before - after.float()) * share).sum((1, 2)) for before, after in pairs])
        around = torch.cat([difference[:1]] * 2 + [difference] + [difference[-1:]] * 2)
        return around.unfold(0, 5, 1).mean(-1)


def _sample(picture: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """A picture (3, h, w) at the crossings of columns ``across`` and rows ``down``, both in -1..1 from edge to edge."""
    y, x = torch.meshgrid(*(line.to(picture.device, torch.float32) for line in (down, across)), indexing="ij")
    grid = torch.stack([x, y], -1)[None]
    return grid_sample(picture[None].float(), grid, mode="bicubic", padding_mode="border", align_corners=False)[0]


def _smoothstep(x: Tensor) -> Tensor:
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)
