"""A pack's parts, whatever layout they are in, loaded as one :class:`Networks`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, MotionAdapter, UNet2DConditionModel, UNetMotionModel
from transformers import CLIPTextModel, CLIPTokenizer

from vcd_studio.catalog.discovery import is_grounding_dino
from vcd_studio.catalog.packs import Pack, PackMissing, find_pack
from vcd_studio.method.protocols import FaceDetector, Grounding, MethodError, Networks
from vcd_studio.models.box_segmenter import BoxSegmenter
from vcd_studio.models.centre_detector import CentreDetector, CentreFaces, CentreGrounding
from vcd_studio.models.faces import PeopleAndPets, YuNetFaces
from vcd_studio.models.folders import from_folder
from vcd_studio.models.grounding_dino import load_grounding_dino
from vcd_studio.models.memory import Placement, parts_of, place
from vcd_studio.models.middle import MiddleOfPicture
from vcd_studio.models.rrdbnet import RRDBNet
from vcd_studio.models.sam import load_sam
from vcd_studio.models.single_files import (
    SD15,
    load_base,
    load_controlnet,
    load_motion,
    load_text_encoder,
    load_unet,
    load_upscaler,
    load_vae,
)


@dataclass(frozen=True)
class Base:
    """What draws a picture."""

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    vae: AutoencoderKL
    unet: UNet2DConditionModel
    scheduler: Any


def load_pack(
    name: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    packs_dir: Path | None = None,
    placement: Placement | None = None,
) -> Networks:
    """Load every part of a pack in ``dtype``, ready for inference, onto ``device``, or where ``placement`` has it.

    Raises :class:`PackMissing` where it is not there and :class:`MethodError` where a file cannot be read.
    """
    pack = find_pack(name, packs_dir)
    device = torch.device(device)
    try:
        base = _base(pack, dtype)
        motion_unet = with_motion(base.unet, _either(pack.part("motion_adapter"), load_motion, MotionAdapter, dtype))
        networks = Networks(
            tokenizer=base.tokenizer,
            text_encoder=base.text_encoder,
            vae=base.vae,
            unet=base.unet,
            motion_unet=motion_unet,
            scheduler=base.scheduler,
            controlnet=_either(pack.part("controlnet"), load_controlnet, ControlNetModel, dtype),
            upscaler=_either(pack.part("upscaler"), load_upscaler, RRDBNet, dtype),
            segmenter=_either(pack.part("segmenter"), load_sam, BoxSegmenter, dtype),
            device=device,
            dtype=dtype,
        )
        networks.grounding = _grounding(pack, device, dtype)
        for network in (base.unet, *parts_of(networks).values()):
            network.to(memory_format=torch.channels_last).eval().requires_grad_(False)
        place(networks, placement or Placement(), device)
        networks.faces = _faces(pack, networks, dtype)  # these find pets' heads by grounding, where that is by now
        if networks.grounding is None and networks.segmenter is not None:
            networks.grounding = MiddleOfPicture(networks.segmenter)  # after faces: it must not be taken for a finder of heads
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise MethodError(f"The pack {name} in {pack.folder} cannot be loaded: {str(error).splitlines()[0]}") from error
    return networks


def with_motion(unet: UNet2DConditionModel, adapter: MotionAdapter) -> UNetMotionModel:
    """``unet`` with motion modules between its layers. The two share every weight: a base is in memory once for pictures and clips."""
    with torch.device("meta"):
        motion_unet: UNetMotionModel = UNetMotionModel.from_unet2d(unet, adapter, load_weights=False)
    shared = {key: value for network in (unet, adapter) for key, value in (*network.named_parameters(), *network.named_buffers())}
    motion_unet.load_state_dict(shared, strict=True, assign=True)
    return motion_unet


def _base(pack: Pack, dtype: torch.dtype) -> Base:
    """UNet, VAE and text encoder: out of one file, a pipeline's folder, or a folder each. A part of its own goes before the base's."""
    whole = pack.part("base")
    unet = vae = text = None
    if whole is not None and whole.is_file():
        unet, vae, text = load_base(whole, dtype)
    unet = _either(_place(pack, "unet", whole), load_unet, UNet2DConditionModel, dtype) or unet
    vae = _either(_place(pack, "vae", whole), load_vae, AutoencoderKL, dtype) or vae
    text = _either(_place(pack, "text_encoder", whole), load_text_encoder, CLIPTextModel, dtype) or text
    if vae is None:
        raise PackMissing(f"{whole} has no VAE in it; name one under [parts] in {pack.folder / 'pack.toml'}.")
    if text is None:
        raise PackMissing(f"{whole} has no text encoder in it; name one under [parts] in {pack.folder / 'pack.toml'}.")
    assert unet is not None, "find_pack saw one"
    tokenizer = CLIPTokenizer.from_pretrained(_place(pack, "tokenizer", whole) or SD15 / "tokenizer")
    scheduler = DDIMScheduler.from_pretrained(pack.part("scheduler") or SD15 / "scheduler")  # AnimateDiff's betas, never the base's own
    return Base(tokenizer, text, vae, unet, scheduler)


def _place(pack: Pack, part: str, whole: Path | None) -> Path | None:
    """Where a part of the base lies: on its own, or in the base's folder."""
    own = pack.part(part)
    inside = whole / part if whole is not None and whole.is_dir() else None
    return own or (inside if inside is not None and inside.is_dir() else None)


def _either(place: Path | None, from_file: Callable[[Path, torch.dtype], Any], network: Any, dtype: torch.dtype) -> Any:
    """A part out of its file or its folder (of ``network``); None where the pack has none."""
    if place is None:
        return None
    return from_file(place, dtype) if place.is_file() else from_folder(network, place, dtype).eval()


def _grounding(pack: Pack, device: torch.device, dtype: torch.dtype) -> Grounding | None:
    """Grounding DINO, or pocket's own detector."""
    place = pack.part("grounding")
    if place is None:
        return None
    if not is_grounding_dino(place):
        return CentreGrounding(_optional(CentreDetector, place, dtype).to(device))
    return load_grounding_dino(place, pack.vocabulary())


def _faces(pack: Pack, networks: Networks, dtype: torch.dtype) -> FaceDetector | None:
    """None where the pack has neither a face detector nor what grounds a pet's head."""
    place = pack.part("faces")
    if place is not None and place.is_dir():
        return CentreFaces(_optional(CentreDetector, place, dtype).to(networks.device))
    if place is None and networks.grounding is None:
        return None
    return PeopleAndPets(None if place is None else YuNetFaces(place), networks.grounding)


def _optional(network: Any, folder: Path | None, dtype: torch.dtype) -> Any:
    return network.from_pretrained(folder, torch_dtype=dtype).eval() if folder is not None else None
