"""LoRA that clips wear beside their identities: ``loras = ["film-look:0.8", "v2_lora_ZoomIn.ckpt"]``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vcd_studio import locations
from vcd_studio.catalog.packs import loras_of
from vcd_studio.project.errors import InputError
from vcd_studio.project.paths import inside
from vcd_studio.project.text import quoted

WRITTEN = re.compile(r"(?P<name>[^\x00-\x1f\x7f:][^\x00-\x1f\x7f]*?)(?::(?P<strength>[+-]?\d*\.?\d+))?")
STRONGEST = 4.0
"""Either way: sliders are made for a few times their training."""
ADAPTER = "adapter_model.safetensors"
"""The weights in a folder of peft's."""
SUFFIXES = ("", ".safetensors", ".ckpt", ".pt", ".pth", ".bin")
TREES = ("~/ComfyUI/models/loras", "~/ComfyUI/models/animatediff_motion_lora", "~/stable-diffusion-webui/models/Lora")
"""Where ComfyUI and AUTOMATIC1111 keep theirs."""


@dataclass(frozen=True)
class LoraChoice:
    """What is written for one LoRA: a name (its file's, with or without the suffix) or a path, and how strongly it is worn."""

    name: str
    strength: float = 1.0

    @classmethod
    def read(cls, text: str) -> LoraChoice:
        """``NAME`` or ``NAME:STRENGTH``. Raises ValueError with what is wrong."""
        match = WRITTEN.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{quoted(text)} is no LoRA; write its name, or NAME:STRENGTH as in film-look:0.8")
        strength = float(match["strength"] or 1.0)
        if abs(strength) > STRONGEST:
            raise ValueError(f"a LoRA's strength lies from -{STRONGEST:g} to {STRONGEST:g}, and {quoted(text)} asks for {strength:g}")
        return cls(match["name"], strength)


def find_lora(choice: LoraChoice, project: Path, pack: str, *, by_hand: bool = False) -> Path:
    """Its file (or peft's folder): in the project's ``loras/``, the user's own, ComfyUI's and AUTOMATIC1111's, or the pack's; with
    ``by_hand`` also at any path. InputError where it is nowhere: projects come from others, so what their files name is not sought in the
    whole machine.
    """
    name = Path(choice.name)
    if name.is_absolute() or choice.name.startswith("~") or ".." in name.parts:
        if not by_hand:
            raise InputError(
                f"The LoRA {quoted(choice.name)} lies outside of the project; put it into the project's loras folder, or give it on the "
                f"command line: --set loras={choice.name}"
            )
        places = [name.expanduser().absolute()]
    else:
        trees = [Path(tree).expanduser() for tree in TREES]
        folders = [locations.loras_dir(), *trees, *loras_of(pack, locations.packs_dir())]
        places = [inside(project, "loras", choice.name), *(folder / name for folder in folders)]
    for place in places:
        for suffix in SUFFIXES:
            if (found := place.with_name(place.name + suffix)).exists():
                return found.resolve()
    where = " or ".join(str(place.parent) for place in places[:2])
    raise InputError(f"There is no LoRA {quoted(choice.name)}; put its file into {where}.")


def check_loras(texts: Sequence[str]) -> None:
    """Raises ValueError for what is no LoRA, and for one named twice."""
    names = [LoraChoice.read(text).name for text in texts]
    if twice := next((name for index, name in enumerate(names) if name in names[:index]), None):
        raise ValueError(f"the LoRA {quoted(twice)} is named twice; name it once, with the strength you want")
