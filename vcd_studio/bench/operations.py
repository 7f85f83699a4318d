"""How much there is to reckon in each work, counted on networks without numbers: what a floor is made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from vcd_studio.bench import tasks
from vcd_studio.bench.floors import counted
from vcd_studio.bench.random_pack import SIZE, SMALL_SIZE, random_networks
from vcd_studio.method.sampling import Sampling
from vcd_studio.models.packs import with_motion


@dataclass(frozen=True)
class Operations:
    """Floating-point operations: of a guided ``step`` of the UNet with motion, of the ControlNet beside it for each frame and side; of
    the VAE and the upscaler for each frame of ``size``; and of one training step, forwards and back to the prompt."""

    step: int
    control: int
    encode: int
    decode: int
    upscale: int
    training_step: int
    size: int

    def of(self, work: str, steps: int) -> float | None:
        """Of a whole work; None for what is not reckoned up."""
        frames, again = tasks.FRAMES, int(steps * tasks.STRENGTH)
        crop = again * self.step + frames * (self.encode + self.decode)
        t2v = steps * self.step + frames * self.decode
        last = max(1, int(steps * 0.2))
        large = last * self._tiles() * (self.step + 2 * frames * self.control) + frames * (self.upscale + 4 * (self.encode + self.decode))
        known = {
            "denoising": steps * self.step, "text to video": t2v, "partial denoise": crop, "Face": crop, "Tiled": large,
            "whole clip": t2v + crop + large, "ID training": steps * self.training_step,
        }  # fmt: skip
        return known.get(work)

    def _tiles(self) -> int:
        side = self.size // 8
        views = Sampling().views((tasks.FRAMES, 2 * side, 2 * side), tasks.FRAMES, tile=side, tile_overlap=side // 2)
        return len(views)


@cache
def count(small: bool = False) -> Operations:
    """Of the published networks, or their miniatures."""
    networks = random_networks(small, "meta")
    unet, size = networks["unet"], SMALL_SIZE if small else SIZE
    side, width = size // 8, unet.config["cross_attention_dim"]
    motion_unet = with_motion(unet, networks["motion_adapter"])
    for network in networks.values():
        network.requires_grad_(False)

    def meta(*shape: int) -> Tensor:
        return torch.zeros(shape, device="meta")

    t = torch.zeros((), dtype=torch.int64, device="meta")
    batch = tasks.BATCH

    def training_step() -> None:
        words = meta(batch, 77, width).requires_grad_()
        unet(meta(batch, 4, side, side), t, words).sample.sum().backward()

    return Operations(
        step=counted(lambda: motion_unet(meta(2, 4, tasks.FRAMES, side, side), t, meta(2 * tasks.FRAMES, 77, width))),
        control=counted(lambda: networks["controlnet"](meta(1, 4, side, side), t, meta(1, 77, width), meta(1, 3, size, size))),
        encode=counted(lambda: networks["vae"].encode(meta(1, 3, size, size))),
        decode=counted(lambda: networks["vae"].decode(meta(1, 4, side, side))),
        upscale=counted(lambda: networks["upscaler"](meta(1, 3, size, size))),
        training_step=counted(training_step),
        size=size,
    )
