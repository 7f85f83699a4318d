"""A pack folder of tiny random networks: every part there, nothing learnt."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "method"))

from tiny import tiny_networks

from vcd_studio.models.box_segmenter import BoxSegmenter
from vcd_studio.models.centre_detector import CentreDetector
from vcd_studio.models.rrdbnet import RRDBNet


def save_tiny_pack(folder: Path) -> Path:
    """Write the pack; the detectors see something nearly everywhere, and the segmenter takes all of it."""
    networks = tiny_networks(controlnet=True)
    torch.manual_seed(1)
    detector = CentreDetector(classes=["dog", "cat"], widths=(8, 8, 8, 8), size=32)
    segmenter = BoxSegmenter(widths=(8, 8, 8, 8), size=32)
    with torch.no_grad():
        detector.heat.bias.fill_(2.0)
        segmenter.out.bias.fill_(4.0)
    networks.tokenizer.save_pretrained(folder / "tokenizer")
    for name in ("text_encoder", "vae", "unet", "controlnet"):
        getattr(networks, name).save_pretrained(folder / name)
    networks.motion_unet.save_motion_modules(folder / "motion_adapter")
    networks.scheduler.save_pretrained(folder / "scheduler")
    detector.save_pretrained(folder / "grounding")
    detector.save_pretrained(folder / "faces")
    segmenter.save_pretrained(folder / "segmenter")
    RRDBNet(scale=2, num_feat=8, num_block=1, num_grow_ch=4).save_pretrained(folder / "upscaler")
    return folder
