"""LoRA and motion LoRA as other trainers write them: kohya's names, diffusers' (old and new), peft's, AnimateDiff's.

All say the same, W + strength · α/r · up · down, beside some of the base's parameters; they differ in how they call those. So every name is
brought to one form (no dots, no prefix) and looked up among the networks' own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from vcd_studio.catalog.headers import read_header
from vcd_studio.catalog.recognise import recognise
from vcd_studio.method.protocols import LowRank, MethodError, Networks
from vcd_studio.models.single_files import load_state, told

PEFT_FILE, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
SIDE = re.compile(r"[._]lora(?:_linear_layer)?[._](down|up|mid|A|B)(?:\.default)?\.weight$|\.(alpha)$")
"""What follows the parameter's name: ``.lora_down.weight`` (kohya), ``.lora.down.weight``, ``_lora.down.weight`` (diffusers before peft),
``.lora_linear_layer.down.weight`` (its text encoder), ``.lora_A.weight`` and ``.lora_A.default.weight`` (peft, diffusers)."""
SIDES = {"A": "down", "B": "up"}
DIFFUSERS_FACTS = "lora_adapter_metadata"
"""Where diffusers keeps peft's config in a file's metadata, as JSON."""
FRONT = re.compile(r"^(?:base_model\.model\.|module\.|unet\.|text_encoder\.|lora_unet_|lora_te1?_|text_model[._])+")
RESPELT = (("temporal_transformer.", ""), ("attention_blocks.0.", "attn1."), ("attention_blocks.1.", "attn2."), ("processor.", ""))
"""AnimateDiff's names, and those of diffusers' processors, as the networks have them."""


@dataclass(frozen=True)
class Lora:
    """What a file changes in the UNets and in the text encoder."""

    unet: Mapping[str, LowRank] = field(default_factory=dict)
    text_encoder: Mapping[str, LowRank] = field(default_factory=dict)


def load_lora(path: Path, networks: Networks) -> Lora:
    """The LoRA or motion LoRA in ``path`` (a file, or peft's folder), for these networks.

    MethodError for what is none, or was made for another base, and for its cousins (LoHa, LoKr, DoRA), which are no difference of low rank.
    """
    file = path / PEFT_FILE if path.is_dir() else path
    with told(file, "a LoRA"):
        header = read_header(file)
    what = recognise(header.shapes)
    if what is None or what.part not in ("lora", "motion-lora"):
        raise MethodError(f"{path} is {what.title if what else 'of no layout that is known here'}; a LoRA for SD 1.5 is needed.")
    scales = _peft_scales(path) if path.is_dir() else _diffusers_scales(path, header.metadata)
    unet, text = _names(networks.motion_unet), _names(networks.text_encoder)
    changes: tuple[dict[str, LowRank], dict[str, LowRank]] = {}, {}
    for module, sides in _modules(path, load_state(file)).items():
        in_text = module.startswith(("lora_te", "text_encoder.", "text_model"))
        known, name = text if in_text else unet, _plain(module)
        parameter = known.get(name) or known.get(name + "_0")  # diffusers' processors say to_out, where the weights lie in to_out.0
        if parameter is None:
            raise MethodError(f"{path} changes {module}, which this pack's networks do not have: it was made for another base.")
        changes[in_text][parameter] = _low_rank(path, module, sides, scales[in_text])
    return Lora(*changes)


Scales = tuple[float | None, float | None]
"""α/r of what changes the UNet and the text encoder, where a config says it."""


def _peft_scales(folder: Path) -> Scales:
    try:
        scale = _scale(json.loads((folder / PEFT_CONFIG).read_bytes()), "")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise MethodError(f"{folder} is no folder of peft's: it should hold {PEFT_CONFIG} and {PEFT_FILE}.") from error
    return scale, scale


def _diffusers_scales(path: Path, metadata: Mapping[str, str]) -> Scales:
    if DIFFUSERS_FACTS not in metadata:
        return None, None
    try:
        facts = json.loads(metadata[DIFFUSERS_FACTS])
        unet, text = (_scale(facts, front) if f"{front}r" in facts else None for front in ("unet.", "text_encoder."))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MethodError(f"{path} is damaged: what its metadata says of the LoRA's rank cannot be read.") from error
    return unet, text


def _scale(config: Mapping[str, Any], front: str) -> float:
    rank, alpha = float(config[f"{front}r"]), float(config[f"{front}lora_alpha"])
    if rank <= 0 or config.get(f"{front}use_dora"):
        raise ValueError("no LoRA has such a config")
    return float(alpha / (rank**0.5 if config.get(f"{front}use_rslora") else rank))


def _modules(path: Path, state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Module names as the file has them → its ``down``, ``up`` and, where there is one, ``alpha``."""
    modules: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        match = SIDE.search(key)
        if match is None:
            raise MethodError(f'{path} holds "{key}", which is no part of a LoRA: LoHa, LoKr and DoRA cannot be used.')
        side = match[1] or match[2]
        modules.setdefault(key[: match.start()], {})[SIDES.get(side, side)] = tensor
    return modules


def _plain(module: str) -> str:
    for theirs, ours in RESPELT:
        module = module.replace(theirs, ours)
    return FRONT.sub("", module).replace(".", "_")


def _names(network: Any) -> dict[str, str]:
    """Each module of ``network`` that has weights, in the form of ``_plain``, → its parameter."""
    names = [name for name, _ in network.named_parameters() if name.endswith(".weight")]
    return {_plain(name.removesuffix(".weight")): name for name in names}


def _low_rank(path: Path, module: str, sides: Mapping[str, Tensor], scale: float | None) -> LowRank:
    down, up = sides.get("down"), sides.get("up")
    if "mid" in sides:
        raise MethodError(f"{path} is a LoCon with three factors (at {module}), which cannot be used; one without CP decomposition can.")
    if down is None or up is None or min(down.ndim, up.ndim) < 2 or down.shape[0] != up.shape[1]:
        raise MethodError(f"{path} is damaged: of {module} it does not hold the two matching halves of a LoRA.")
    if scale is None:
        scale = float(sides["alpha"]) / down.shape[0] if "alpha" in sides else 1.0
    return LowRank(down, up, scale)
