"""Gather finished parts into the pack that ships: fp16 safetensors and a model card that says what was measured."""

from __future__ import annotations

import csv
import json
import platform
import shutil
import subprocess
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, MotionAdapter, UNet2DConditionModel
from transformers import CLIPModel, CLIPTextModel, ViTModel

from vcd_studio.catalog.packs import LORAS
from vcd_studio.models.box_segmenter import BoxSegmenter
from vcd_studio.models.centre_detector import CentreDetector
from vcd_studio.models.oracle import Oracle
from vcd_studio.models.rrdbnet import RRDBNet
from vcd_studio.pocket.train.few_steps import ADAPTER
from vcd_studio.pocket.train.measure import measure

PARTS = {
    "text_encoder": CLIPTextModel, "vae": AutoencoderKL, "unet": UNet2DConditionModel, "motion_adapter": MotionAdapter,
    "controlnet": ControlNetModel, "upscaler": RRDBNet, "grounding": CentreDetector, "segmenter": BoxSegmenter, "faces": CentreDetector,
    "oracle": Oracle, "clip": CLIPModel, "dino": ViTModel,
}  # fmt: skip
CURVES = (
    "vae", "decoder", "text", "text_to_image", "polish", "motion", "controlnet", "few_steps",
    "upscaler", "grounding", "segmenter", "faces", "oracle", "clip", "dino",
)  # fmt: skip
DESCRIPTION = "Pocket: miniature networks trained on the pocket world. Needs nothing, knows dogs, cats, men and women in seven scenes."


def assemble(folder: Path, pack: Path) -> None:
    """Write the pack from ``folder``'s finished parts. Parts that are not there yet are left out."""
    pack.mkdir(parents=True, exist_ok=True)
    for name, network in PARTS.items():
        if (folder / name).exists():
            extra = {"add_pooling_layer": False} if network is ViTModel else {}  # a pooler that nobody trained
            network.from_pretrained(folder / name, **extra).to(torch.float16).save_pretrained(pack / name)
            _forget_place(pack / name / "config.json")
            for beside in (folder / name).iterdir():  # an encoder's tokenizer and preprocessing
                if beside.suffix in (".json", ".txt") and beside.name != "config.json":
                    shutil.copy(beside, pack / name)
    if (folder / ADAPTER).exists():
        (pack / LORAS).mkdir(exist_ok=True)
        shutil.copy(folder / ADAPTER, pack / LORAS)
    shutil.copytree(folder / "tokenizer", pack / "tokenizer", dirs_exist_ok=True)
    DDIMScheduler.from_pretrained(folder / "scheduler").save_pretrained(pack / "scheduler")
    (pack / "pack.toml").write_text(f'name = "pocket"\ndescription = "{DESCRIPTION}"\nlicence = "Apache-2.0"\n')
    (pack / "figures.md").write_text(_figures(folder, pack))


def _forget_place(config: Path) -> None:
    """Loaders write down the folder they read from: no business of the pack's users."""
    known = json.loads(config.read_text())
    known.pop("_name_or_path", None)
    config.write_text(json.dumps(known, indent=2) + "\n")


def _recipe() -> str:
    """Which commit changed the recipe last."""
    if shutil.which("git"):
        asked = ["git", "-C", str(Path(__file__).parent), "log", "-1", "--format=%h", "--", "."]
        told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
        if told:
            return f"the recipe is that of commit {told}"
    return "the recipe is not under git"


def _figures(folder: Path, pack: Path) -> str:
    """The measured half of the model card, made by this command and never by hand."""
    lines = ["# Figures of the pocket pack", "", "Made by `python -m vcd_studio.pocket.train pack`.", ""]
    lines += ["| part | steps | seconds in training | last loss |", "|---|---|---|---|"]
    total = 0.0
    for name in CURVES:
        # "motion, pack 2.csv" is what this pack's motion goes on from
        for curve in [*sorted(folder.glob(f"{name}, *.csv")), *folder.glob(f"{name}.csv")]:
            step, loss, seconds = list(csv.reader(curve.open()))[-1]
            lines.append(f"| {curve.stem} | {step} | {seconds} | {loss} |")
            total += float(seconds)
    made_by = f"with torch {torch.__version__} on {platform.machine()}; {_recipe()}"
    lines += ["", f"{total / 3600:.1f} hours in all, the last of them {made_by}.", ""]
    lines += ["| measured on 200 held-out renders, fp16 files | figure |", "|---|---|"]
    lines += [f"| {name} | {value:.3f} |" for name, value in measure(pack).items()]
    size = sum(p.stat().st_size for p in pack.rglob("*.safetensors"))
    return "\n".join([*lines, "", f"Weights: {size / 1e6:.1f} MB."]) + "\n"
