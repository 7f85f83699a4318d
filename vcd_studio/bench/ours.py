"""The tasks as the studio's method does them, networks loaded as a worker loads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch

from vcd_studio.bench import tasks
from vcd_studio.bench.contestants import Answer, Work
from vcd_studio.method.augmentation import TrainingPhoto
from vcd_studio.method.conditioning import condition
from vcd_studio.method.denoise import denoise
from vcd_studio.method.id_training import IdTraining, TrainingOptions
from vcd_studio.method.pictures import decode_latents, encode_frames, to_frames, to_tensor
from vcd_studio.method.protocols import Frames
from vcd_studio.method.sampling import Sampling
from vcd_studio.method.text_to_video import text_to_video
from vcd_studio.models import load_pack

WHOLE = TrainingOptions()


def prompted(steps: int) -> Work:
    """Prompt to frames; γ 0, so that the noise is diffusers' own."""
    networks, sampling = load_pack(tasks.PACK), Sampling(steps=steps, guidance=tasks.GUIDANCE, gamma=0, seed=tasks.SEED)

    def work() -> Answer:
        conditioning = condition(networks, tasks.PROMPT, tasks.NEGATIVE)
        return _shares(text_to_video(networks, conditioning, sampling, frames=tasks.FRAMES))

    return work


def noised_again(steps: int) -> Work:
    """A clip, encoded, noised part of the way, denoised, decoded: what Face does to a crop, and Tiled to a tile."""
    networks, sampling = load_pack(tasks.PACK), Sampling(steps=steps, guidance=tasks.GUIDANCE, gamma=0, seed=tasks.SEED)
    clip = tasks.clip()

    def work() -> Answer:
        conditioning = condition(networks, tasks.PROMPT, tasks.NEGATIVE)
        schedule = sampling.schedule(networks.scheduler.config).tail(tasks.STRENGTH)
        generator = torch.Generator().manual_seed(tasks.SEED)
        latents = encode_frames(to_tensor(clip), networks, generator)
        noise = torch.randn(latents.transpose(1, 2).shape, generator=generator).transpose(1, 2)  # diffusers' order of axes
        denoised = denoise(networks.motion_unet, schedule.renoise(latents, noise), conditioning, schedule, tasks.GUIDANCE)
        return _shares(to_frames(decode_latents(denoised, networks)))

    return work


def trained(steps: int) -> Work:
    """So many steps of a training, with their share of its bank of latents."""
    networks = load_pack(tasks.PACK)
    photos = [TrainingPhoto(photo) for photo in tasks.photos()]
    bank = max(1, round(WHOLE.bank * steps / WHOLE.steps))
    options = TrainingOptions(steps=steps, bank=bank, batch=tasks.BATCH, tokens=tasks.TOKENS, learning_rate=tasks.RATE)

    def work() -> Answer:
        training = IdTraining(networks, photos, tasks.NOUN, tasks.TOKEN, options)
        training.prepare()
        return np.array([training.step().loss for _ in range(steps)], np.float32)

    return work


def _shares(frames: Frames) -> Answer:
    return np.divide(frames, 255, dtype=np.float32)


WORKS: Mapping[str, Callable[[int], Work]] = MappingProxyType(
    {"text to video": prompted, "partial denoise": noised_again, "ID training": trained}
)
