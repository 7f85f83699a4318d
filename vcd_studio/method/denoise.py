"""The one denoising loop. Text to video, Face and Tiled differ only in the latents they hand it and the views they take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from vcd_studio.method.attention import remembered_prompts
from vcd_studio.method.conditioning import Conditioning
from vcd_studio.method.fused.running import embedding_of, equal_sides, quickly
from vcd_studio.method.one_dnn import by_one_dnn
from vcd_studio.method.savers import NOTHING_SAVED, Savers
from vcd_studio.method.schedules import Schedule
from vcd_studio.method.views import View, views_of

REMEMBERED = 512 << 20
"""Bytes of what a ControlNet's first layers make of its pictures that may be kept between steps: they see them at full size, and alike in
each."""
OnStep = Callable[[int, int, Tensor], None]
"""(steps done, steps in all, the clean latents as expected now). May preview; raises Cancelled to stop."""


class Cancelled(Exception):
    """Raised by an on_step callback: stop between two steps."""


@torch.inference_mode()
def denoise(
    unet: Any,
    latents: Tensor,
    conditioning: Conditioning,
    schedule: Schedule,
    guidance: float = 7.5,
    *,
    views: Sequence[View] | None = None,
    control: Control | None = None,
    savers: Savers = NOTHING_SAVED,
    on_step: OnStep | None = None,
) -> Tensor:
    """Latents (b, c, f, h, w) at the schedule's first timestep to clean ones.

    Each step: every view is cut, predicted and guided; the predictions are fused by weights that sum to one; the schedule steps.
    """
    schedule = schedule.fresh()
    clips, _, *shape = latents.shape
    views = [view.to(latents.device) for view in views or views_of(shape, context=shape[0])]
    words = conditioning.batches(clips)
    guidances = savers.guidances(guidance, schedule.places)
    controls = control.cuts(views, latents) if control else [None] * len(views)
    networks = (unet, control and control.network)
    with quickly(*networks), remembered_prompts(*networks), by_one_dnn(*networks), savers.within(unet, len(views)):
        for step, (t, scale) in enumerate(zip(schedule.timesteps, guidances, strict=True), 1):
            noisy = schedule.scale(latents, t)
            noise = torch.zeros_like(latents)
            for view, seen in zip(views, controls, strict=True):
                predicted = predict(unet, view.cut(noisy), _near(t, noisy), words(view.frames, scale > 1), seen)
                view.cut(noise).add_(guide(predicted, scale) * view.weight.to(noise))
            latents, clean = schedule.step(noise, t, latents)
            if on_step:
                on_step(step, len(schedule), clean)
    return latents


def _near(t: Tensor, latents: Tensor) -> Tensor:
    """A timestep beside the latents. A card is told its value: copied there, one would wait until all that came before is done."""
    return torch.full((), t.item(), dtype=t.dtype, device=latents.device) if latents.is_cuda else t


def predict(unet: Any, noisy: Tensor, t: Tensor, text: Tensor, control: Control | None = None) -> Tensor:
    """The network's prediction; with guidance ``text`` has twice the frames, and both sides run as one batch."""
    sides = len(text) // (noisy.shape[0] * noisy.shape[2])
    noisy = noisy.repeat(sides, 1, 1, 1, 1)
    with equal_sides(sides):
        residuals = control.residuals(noisy, t, text) if control else {}
        predicted: Tensor = unet(noisy, t, encoder_hidden_states=text, **residuals).sample
    return predicted


def guide(predicted: Tensor, guidance: float) -> Tensor:
    """Classifier-free guidance: ε = ε∅ + g (ε_c − ε∅). At g ≤ 1 there is no negative side."""
    if guidance <= 1:
        return predicted
    negative, positive = predicted.chunk(2)
    return negative + guidance * (positive - negative)


@dataclass(frozen=True)
class Control:
    """A ControlNet and its condition, one picture (3, H, W) in 0..255 per frame, ``cell`` pixels to a latent cell.

    The pictures are bytes, and may lie in the machine's memory: then a view's part of them comes to the network when it is needed.
    ``remembers``: what its first layers make of them is kept for the next step, where ``quickly`` lets it in.
    """

    network: Any
    pictures: Tensor
    cell: int
    scale: float = 1.0
    remembers: bool = False
    _embedded: list[Tensor] = field(default_factory=list, init=False, compare=False, repr=False)
    """What they have made of this view's pictures, once they have."""

    def cuts(self, views: Sequence[View], latents: Tensor) -> list[Control]:
        """Of each view its own, which remember if all of them together may."""
        embedding = embedding_of(self.network)
        numbers = sum(view.cut(latents[:1, :1]).numel() for view in views) * (embedding.conv_out.out_channels if embedding else 0)
        few = 0 < numbers * latents.itemsize <= REMEMBERED
        return [replace(self.cut(view), remembers=few) for view in views]

    def cut(self, view: View) -> Control:
        rows, columns = (slice(part.start * self.cell, part.stop * self.cell) for part in (view.rows, view.columns))
        return Control(self.network, self.pictures[view.frames, :, rows, columns], self.cell, self.scale)

    def residuals(self, noisy: Tensor, t: Tensor, text: Tensor) -> dict[str, Any]:
        """What the ControlNet adds to the UNet's skip connections; it sees every frame as a picture of its own."""
        pictures, seen = noisy.transpose(1, 2).flatten(0, 1), self._seen(noisy)
        down, middle = self.network(
            pictures, t, encoder_hidden_states=text, controlnet_cond=seen, conditioning_scale=self.scale, return_dict=False
        )
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}

    def _seen(self, noisy: Tensor) -> Tensor:
        """The pictures, for each of the batch's clips; or what the first layers make of them."""
        clips = noisy.shape[0]
        if self._embedded:
            return self._embedded[0].repeat(clips, 1, 1, 1)
        condition = (self.pictures.to(noisy) / 255).repeat(clips, 1, 1, 1)
        if self.remembers:
            condition.keep = self._keep  # type: ignore[attr-defined]
        return condition

    def _keep(self, embedded: Tensor) -> None:
        """Of one clip; it is the same for all."""
        self._embedded.append(embedded[: len(self.pictures)])


@dataclass(frozen=True)
class FrameByFrame:
    """A picture UNet that predicts a clip without motion: every frame on its own."""

    unet: Any

    def __call__(self, noisy: Tensor, t: Tensor, encoder_hidden_states: Tensor) -> Any:
        clips, _, frames = noisy.shape[:3]
        out = self.unet(noisy.transpose(1, 2).flatten(0, 1), t, encoder_hidden_states=encoder_hidden_states)
        out.sample = out.sample.unflatten(0, (clips, frames)).transpose(1, 2)
        return out
