"""A quick look at latents: one linear map from latent cells to colours, no VAE."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from vcd_studio.method.pictures import encode_frames, to_frames
from vcd_studio.method.protocols import Frames, Networks


class LatentPreview:
    """Fitted once per VAE by least squares on plain, patchy and smooth colours: (channels + 1) numbers per colour."""

    def __init__(self, networks: Networks, pictures: int = 8) -> None:
        generator = torch.Generator("cpu").manual_seed(0)
        side = 16 * networks.vae_scale
        kinds = [(1, "nearest"), (3, "nearest"), (5, "nearest"), (9, "nearest"), (4, "bicubic")]
        grids = [(torch.rand((pictures, 3, n, n), generator=generator) * 2 - 1, how) for n, how in kinds]
        colours = torch.cat([interpolate(grid, size=(side, side), mode=how) for grid, how in grids]).clamp(-1, 1)
        latents = encode_frames(colours, networks)[0].transpose(0, 1).float().cpu()
        small = avg_pool2d(colours, networks.vae_scale)
        cells = latents.movedim(1, -1).flatten(0, 2)
        self._map = torch.linalg.lstsq(torch.cat([cells, torch.ones(len(cells), 1)], 1), small.movedim(1, -1).flatten(0, 2)).solution

    def frames(self, latents: Tensor) -> Frames:
        """A latent clip (1, c, f, h, w) as small pictures (f, h, w, 3)."""
        cells = latents[0].movedim(0, -1).float().cpu()
        colours = cells @ self._map[:-1] + self._map[-1]
        return to_frames(colours.movedim(-1, 1))
