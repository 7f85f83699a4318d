"""A pack of networks as they are published, filled at random: SD 1.5, AnimateDiff v2, ControlNet Tile and Real-ESRGAN x2. Speed and memory
are those of the real ones, and nothing is fetched."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, MotionAdapter, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from vcd_studio.models.rrdbnet import RRDBNet
from vcd_studio.models.single_files import SD15

PACK = "full-size"
SIZE, SMALL_SIZE = 512, 64
"""Pixels on either side, of the published networks and of their miniatures."""
MOTION_RANGE = 32
THIN = (32, 64, 64, 64)
"""Channels of the miniatures' levels."""
SMALL_TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "projection_dim": 32}
SMALL: dict[str, dict[str, Any]] = {
    "unet": {"block_out_channels": THIN, "cross_attention_dim": 32, "sample_size": SMALL_SIZE // 8},
    "controlnet": {"block_out_channels": THIN, "cross_attention_dim": 32},
    "vae": {"block_out_channels": (32,) * 4, "sample_size": SMALL_SIZE},
}  # fmt: skip
"""By what the miniatures' configs differ; the layers are as many."""


def random_networks(small: bool = False, device: str = "cpu") -> dict[str, Any]:
    """Each network by the pack's name for it, with the numbers that torch begins with; on "meta" without any."""
    with torch.device(device):
        torch.manual_seed(0)
        channels = THIN if small else (320, 640, 1280, 1280)
        networks = {
            kind: network.from_config({**network.load_config(SD15 / kind), **(SMALL[kind] if small else {})})
            for kind, network in (("unet", UNet2DConditionModel), ("controlnet", ControlNetModel), ("vae", AutoencoderKL))
        }
        text = CLIPTextModel(CLIPTextConfig.from_pretrained(SD15 / "text_encoder", **(SMALL_TEXT if small else {})))
        motion = MotionAdapter(block_out_channels=channels, motion_max_seq_length=MOTION_RANGE, use_motion_mid_block=True)
        upscaler = RRDBNet(2, 8, 1, 4) if small else RRDBNet(2)
    return {**networks, "text_encoder": text, "motion_adapter": motion, "upscaler": upscaler}


def write_pack(folder: Path, dtype: torch.dtype, small: bool = False, device: str = "cpu") -> Path:
    """The pack, in ``dtype``, at ``folder``; ``device`` draws the numbers: a card does so in a moment, a processor in minutes."""
    for name, network in random_networks(small, device).items():
        nn.Module.to(network, dtype).save_pretrained(folder / name)  # diffusers' own has a word to say on parts that these lack
    for name in ("tokenizer", "scheduler"):
        shutil.copytree(SD15 / name, folder / name)
    if device != "cpu":
        del network
        torch.cuda.empty_cache()  # those that are measured have a card to themselves
    return folder
