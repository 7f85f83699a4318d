"""What a pack's clips wear where settings name a LoRA of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vcd_studio.catalog.packs import loras_of
from vcd_studio.locations import packs_dir
from vcd_studio.method.finetuning import NetworkWeights
from vcd_studio.method.protocols import MethodError, Networks
from vcd_studio.models.loras import load_lora
from vcd_studio.project.loras import LoraChoice


def adapters(told: Mapping[str, Any], pack: str, networks: Networks) -> list[NetworkWeights]:
    """One for each of the generation settings' ``loras``, at its strength. MethodError for one that the pack does not bring."""
    worn = []
    for choice in map(LoraChoice.read, told.get("loras", ())):
        places = [folder / f"{choice.name}.safetensors" for folder in loras_of(pack, packs_dir())]
        if (place := next((place for place in places if place.exists()), None)) is None:
            raise MethodError(f'The pack "{pack}" brings no LoRA "{choice.name}"; put {choice.name}.safetensors into {places[0].parent}.')
        lora = load_lora(place, networks)
        worn.append(NetworkWeights(lora.unet, text_changes=lora.text_encoder).at(choice.strength))
    return worn
