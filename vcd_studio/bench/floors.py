"""What a machine could do at best: the reckoning that a task takes, over what the machine was seen to reckon in a second."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from vcd_studio.bench import tasks
from vcd_studio.bench.figures import seconds
from vcd_studio.models import load_pack

SIDES = {"cpu": 2048, "cuda": 8192}
"""Of the square matrices that tell a processor's or a card's rate."""


@cache
def rate(device: str = "cpu", dtype: torch.dtype = torch.float32) -> float:
    """Floating-point operations a second in a large product of matrices: the best of ten."""
    side = SIDES[torch.device(device).type]
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))

    def product() -> None:
        torch.mm(a, b)
        if a.is_cuda:
            torch.cuda.synchronize()

    product()
    return 2 * side**3 / min(seconds(product) for _ in range(10))


@cache
def step_operations() -> int:
    """Of a guided denoising step of the pocket clip that is measured."""
    networks = load_pack(tasks.PACK)
    width = networks.motion_unet.config["cross_attention_dim"]
    side = tasks.SIZE // networks.vae_scale
    noisy = torch.zeros(2, networks.latent_channels, tasks.FRAMES, side, side)
    text = torch.zeros(2 * tasks.FRAMES, networks.tokenizer.model_max_length, width)
    with torch.inference_mode():
        return counted(lambda: networks.motion_unet(noisy, torch.tensor(500), encoder_hidden_states=text))


def counted(work: Callable[[], object]) -> int:
    """Floating-point operations of ``work``, in products of matrices, convolutions and attention."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def clip_floor(steps: int) -> float:
    """Seconds that the denoising of a clip takes at least."""
    return steps * step_operations() / rate()
