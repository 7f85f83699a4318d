"""Look at the pack: ``python -m vcd_studio.pocket.sheet OUT`` draws 6 prompts × 4 seeds as clips and writes a sheet and a GIF."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vcd_studio.method.conditioning import condition
from vcd_studio.method.sampling import Sampling
from vcd_studio.method.text_to_video import text_to_video
from vcd_studio.models import load_pack

PROMPTS = (
    "a brown dog running in the snow",
    "an orange cat sitting on the beach",
    "a man with a red shirt and blue trousers walking in the city at night",
    "a woman with a yellow shirt waving on the grass",
    "a close up of a gray cat with a red collar in the forest",
    "a woman with blonde hair and a purple skirt running in the desert, far away",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m vcd_studio.pocket.sheet", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pack", default="pocket")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=5.0, help="pocket burns at Stable Diffusion's 7.5")
    parser.add_argument("--gamma", type=float, default=0.15)
    given = parser.parse_args()
    networks = load_pack(given.pack, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    clips = []
    for prompt in PROMPTS:
        text = condition(networks, prompt, "")
        for seed in range(given.seeds):
            sampling = Sampling(steps=given.steps, guidance=given.guidance, gamma=given.gamma, seed=seed)
            clips.append(text_to_video(networks, text, sampling))
            print(f"{prompt}, seed {seed}", flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    grid = np.stack(clips).reshape(len(PROMPTS), given.seeds, *clips[0].shape)
    still = np.concatenate([np.concatenate([np.concatenate(list(clip[[4, 10]]), 1) for clip in row], 1) for row in grid])
    large = Image.fromarray(still).resize((still.shape[1] * 2, still.shape[0] * 2), Image.Resampling.NEAREST)
    large.quantize(256).save(given.out / "sheet.png", optimize=True)
    frames = [Image.fromarray(np.concatenate([np.concatenate(list(row[:, index]), 1) for row in grid])) for index in range(grid.shape[2])]
    frames[0].save(given.out / "sheet.gif", save_all=True, append_images=frames[1:], duration=125, loop=0)


if __name__ == "__main__":
    main()
