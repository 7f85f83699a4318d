"""How much there is to reckon in each work, counted on networks without numbers: what a floor is made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from vcd_studio.bench import tasks
from vcd_studio.bench.floors import counted
from vcd_studio.bench.random_pack import SIZE, SMALL_SIZE, random_networks
from vcd_studio.method.tiled import halved
from vcd_studio.method.views import overlapping, tile_size, views_of
from vcd_studio.models.packs import with_motion
from vcd_studio.project.settings import GenerationSettings


@dataclass(frozen=True)
class Operations:
    """Floating-point operations: of a guided ``step`` of the UNet with motion; of the ControlNet for each frame and side; of a step of
    Tiled in all its tiles, with both; of the VAE and the upscaler for each frame; and of one training step, forwards and back to the
    prompt."""

    step: int
    control: int
    tiled_step: int
    encode: int
    decode: int
    upscale: int
    training_step: int

    def of(self, work: str, steps: int) -> float | None:
        """Of a whole work; None for what is not reckoned up."""
        frames, again = tasks.FRAMES, int(steps * tasks.STRENGTH)
        crop = again * self.step + frames * (self.encode + self.decode)
        t2v = steps * self.step + frames * self.decode
        last = max(1, int(steps * 0.2))
        large = last * self.tiled_step + frames * (self.upscale + 4 * (self.encode + self.decode))
        known = {
            "denoising": steps * self.step, "text to video": t2v, "partial denoise": crop, "Face": crop, "Tiled": large,
            "whole clip": t2v + crop + large, "ID training": steps * self.training_step,
        }  # fmt: skip
        return known.get(work)


@cache
def count(small: bool = False) -> Operations:
    """Of the published networks, or their miniatures."""
    networks = random_networks(small, "meta")
    unet, size = networks["unet"], SMALL_SIZE if small else SIZE
    side, width = size // 8, unet.config["cross_attention_dim"]
    motion_unet = with_motion(unet, networks["motion_adapter"])
    for network in networks.values():
        network.requires_grad_(False)

    t = torch.zeros((), dtype=torch.int64, device="meta")
    batch, frames = tasks.BATCH, tasks.FRAMES

    def meta(*shape: int) -> Tensor:
        return torch.zeros(shape, device="meta")

    def step(side: int) -> int:
        return counted(lambda: motion_unet(meta(2, 4, frames, side, side), t, meta(2 * frames, 77, width)))

    def control(side: int) -> int:
        words, picture = meta(1, 77, width), meta(1, 3, 8 * side, 8 * side)
        return counted(lambda: networks["controlnet"](meta(1, 4, side, side), t, words, picture))

    def training_step() -> None:
        words = meta(batch, 77, width).requires_grad_()
        unet(meta(batch, 4, side, side), t, words).sample.sum().backward()

    overlap, large = GenerationSettings().tile_overlap, (2 * side, 2 * side)
    tile = tile_size(large, side, overlap, halved(motion_unet))
    tiles = len(views_of((frames, *large), context=frames, tile=tile, tile_overlap=overlapping(tile, overlap)))
    return Operations(
        step=step(side),
        control=control(side),
        tiled_step=tiles * (step(tile) + 2 * frames * control(tile)),
        encode=counted(lambda: networks["vae"].encode(meta(1, 3, size, size))),
        decode=counted(lambda: networks["vae"].decode(meta(1, 4, side, side))),
        upscale=counted(lambda: networks["upscaler"](meta(1, 3, size, size))),
        training_step=counted(training_step),
    )
