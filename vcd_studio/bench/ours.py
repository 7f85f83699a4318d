"""The tasks as the studio's method does them, networks loaded as a worker loads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vcd_studio.bench import tasks
from vcd_studio.bench.contestants import Answer, Made, Work
from vcd_studio.bench.tasks import Setup
from vcd_studio.locations import packs_dir
from vcd_studio.method.augmentation import TrainingPhoto
from vcd_studio.method.conditioning import condition
from vcd_studio.method.denoise import denoise
from vcd_studio.method.face import face
from vcd_studio.method.id_training import IdTraining, TrainingOptions
from vcd_studio.method.noise_prior import noise_prior
from vcd_studio.method.pictures import decode_latents, encode_frames, to_frames, to_tensor
from vcd_studio.method.protocols import Box, Frames, Networks
from vcd_studio.method.sampling import Sampling
from vcd_studio.method.text_to_video import text_to_video
from vcd_studio.method.tiled import tiled
from vcd_studio.models import load_pack

WHOLE = TrainingOptions()


class MovingFace:
    """Finds one face in every frame, a quarter of it wide and a little further to the right each time: how long real detectors take is
    not what is measured, and networks filled at random draw no faces."""

    def __init__(self) -> None:
        self._seen = 0

    def detect(self, image: NDArray[np.uint8], noun: str) -> list[Box]:
        """Frames are to be shown in their order."""
        height, width = image.shape[:2]
        left = width * (0.3 + 0.1 * (self._seen % tasks.FRAMES) / tasks.FRAMES)
        self._seen += 1
        return [Box(left, 0.3 * height, left + width / 4, 0.55 * height, label=noun)]


@cache
def networks_of(setup: Setup) -> Networks:
    """Loaded once."""
    networks = load_pack(setup.pack, setup.device, getattr(torch, setup.dtype), packs_dir())
    networks.faces = MovingFace()
    return networks


def _sampling(steps: int) -> Sampling:
    """γ 0, so that the noise is diffusers' own."""
    return Sampling(steps=steps, guidance=tasks.GUIDANCE, gamma=0, seed=tasks.SEED)


def denoised(setup: Setup, steps: int) -> Work:
    """Prompt to latents."""
    networks, sampling = networks_of(setup), _sampling(steps)
    side = setup.size // networks.vae_scale
    shape = (1, networks.latent_channels, tasks.FRAMES, side, side)

    def work() -> Answer:
        words = condition(networks, tasks.PROMPT, tasks.NEGATIVE)
        schedule = sampling.schedule(networks.scheduler.config)
        noise = noise_prior(shape, sampling.gamma, sampling.generator("t2v"), networks.device, networks.dtype)
        return _numbers(denoise(networks.motion_unet, schedule.start(noise), words, schedule, sampling.guidance))

    return work


def prompted(setup: Setup, steps: int) -> Work:
    """Prompt to frames."""
    return lambda: _t2v(networks_of(setup), _sampling(steps))


def noised_again(setup: Setup, steps: int) -> Work:
    """A clip, encoded, noised part of the way, denoised, decoded: what Face does to a crop, and Tiled to a tile."""
    networks, sampling = networks_of(setup), _sampling(steps)
    clip = tasks.clip(setup.size)

    def work() -> Made:
        conditioning = condition(networks, tasks.PROMPT, tasks.NEGATIVE)
        schedule = sampling.schedule(networks.scheduler.config).tail(tasks.STRENGTH)
        generator = torch.Generator().manual_seed(tasks.SEED)
        latents = encode_frames(to_tensor(clip), networks, generator)
        noise = torch.randn(latents.transpose(1, 2).shape, generator=generator).transpose(1, 2)  # diffusers' order of axes
        noisy = schedule.renoise(latents, noise.to(latents))
        return to_frames(decode_latents(denoise(networks.motion_unet, noisy, conditioning, schedule, tasks.GUIDANCE), networks))

    return work


def faced(setup: Setup, steps: int) -> Work:
    """The Face stage, of one face."""
    clip = tasks.clip(setup.size)
    return lambda: _face(networks_of(setup), clip, _sampling(steps))


def enlarged(setup: Setup, steps: int) -> Work:
    """The Tiled stage, to twice the size."""
    clip = tasks.clip(setup.size)
    return lambda: _tiled(networks_of(setup), clip, _sampling(steps))


def whole(setup: Setup, steps: int) -> Work:
    """Text to video, Face and Tiled, each on what the one before has made."""

    def work() -> Made:
        networks, sampling = networks_of(setup), _sampling(steps)
        return _tiled(networks, _face(networks, _t2v(networks, sampling), sampling), sampling)

    return work


def _t2v(networks: Networks, sampling: Sampling) -> Frames:
    return text_to_video(networks, condition(networks, tasks.PROMPT, tasks.NEGATIVE), sampling, frames=tasks.FRAMES)


def _face(networks: Networks, clip: Frames, sampling: Sampling) -> Frames:
    return face(networks, clip, tasks.NOUN, condition(networks, tasks.PROMPT, tasks.NEGATIVE), sampling, strength=tasks.STRENGTH)[0]


def _tiled(networks: Networks, clip: Frames, sampling: Sampling) -> Frames:
    return tiled(networks, clip, condition(networks, tasks.PROMPT, tasks.NEGATIVE), sampling)[0]


def learning_dtype(device: str) -> str:
    """torch's name of it, on a CPU or a card that knows bf16."""
    return "float32" if device == "cpu" else "bfloat16"


def trained(setup: Setup, steps: int) -> Work:
    """So many steps of a training, with their share of its bank of latents; in what a worker learns in."""
    networks = networks_of(Setup(setup.pack, setup.size, setup.device, learning_dtype(setup.device)))
    photos = [TrainingPhoto(photo) for photo in tasks.photos()]
    bank = max(1, round(WHOLE.bank * steps / WHOLE.steps))
    options = TrainingOptions(steps=steps, bank=bank, batch=tasks.BATCH, tokens=tasks.TOKENS, learning_rate=tasks.RATE)

    def work() -> Answer:
        training = IdTraining(networks, photos, tasks.NOUN, tasks.TOKEN, options)
        training.prepare()
        return np.array([training.step().loss for _ in range(steps)], np.float32)

    return work


def _numbers(latents: Tensor) -> Answer:
    return np.asarray(latents.float().cpu().numpy(), np.float32)


WORKS: Mapping[str, Callable[[Setup, int], Work]] = MappingProxyType(
    {
        "denoising": denoised,
        "text to video": prompted,
        "partial denoise": noised_again,
        "Face": faced,
        "Tiled": enlarged,
        "whole clip": whole,
        "ID training": trained,
    }
)
