"""A pack of full-size files, filled at random, loads with nothing fetched, shares its base, and goes through T2V and Tiled."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from math import prod

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.catalog import layouts
from vcd_studio.catalog.packs import add_pack
from vcd_studio.method.conditioning import condition
from vcd_studio.method.id_tokens import IdTokens
from vcd_studio.method.protocols import Networks
from vcd_studio.method.sampling import Sampling
from vcd_studio.method.text_to_video import text_to_video
from vcd_studio.method.tiled import tiled
from vcd_studio.models import load_pack
from vcd_studio.models.rrdbnet import RRDBNet

POOL = torch.randn(2**20, generator=torch.Generator().manual_seed(0))


def random(shapes: layouts.Shapes) -> dict[str, torch.Tensor]:
    """Weights whose layers keep the size of what goes through them: normal over the root of what each number sums up."""
    state = {}
    for key, shape in shapes.items():
        if key.endswith("position_ids"):
            state[key] = torch.arange(shape[-1])[None]
        elif len(shape) < 2:
            state[key] = torch.full(shape, float(key.endswith("weight")), dtype=torch.float16)
        else:
            count = prod(shape)
            values = POOL[:count] if count <= len(POOL) else POOL.repeat(-(-count // len(POOL)))[:count]
            state[key] = (values / prod(shape[1:]) ** 0.5).half().view(shape)
    return state


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Networks]:
    place = tmp_path_factory.mktemp("full-size")
    save_file(random(layouts.sd15()), place / "base.safetensors")
    torch.save({"state_dict": random(layouts.animatediff("v2"))}, place / "motion.ckpt")
    save_file(random(layouts.controlnet()), place / "tile.safetensors")
    torch.save({"params_ema": RRDBNet(2, 8, 1, 8).state_dict()}, place / "x2.pth")
    add_pack(place / "packs", "mine", [place / name for name in ("base.safetensors", "motion.ckpt", "tile.safetensors", "x2.pth")])
    yield load_pack("mine", dtype=torch.bfloat16, packs_dir=place / "packs")
    shutil.rmtree(place)


@pytest.mark.slow
def test_a_clip_of_full_size_networks(full_size: Networks) -> None:
    assert (full_size.size, full_size.vae_scale, full_size.motion_range) == (512, 8, 32)
    spatial = dict(full_size.unet.named_parameters())
    assert all(weight is spatial[key] for key, weight in full_size.motion_unet.named_parameters() if key in spatial)
    rex = IdTokens("<rex>", "dog", torch.randn(4, 768) * 0.02)
    words = condition(full_size, "a <rex> running in the snow", "blurry", [rex])
    assert words.positive.shape == (1, 77, 768)
    sampling = Sampling(steps=1, seed=1)
    clip = text_to_video(full_size, words, sampling, frames=2, height=64, width=64)
    assert clip.shape == (2, 64, 64, 3)
    assert clip.std() > 1
    other = text_to_video(full_size, condition(full_size, "a cat", "blurry"), sampling, frames=2, height=64, width=64)
    assert not np.array_equal(clip, other)
    large, report = tiled(full_size, clip[:, :32, :32], words, sampling)  # a corner: half numbers take a processor long
    assert large.shape == (2, 64, 64, 3)
    assert report.controlled
