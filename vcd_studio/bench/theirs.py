"""The tasks as a user of diffusers does them: its pipelines as they come, and a plain loop of textual inversion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from diffusers import (
    AnimateDiffPipeline,
    AnimateDiffVideoToVideoPipeline,
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    MotionAdapter,
    UNet2DConditionModel,
)
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer

from vcd_studio.bench import tasks
from vcd_studio.bench.contestants import Answer, Work
from vcd_studio.catalog.packs import find_pack
from vcd_studio.locations import packs_dir


def _part(name: str) -> Path:
    place = find_pack(tasks.PACK, packs_dir()).part(name)
    assert place is not None, f"{tasks.PACK} has a {name}"
    return place


def _networks() -> dict[str, Any]:
    load: dict[str, Any] = {"torch_dtype": torch.float32}
    return {
        "vae": AutoencoderKL.from_pretrained(_part("vae"), **load),
        "text_encoder": CLIPTextModel.from_pretrained(_part("text_encoder"), dtype=torch.float32),
        "tokenizer": CLIPTokenizer.from_pretrained(_part("tokenizer")),
        "unet": UNet2DConditionModel.from_pretrained(_part("unet"), **load),
    }


def _pipeline(kind: Any) -> Any:
    motion = MotionAdapter.from_pretrained(_part("motion_adapter"), torch_dtype=torch.float32)
    scheduler = DDIMScheduler.from_pretrained(_part("scheduler"), clip_sample=False)
    pipeline = kind(**_networks(), motion_adapter=motion, scheduler=scheduler)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


ASKED: dict[str, Any] = {
    "prompt": tasks.PROMPT, "negative_prompt": tasks.NEGATIVE, "guidance_scale": tasks.GUIDANCE, "height": tasks.SIZE, "width": tasks.SIZE,
    "output_type": "np",
}  # fmt: skip


def prompted(steps: int) -> Work:
    """AnimateDiffPipeline."""
    pipeline = _pipeline(AnimateDiffPipeline)

    def work() -> Answer:
        generator = torch.Generator().manual_seed(tasks.SEED)
        frames = pipeline(**ASKED, num_frames=tasks.FRAMES, num_inference_steps=steps, generator=generator).frames
        return np.asarray(frames[0], np.float32)

    return work


def noised_again(steps: int) -> Work:
    """AnimateDiffVideoToVideoPipeline."""
    pipeline = _pipeline(AnimateDiffVideoToVideoPipeline)
    video = [Image.fromarray(frame) for frame in tasks.clip()]

    def work() -> Answer:
        generator = torch.Generator().manual_seed(tasks.SEED)
        frames = pipeline(**ASKED, video=video, num_inference_steps=steps, strength=tasks.STRENGTH, generator=generator).frames
        return np.asarray(frames[0], np.float32)

    return work


def trained(steps: int) -> Work:
    """Textual inversion (Gal et al. 2022) as trainers on diffusers have it: pictures encoded as they are drawn, the whole vocabulary in the
    optimiser and every word but the new ones put back after each step."""
    parts = _networks()
    noise_schedule: Any = DDPMScheduler.from_pretrained(_part("scheduler"))
    tokenizer, text_encoder, vae, unet = (parts[name] for name in ("tokenizer", "text_encoder", "vae", "unet"))
    names = [tasks.TOKEN, *(f"{tasks.TOKEN}_{i}" for i in range(1, tasks.TOKENS))]
    tokenizer.add_tokens(names)
    text_encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    new = tokenizer.convert_tokens_to_ids(names)
    noun = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(tasks.NOUN))
    for network in (vae, unet, text_encoder):
        network.requires_grad_(False)
    table = text_encoder.get_input_embeddings().weight.requires_grad_(True)
    pictures = tasks.photos()
    caption = f"a photo of a {' '.join(names)} {tasks.NOUN}"

    def drawn() -> torch.Tensor:
        picture = pictures[int(torch.randint(len(pictures), ()))].resize((tasks.SIZE, tasks.SIZE), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1

    def work() -> Answer:
        torch.manual_seed(tasks.SEED)
        with torch.no_grad():
            table[new] = table[noun].mean(0)
        before, others = table.detach().clone(), [i for i in range(len(table)) if i not in new]
        optimizer = torch.optim.AdamW([table], tasks.RATE)
        losses = []
        for _ in range(steps):
            batch = torch.stack([drawn() for _ in range(tasks.BATCH)])
            latents = vae.encode(batch).latent_dist.sample() * vae.config.scaling_factor
            noise = torch.randn_like(latents)
            t = torch.randint(0, noise_schedule.config["num_train_timesteps"], (tasks.BATCH,))
            ids = tokenizer([caption] * tasks.BATCH, padding="max_length", truncation=True, return_tensors="pt").input_ids
            embeds = text_encoder(ids)[0]
            predicted = unet(noise_schedule.add_noise(latents, noise, t), t, embeds).sample
            loss = torch.nn.functional.mse_loss(predicted, noise)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                table[others] = before[others]
            losses.append(float(loss))
        return np.array(losses, np.float32)

    return work


WORKS: Mapping[str, Callable[[int], Work]] = MappingProxyType(
    {"text to video": prompted, "partial denoise": noised_again, "ID training": trained}
)
