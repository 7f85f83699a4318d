"""Networks of which the blocks that repeat are compiled: a block of one kind and shape once, for all places where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from vcd_studio.method.protocols import Networks
from vcd_studio.worker.networks import Log

BLOCKS = (BasicTransformerBlock, ResnetBlock2D)
"""Nearly all of a step's work in the UNet and the ControlNet; motion modules are made of the first."""
SHAPES = 64
"""Shapes of each kind of block that are compiled: nine kinds of blocks of SD 1.5's make a clip of one size."""


def compiler_refuses(device: str) -> str | None:
    """Why nothing can be compiled on this machine, found out on a sum; None where it can."""
    try:
        torch.compile(_sum)(torch.zeros(8, device=device))
    except Exception as error:  # a compiler, or Triton, can be missing or broken in every way there is
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return lines[0] if lines else type(error).__name__
    return None


def _sum(numbers: torch.Tensor) -> torch.Tensor:
    return numbers + 1


def compile_blocks(networks: Networks) -> Networks:
    """These very networks; blocks of the UNet with motion and of the ControlNet are compiled when they first meet a shape.

    Remembered prompts and oneDNN are left out then (a prompt's keys and values are 0.3 % of what a step of SD 1.5's reckons): whatever a
    block calls otherwise has it compiled anew, as merged cells do. The same clip to rounding.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, SHAPES)
    for block in blocks_of(networks):
        if getattr(block, "_compiled_call_impl", None) is None:
            block.compile(dynamic=False)
    return networks


def blocks_of(networks: Networks) -> Iterator[nn.Module]:
    """What is compiled."""
    found: tuple[Any, ...] = (networks.motion_unet, networks.controlnet)
    for network in found:
        if isinstance(network, nn.Module):
            yield from (module for module in network.modules() if isinstance(module, BLOCKS))


class Compiler:
    """Compiles what it is given, where the user wants that (``auto``: on a card) and the machine can: that is found out once."""

    def __init__(self, wanted: str, device: str) -> None:
        self._device = device
        self._able = None if wanted == "on" or (wanted == "auto" and device != "cpu") else False

    def __call__(self, networks: Networks, log: Log) -> Networks:
        """These networks, compiled or as they are; the first time a line says which."""
        if self._able is None:
            reason = compiler_refuses(self._device)
            self._able = reason is None
            log(COMPILES if reason is None else f"nothing is compiled on this machine: {reason}")
        return compile_blocks(networks) if self._able else networks


COMPILES = "the UNet's blocks are compiled: the first clip of a size waits for that, later ones and later workers find them"
