"""What a pack takes, what a card has room for, and which networks wait in the machine's memory when that is less."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vcd_studio.catalog.headers import read_header
from vcd_studio.catalog.packs import Pack
from vcd_studio.method.protocols import MethodError, Networks
from vcd_studio.models.folders import weights_in

INSIDE = {"model.diffusion_model.": "unet", "first_stage_model.": "vae", "cond_stage_model.": "text_encoder"}
"""Where the base's networks lie in a single file; what else is in it (averaged weights) is not loaded."""
PARTS = ("unet", "vae", "text_encoder", "motion_adapter", "controlnet", "upscaler", "grounding", "segmenter")
DENOISING = ("unet", "controlnet")
"""At work together, in every step."""
SMALLEST = 8
"""Clips may be asked for that take so many times less than the usual one."""
CALLED = ("upscaler", "grounding", "segmenter")
"""Called by the names that the method's protocols give, not as modules."""
CHANGED = ("unet", "text_encoder")
"""What learns, or wears the weights of an identity: twins with tensors of their own, which do not come and go with the network's."""
HELPERS = ("text_encoder", "upscaler", "grounding", "segmenter")
"""At work for a moment, before or after."""
PER_LATENT = 13_100
"""Bytes that a step of the UNet with motion needs beside its weights, for each number of its batch of latents, in fp32: measured as the
process's peak on a CPU, at 2 frames of 512² (8600 at 256², 9600 at 4 frames of 256²). Half in 16 bits."""


def denoising_bytes(frames: int, height: int, width: int, dtype: torch.dtype) -> int:
    """What a guided step over a context window of ``frames`` takes beside the weights; height and width in latent cells."""
    return 2 * 4 * frames * height * width * PER_LATENT * dtype.itemsize // 4


def weights_of(pack: Pack, dtype: torch.dtype) -> dict[str, int]:
    """Bytes that each of the pack's networks takes in ``dtype``, by its name in :class:`Networks`, from the files' headers alone."""
    sizes = _inside_base(pack, dtype)
    for part in PARTS:
        if (place := pack.part(part)) is not None:
            name = "unet" if part == "motion_adapter" else part
            kind = torch.float32 if part == "grounding" else dtype  # Grounding DINO knows no other
            sizes[name] = sizes.get(name, 0) + sum(_bytes(path, kind) for path in _files(place, kind))
    return sizes


def _inside_base(pack: Pack, dtype: torch.dtype) -> dict[str, int]:
    """What the base's own file or folder gives to those networks that the pack names no other file for."""
    base = pack.part("base")
    if base is None:
        return {}
    wanted = {front: name for front, name in INSIDE.items() if pack.part(name) is None}
    if base.is_dir():
        return {name: sum(_bytes(path, dtype) for path in _files(base / name, dtype)) for name in wanted.values() if (base / name).is_dir()}
    return {name: _bytes(base, dtype, front) for front, name in wanted.items()}


def _files(place: Path, dtype: torch.dtype) -> list[Path]:
    return [place] if place.is_file() else weights_in(place, dtype)


def _bytes(path: Path, dtype: torch.dtype, front: str = "") -> int:
    tensors = read_header(path).tensors
    return dtype.itemsize * sum(math.prod(tensor.shape) for key, tensor in tensors.items() if key.startswith(front))


@dataclass(frozen=True)
class Placement:
    """``aside``: networks that wait in the machine's memory and come onto the card while they are used, those of one group together;
    ``sentence`` says it to a person."""

    aside: tuple[tuple[str, ...], ...] = ()
    sentence: str = ""


