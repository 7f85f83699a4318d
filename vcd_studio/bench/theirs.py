"""The tasks as a user of diffusers does them: its pipelines as they come, or with what its documentation has to make them quicker, and a
plain loop of textual inversion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
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
from vcd_studio.bench.tasks import Setup
from vcd_studio.catalog.packs import find_pack
from vcd_studio.locations import packs_dir


def _part(setup: Setup, name: str) -> Path:
    place = find_pack(setup.pack, packs_dir()).part(name)
    assert place is not None, f"{setup.pack} has a {name}"
    return place


def _networks(setup: Setup) -> dict[str, Any]:
    dtype = getattr(torch, setup.dtype)
    networks: dict[str, Any] = {
        "vae": AutoencoderKL.from_pretrained(_part(setup, "vae"), torch_dtype=dtype),
        "text_encoder": CLIPTextModel.from_pretrained(_part(setup, "text_encoder"), dtype=dtype),
        "unet": UNet2DConditionModel.from_pretrained(_part(setup, "unet"), torch_dtype=dtype),
    }
    placed = {name: network.to(setup.device) for name, network in networks.items()}
    return {**placed, "tokenizer": CLIPTokenizer.from_pretrained(_part(setup, "tokenizer"))}


@cache
def _pipeline(setup: Setup) -> Any:
    motion = MotionAdapter.from_pretrained(_part(setup, "motion_adapter"), torch_dtype=getattr(torch, setup.dtype))
    scheduler = DDIMScheduler.from_pretrained(_part(setup, "scheduler"), clip_sample=False)
    pipeline: Any = AnimateDiffPipeline(**_networks(setup), motion_adapter=motion, scheduler=scheduler).to(setup.device)
    return _optimised(pipeline) if setup.optimised else _silent(pipeline)


def _silent(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _optimised(pipeline: Any) -> Any:
    """What diffusers' pages on speed tell of: channels last, queries, keys and values in one product, the UNet compiled. That in the
    compiler's usual mode: tuning each product of matrices (max-autotune) takes longer than a borrowed card is lent for."""
    for network in (pipeline.unet, pipeline.vae):
        network.to(memory_format=torch.channels_last)
        network.fuse_qkv_projections()
    pipeline.unet = torch.compile(pipeline.unet)
    return _silent(pipeline)


def _asked(setup: Setup, steps: int) -> dict[str, Any]:
    return {
        "prompt": tasks.PROMPT, "negative_prompt": tasks.NEGATIVE, "guidance_scale": tasks.GUIDANCE, "height": setup.size,
        "width": setup.size, "num_inference_steps": steps, "generator": torch.Generator().manual_seed(tasks.SEED),
    }  # fmt: skip


def denoised(setup: Setup, steps: int) -> Work:
    """AnimateDiffPipeline without its VAE."""
    pipeline = _pipeline(setup)

    def work() -> Answer:
        latents: torch.Tensor = pipeline(**_asked(setup, steps), num_frames=tasks.FRAMES, output_type="latent").frames
        return np.asarray(latents.float().cpu().numpy(), np.float32)

    return work


def prompted(setup: Setup, steps: int) -> Work:
    """AnimateDiffPipeline."""
    pipeline = _pipeline(setup)

    def work() -> Answer:
        frames = pipeline(**_asked(setup, steps), num_frames=tasks.FRAMES, output_type="np").frames
        return np.asarray(frames[0], np.float32)

    return work


def noised_again(setup: Setup, steps: int) -> Work:
    """AnimateDiffVideoToVideoPipeline."""
    parts = _pipeline(setup).components
    components = {name: parts[name] for name in ("vae", "text_encoder", "tokenizer", "unet", "motion_adapter", "scheduler")}
    pipeline = _silent(AnimateDiffVideoToVideoPipeline(**components))
    video = [Image.fromarray(frame) for frame in tasks.clip(setup.size)]

    def work() -> Answer:
        frames = pipeline(**_asked(setup, steps), video=video, strength=tasks.STRENGTH, output_type="np").frames
        return np.asarray(frames[0], np.float32)

    return work


def trained(setup: Setup, steps: int) -> Work:
    """Textual inversion (Gal et al. 2022) as trainers on diffusers have it: pictures encoded as they are drawn, the whole vocabulary in the
    optimiser and every word but the new ones put back after each step."""
    return partial(_training(Setup(setup.pack, setup.size, setup.device)), steps)


@cache
def _training(setup: Setup) -> Callable[[int], Answer]:
    parts = _networks(setup)
    noise_schedule: Any = DDPMScheduler.from_pretrained(_part(setup, "scheduler"))
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
        picture = pictures[int(torch.randint(len(pictures), ()))].resize((setup.size, setup.size), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1

    def train(steps: int) -> Answer:
        torch.manual_seed(tasks.SEED)
        with torch.no_grad():
            table[new] = table[noun].mean(0)
        before, others = table.detach().clone(), [i for i in range(len(table)) if i not in new]
        optimizer = torch.optim.AdamW([table], tasks.RATE)
        losses = []
        for _ in range(steps):
            batch = torch.stack([drawn() for _ in range(tasks.BATCH)]).to(setup.device)
            latents = vae.encode(batch).latent_dist.sample() * vae.config.scaling_factor
            noise = torch.randn_like(latents)
            t = torch.randint(0, noise_schedule.config["num_train_timesteps"], (tasks.BATCH,), device=setup.device)
            ids = tokenizer([caption] * tasks.BATCH, padding="max_length", truncation=True, return_tensors="pt").input_ids
            embeds = text_encoder(ids.to(setup.device))[0]
            predicted = unet(noise_schedule.add_noise(latents, noise, t), t, embeds).sample
            loss = torch.nn.functional.mse_loss(predicted, noise)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                table[others] = before[others]
            losses.append(float(loss))
        return np.array(losses, np.float32)

    return train


WORKS: Mapping[str, Callable[[Setup, int], Work]] = MappingProxyType(
    {"denoising": denoised, "text to video": prompted, "partial denoise": noised_again, "ID training": trained}
)
