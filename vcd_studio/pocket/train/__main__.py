"""``python -m vcd_studio.pocket.train PART|all``: train the pocket pack, resumable at any step, the same on a CPU and on a GPU."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, MotionAdapter, UNet2DConditionModel
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer, ViTModel

from vcd_studio.catalog.packs import POCKET
from vcd_studio.models.box_segmenter import BoxSegmenter
from vcd_studio.models.centre_detector import CentreDetector
from vcd_studio.models.oracle import Oracle
from vcd_studio.models.rrdbnet import RRDBNet
from vcd_studio.pocket.train import architectures
from vcd_studio.pocket.train.clip import train_clip
from vcd_studio.pocket.train.denoisers import polish_text_to_image, train_controlnet, train_motion, train_text_to_image
from vcd_studio.pocket.train.detectors import train_detector, train_segmenter, train_upscaler
from vcd_studio.pocket.train.dino import train_dino
from vcd_studio.pocket.train.few_steps import train_few_steps
from vcd_studio.pocket.train.oracle import train_oracle
from vcd_studio.pocket.train.pack import assemble
from vcd_studio.pocket.train.text import resized, train_text
from vcd_studio.pocket.train.tokenizer import build_tokenizer
from vcd_studio.pocket.train.vae import train_decoder, train_vae

STEPS = {
    "vae": 2400, "decoder": 1200, "text": 2500, "text_to_image": 5000, "polish": 1000, "motion": 1500, "controlnet": 700, "few_steps": 2000,
    "grounding": 2000, "faces": 2000, "segmenter": 1500, "upscaler": 2500, "oracle": 5000, "clip": 3000, "dino": 2000,
}  # fmt: skip
"""Steps that a two-core machine manages in an afternoon, in the order in which the parts need one another."""
BATCH = {
    "vae": 16, "decoder": 16, "text": 64, "text_to_image": 32, "polish": 32, "motion": 2, "controlnet": 16, "few_steps": 1,
    "grounding": 32, "faces": 32, "segmenter": 24, "upscaler": 8, "oracle": 32, "clip": 64, "dino": 64,
}  # fmt: skip


def train_part(
    part: str, folder: Path, steps: int, batch: int, pictures: int, clips: int, device: torch.device, half: bool, go_on: bool
) -> None:
    """Train one part into ``folder/<part>``; parts it is built on are read from there, and with ``go_on`` its own beginning too."""

    def begun(kind: Any, **extra: Any) -> Any:
        return kind.from_pretrained(folder / part, **extra).float() if go_on else None

    if part == "vae":
        train_vae(folder, steps, batch, device)
    elif part == "decoder":
        train_decoder(folder, steps, batch, device)
    elif part == "text":
        train_text(folder, build_tokenizer(folder / "tokenizer"), steps, batch, device)
    elif part == "grounding":
        train_detector(folder, "grounding", steps, batch, device, begun(CentreDetector))
    elif part == "faces":
        train_detector(folder, "faces", steps, batch, device, begun(CentreDetector))
    elif part == "segmenter":
        train_segmenter(folder, steps, batch, device, begun(BoxSegmenter))
    elif part == "upscaler":
        train_upscaler(folder, steps, batch, device, begun(RRDBNet))
    elif part == "oracle":
        train_oracle(folder, steps, batch, device, begun(Oracle))
    elif part == "clip":
        train_clip(folder, CLIPTokenizer.from_pretrained(folder / "tokenizer"), steps, batch, device, half, begun(CLIPModel))
    elif part == "dino":
        train_dino(folder, steps, batch, device, half, begun(ViTModel, add_pooling_layer=False))
    else:
        train_denoiser(part, folder, steps, batch, pictures, clips, device, half, go_on)


def train_denoiser(
    part: str, folder: Path, steps: int, batch: int, pictures: int, clips: int, device: torch.device, half: bool, go_on: bool
) -> None:
    """UNet with text encoder (and their polish), motion, ControlNet or the few-step adapter: they share the latents."""
    vae = AutoencoderKL.from_pretrained(folder / "vae").float().to(device).eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    first, polish = part == "text_to_image", part == "polish"
    text_of = "text_pretrained" if first and not go_on else "text_encoder"
    text = CLIPTextModel.from_pretrained(folder / text_of).float().to(device)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet").float().to(device) if go_on or not first else None
    if first or polish:
        resized(text, (1e-5 / text.config.layer_norm_eps) ** 0.5)  # a finished one's words are small
    if first:
        architectures.scheduler().save_pretrained(folder / "scheduler")
        train_text_to_image(folder, vae, tokenizer, text, steps, batch, pictures, device, half, unet)
        return
    assert unet is not None
    if polish:
        polish_text_to_image(folder, vae, tokenizer, text, unet, steps, batch, pictures, device, half)
        return
    text.eval().requires_grad_(False)
    unet.eval()
    if part == "motion":
        motion = MotionAdapter.from_pretrained(folder / "motion_adapter").float() if go_on else None
        train_motion(folder, vae, tokenizer, text, unet, steps, batch, clips, device, half, motion)
    elif part == "few_steps":
        motion = MotionAdapter.from_pretrained(folder / "motion_adapter").float()
        train_few_steps(folder, vae, tokenizer, text, unet, motion, steps, batch, pictures, clips, device, half)
    else:
        control = ControlNetModel.from_pretrained(folder / "controlnet").float() if go_on else None
        train_controlnet(folder, vae, tokenizer, text, unet, steps, batch, device, half, control)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m vcd_studio.pocket.train", description=__doc__)
    parser.add_argument("part", choices=[*STEPS, "all", "pack"], help="a part, all of them, or pack: gather them into the pack that ships")
    parser.add_argument("--folder", type=Path, default=Path("pocket-training"), help="checkpoints, curves and finished parts")
    parser.add_argument("--steps", type=int, help="may be changed between runs of one part")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--pictures", type=int, default=40_000, help="pictures in the latent bank")
    parser.add_argument("--clips", type=int, default=2_400, help="clips in the latent bank")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true", help="bf16 autocast for the denoisers, where the processor has it")
    parser.add_argument("--go-on", action="store_true", help="begin with the part in FOLDER")
    parser.add_argument("--threads", type=int, help="CPU threads")
    given = parser.parse_args()
    torch.set_flush_denormal(True)  # before any thread starts: softmax tails are denormal, and slow on a CPU
    if given.threads:
        torch.set_num_threads(given.threads)
    if given.part == "pack":
        assemble(given.folder, POCKET)
        return
    for part in STEPS if given.part == "all" else [given.part]:
        torch.manual_seed(2026)
        steps, batch = given.steps or STEPS[part], given.batch or BATCH[part]
        train_part(part, given.folder, steps, batch, given.pictures, given.clips, torch.device(given.device), given.bf16, given.go_on)


if __name__ == "__main__":
    main()