def plan(sizes: Mapping[str, int], room: int, working: int) -> Placement:
    """Where a pack's networks go on a card with ``room`` bytes free, of which ``working`` are needed beside the weights.

    All of them onto the card if they fit; else those that only help wait; else every one, with the card for one at a time. MethodError
    where even that cannot be.
    """
    whole = sum(sizes.values())
    denoising = sum(sizes.get(name, 0) for name in DENOISING)
    helpers = [name for name in HELPERS if name in sizes]
    largest = max((sizes[name] for name in helpers), default=0)
    stated = f"{_gb(whole)} of weights, {_gb(room)} free"
    if whole + working <= room:
        return Placement((), f"{stated}: everything on the card")
    if denoising + sizes.get("vae", 0) + max(working, largest) <= room:
        return Placement(tuple((name,) for name in helpers), f"{stated}: {', '.join(helpers)} wait in memory until they are used")
    if denoising + working // SMALLEST <= room and largest <= room:
        tight = "" if denoising + working <= room else "; choose a smaller size or fewer frames per context window where that fails"
        return Placement(in_turn(sizes), f"{stated}: the networks take turns on the card, which is slower{tight}")
    needed = _gb(max(denoising + working // SMALLEST, largest))
    raise MethodError(f"The card has {_gb(room)} free, and {needed} are needed: free some of it, or start the worker with --device cpu.")


def in_turn(names: Iterable[str], staying: Iterable[str] = ()) -> tuple[tuple[str, ...], ...]:
    """The groups in which ``names`` take turns on the card; ``staying`` are there all the time."""
    waiting = set(names) - set(staying)
    groups = (tuple(name for name in group if name in waiting) for group in (DENOISING, ("vae",), *((name,) for name in HELPERS)))
    return tuple(group for group in groups if group)


def check_room(name: str, needed: int, free: int) -> None:
    """MethodError where the machine's memory cannot hold the pack: better a sentence than a process that the system kills."""
    if needed > free:
        raise MethodError(f"Loading the pack {name} takes {_gb(needed)} of memory, and {_gb(free)} are free; end other programs first.")


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


Move = Callable[[nn.Module, torch.device], Any]


class Turns:
    """Networks that take turns on ``device``: whoever is used comes, and whoever was there goes back to the machine's memory."""

    def __init__(self, device: torch.device, move: Move = nn.Module.to) -> None:
        self._device, self._move = device, move
        self._there: tuple[nn.Module, ...] = ()

    def take(self, group: tuple[nn.Module, ...]) -> None:
        """``group`` is on the device afterwards, and no other."""
        if group is self._there:
            return
        for network in self._there:
            self._move(network, torch.device("cpu"))
        for network in group:
            self._move(network, self._device)
        self._there = group

    def wait(self, group: tuple[nn.Module, ...]) -> None:
        """From now on these networks come when one of them is called; an autoencoder also by its ``encode`` and ``decode``."""

        def come(*_: Any) -> None:
            self.take(group)

        for network in group:
            network.register_forward_pre_hook(come)  # a function, not a method: twins of the network copy it as it is
            if hasattr(network, "decode"):
                object.__setattr__(network, "_hf_hook", _BeforeCoding(come))  # what diffusers calls before either


@dataclass(frozen=True)
class _BeforeCoding:
    pre_forward: Callable[..., None]


class InTurn:
    """A network behind one of the method's protocols; on the device whenever one of its methods is called."""

    def __init__(self, network: nn.Module, turns: Turns) -> None:
        self._network, self._turns, self._group = network, turns, (network,)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._network, name)
        if not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            self._turns.take(self._group)
            return found(*args, **options)

        return call


def place(networks: Networks, placement: Placement, device: torch.device, move: Move = nn.Module.to) -> None:
    """Every network to where ``placement`` has it."""
    turns, parts = Turns(device, move), parts_of(networks)
    aside = {name for group in placement.aside for name in group}
    for name in parts.keys() - aside:
        move(parts[name], device)
    for group in placement.aside:
        present = [name for name in group if name in parts]
        if present and present[0] in CALLED:
            setattr(networks, present[0], InTurn(parts[present[0]], turns))
        elif present:
            turns.wait((*(parts[name] for name in present), *([networks.unet] if "unet" in present else [])))


def parts_of(networks: Networks) -> dict[str, nn.Module]:
    """What has weights, by name; "unet" is the one with motion, with every weight of the other."""
    found = {
        "text_encoder": networks.text_encoder, "vae": networks.vae, "unet": networks.motion_unet, "controlnet": networks.controlnet,
        "upscaler": networks.upscaler, "grounding": networks.grounding, "segmenter": networks.segmenter,
    }  # fmt: skip
    return {name: part for name, part in found.items() if isinstance(part, nn.Module)}
