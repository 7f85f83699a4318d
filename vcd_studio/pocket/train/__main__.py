"""``python -m vcd_studio.pocket.train PART|all``: train the pocket pack, resumable at any step, the same on a CPU and on a GPU."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from vcd_studio.models.packs import POCKET
from vcd_studio.pocket.train import architectures
from vcd_studio.pocket.train.denoisers import train_controlnet, train_motion, train_text_to_image
from vcd_studio.pocket.train.detectors import train_detector, train_segmenter, train_upscaler
from vcd_studio.pocket.train.oracle import train_oracle
from vcd_studio.pocket.train.pack import assemble
from vcd_studio.pocket.train.text import train_text
from vcd_studio.pocket.train.tokenizer import build_tokenizer
from vcd_studio.pocket.train.vae import train_vae

STEPS = {
    "vae": 2400, "text": 2500, "text_to_image": 5000, "motion": 1500, "controlnet": 700,
    "grounding": 2000, "faces": 2000, "segmenter": 1500, "upscaler": 1200, "oracle": 5000,
}  # fmt: skip
"""Steps that a two-core machine manages in an afternoon, in the order in which the parts need one another."""
BATCH = {
    "vae": 16, "text": 64, "text_to_image": 32, "motion": 2, "controlnet": 16,
    "grounding": 32, "faces": 32, "segmenter": 24, "upscaler": 8, "oracle": 32,
}  # fmt: skip


def train_part(part: str, folder: Path, steps: int, batch: int, pictures: int, clips: int, device: torch.device, half: bool) -> None:
    """Train one part into ``folder/<part>``; parts it is built on are read from there."""
    if part == "vae":
        train_vae(folder, steps, batch, device)
    elif part == "text":
        train_text(folder, build_tokenizer(folder / "tokenizer"), steps, batch, device)
    elif part == "grounding":
        train_detector(folder, "grounding", steps, batch, device)
    elif part == "faces":
        train_detector(folder, "faces", steps, batch, device)
    elif part == "segmenter":
        train_segmenter(folder, steps, batch, device)
    elif part == "upscaler":
        train_upscaler(folder, steps, batch, device)
    elif part == "oracle":
        train_oracle(folder, steps, batch, device)
    else:
        vae = AutoencoderKL.from_pretrained(folder / "vae").to(device).eval()
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        if part == "text_to_image":
            architectures.scheduler().save_pretrained(folder / "scheduler")
            text = CLIPTextModel.from_pretrained(folder / "text_pretrained").to(device)
            train_text_to_image(folder, vae, tokenizer, text, steps, batch, pictures, device, half)
            return
        text = CLIPTextModel.from_pretrained(folder / "text_encoder").to(device).eval().requires_grad_(False)
        unet = UNet2DConditionModel.from_pretrained(folder / "unet").to(device).eval()
        if part == "motion":
            train_motion(folder, vae, tokenizer, text, unet, steps, batch, clips, device, half)
        else:
            train_controlnet(folder, vae, tokenizer, text, unet, steps, batch, device, half)


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
        train_part(part, given.folder, steps, batch, given.pictures, given.clips, torch.device(given.device), given.bf16)


if __name__ == "__main__":
    main()
