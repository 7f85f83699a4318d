"""Weights that an identity or a LoRA changes in the networks: as a value, as a file, and worn by the networks of a pack."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vcd_studio.method.protocols import Changes, LowRank, MethodError, Networks

PREFIX = "unet."
DIFFERENCE = ".diff"
DOWN, UP = ".lora_A.weight", ".lora_B.weight"
OLDER = {".lora.down.weight": DOWN, ".lora.up.weight": UP}
"""How diffusers wrote LoRA before peft, and still may."""


@dataclass(frozen=True)
class NetworkWeights:
    """``changes``: of the UNets (a motion LoRA's: of the one with motion alone); ``text_changes``: of the text encoder, which identities
    of ours leave alone. ``strength`` scales it all; other trainers' sliders go below 0 and above 1."""

    changes: Changes
    metadata: Mapping[str, str] = field(default_factory=dict)
    strength: float = 1.0
    text_changes: Changes = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """How much the changes take."""
        parts = [
            part for change in self.changes.values() for part in ((change.down, change.up) if isinstance(change, LowRank) else (change,))
        ]
        return sum(part.nbytes for part in parts)

    def at(self, strength: float) -> NetworkWeights:
        """The same weights at a strength of -4..4. Raises MethodError outside of it."""
        if not -4 <= strength <= 4:
            raise MethodError(f"Weights are worn at a strength from -4 to 4, not {strength}.")
        return replace(self, strength=strength)

    def save(self, path: Path) -> None:
        """Safetensors with metadata, written whole or not at all.

        Low rank in diffusers' and peft's own layout (``unet.….lora_A.weight``), which ``pipe.load_lora_weights`` reads; the rest as
        ``unet.….diff``. What is written is the difference to the base, not the new weights: it is small, so 16 bits of it keep far
        more of what was learnt than 16 bits of base and difference together, and it can be worn in part, or on a relative of the base.
        """
        tensors: dict[str, Tensor] = {}
        for name, change in self.changes.items():
            if isinstance(change, LowRank):
                module = PREFIX + name.removesuffix(".weight")
                tensors[module + DOWN] = change.down
                tensors[module + UP] = change.up * change.scale  # readers take the scale for 1 where no file says otherwise
            else:
                tensors[PREFIX + name + DIFFERENCE] = change
        part = path.with_name(path.name + ".part")
        save_file({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, part, {"format": "pt", **self.metadata})
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> NetworkWeights:
        """Our files, and LoRA as diffusers writes it. Raises MethodError for anything else, and for files that are not safetensors."""
        if path.suffix != ".safetensors":
            raise MethodError(f"{path} is not safetensors: weights are read from nothing else, as other files may hold programs.")
        try:
            with safe_open(path, framework="pt") as file:
                metadata = dict(file.metadata() or {})
                tensors = {str(key): file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dictionary)
        except (SafetensorError, OSError) as error:
            raise MethodError(f"{path} cannot be read as safetensors: {error}.") from error
        if not tensors:
            raise MethodError(f"{path} holds no weights.")
        return cls(_read(path, tensors), metadata)


def _read(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor | LowRank]:
    changes: dict[str, Tensor | LowRank] = {}
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        for older, newer in OLDER.items():
            key = key.replace(older, newer)
        side = next((side for side in (DOWN, UP) if key.endswith(side)), None)
        if key.startswith(PREFIX) and side:
            halves.setdefault(key[len(PREFIX) : -len(side)] + ".weight", {})[side] = tensor
        elif key.startswith(PREFIX) and key.endswith(DIFFERENCE):
            changes[key[len(PREFIX) : -len(DIFFERENCE)]] = tensor
        else:
            raise MethodError(
                f'{path} holds "{key}", which is no change of a UNet as diffusers writes it ("unet.….lora_A.weight") or we do '
                f'("unet.….diff"): convert it with diffusers, and leave out what changes the text encoder.'
            )
    for name, pair in halves.items():
        if set(pair) != {DOWN, UP} or pair[DOWN].ndim < 2 or pair[UP].ndim < 2 or pair[DOWN].shape[0] != pair[UP].shape[1]:
            raise MethodError(f"{path} is damaged: of {name} it does not hold the two matching halves of a LoRA.")
        changes[name] = LowRank(pair[DOWN], pair[UP])
    return changes


MOTION = ".motion_modules."
"""In the names of what only the UNet with motion has."""
Worn = Sequence[tuple[float, Changes]]
"""Changes of one network, each with its strength."""


def worn(networks: Networks, weights: Sequence[NetworkWeights]) -> Networks:
    """The same networks, but with these weights in both their UNets and the text encoder: several add up, each at its strength.

    The networks handed in are not touched, so there is nothing to take off again: those of the answer are twins on the very same
    tensors, with new ones only where something changes (and those shared by both UNets). Let go of the answer, and they are gone.
    Raises MethodError where a name or a shape does not fit: the weights are of another family of models.
    """
    moving = [(each.strength, each.changes) for each in weights if each.strength and each.changes]
    still = [(strength, {name: change for name, change in changes.items() if MOTION not in name}) for strength, changes in moving]
    text = [(each.strength, each.text_changes) for each in weights if each.strength and each.text_changes]
    if not moving and not text:
        return networks
    made: dict[str, tuple[Tensor, Tensor]] = {}
    return replace(
        networks,
        unet=_dressed(networks.unet, still, "UNet", made),
        motion_unet=_dressed(networks.motion_unet, moving, "UNet", made),
        text_encoder=_dressed(networks.text_encoder, text, "text encoder", {}),
    )


def _dressed(network: Any, worn: Worn, called: str, made: dict[str, tuple[Tensor, Tensor]]) -> Any:
    names = list(dict.fromkeys(name for _, changes in worn for name in changes))
    if not names:
        return network
    parameters = dict(network.named_parameters())
    for name, change in ((name, change) for _, changes in worn for name, change in changes.items()):
        _check(name, change, parameters.get(name), called)
    changed: dict[str, Tensor] = {}
    for name in names:
        base = parameters[name]
        if name not in made or not torch.equal(made[name][0], base):
            made[name] = (base, _changed(name, base, worn))
        changed[name] = made[name][1]
    return twin(network, changed)


def _changed(name: str, base: Tensor, worn: Worn) -> Tensor:
    """The base's parameter with what all of them change in it; added up in 32 bits, rounded once."""
    total = base.detach().float().clone()
    for strength, changes in worn:
        if (change := changes.get(name)) is not None:
            full = change.full(total.device) if isinstance(change, LowRank) else change
            total += strength * full.to(total).reshape(total.shape)
    return torch.empty_like(base).copy_(total)


def _check(name: str, change: Tensor | LowRank, parameter: Tensor | None, called: str) -> None:
    if parameter is None:
        raise MethodError(f"These weights change {name}, which this {called} does not have: they are for another family of models.")
    if isinstance(change, LowRank):
        fits = change.up[:, 0].numel() == parameter.shape[0] and change.down[0].numel() == parameter[0].numel()
        shape = (change.up.shape[0], *change.down.shape[1:])
    else:
        fits, shape = change.shape == parameter.shape, tuple(change.shape)
    if not fits:
        raise MethodError(
            f"These weights change {name} by {' × '.join(map(str, shape))} numbers, but this {called} has "
            f"{' × '.join(map(str, parameter.shape))} there: they are for another family of models."
        )


def twin(network: Any, own: Mapping[str, Tensor]) -> Any:
    """A second network on the first one's very tensors, but for the parameters named in ``own``: those are its own.

    What learns in a twin, or is taken apart in it, leaves the first network as it is, also when something fails on the way.
    """
    memo: dict[int, Any] = {id(buffer): buffer for buffer in network.buffers()}
    for name, parameter in network.named_parameters():
        tensor = own.get(name, parameter)
        memo[id(parameter)] = tensor if isinstance(tensor, torch.nn.Parameter) else torch.nn.Parameter(tensor, requires_grad=False)
    return copy.deepcopy(network, memo)
