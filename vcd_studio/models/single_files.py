"""SD 1.5's networks out of single files, in the layouts their makers publish; nothing is fetched: configs travel with us.

What a file is, its keys have said before (:mod:`vcd_studio.catalog.recognise`); pickles are loaded with ``weights_only`` alone. Tensors are
mapped from the file, so that a network's weights are in memory once.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, MotionAdapter, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_animatediff_checkpoint_to_diffusers
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

from vcd_studio.catalog.headers import WeightsError, read_header
from vcd_studio.catalog.recognise import WRAPPERS, Recognised, recognise
from vcd_studio.method.protocols import MethodError, Upscaler
from vcd_studio.models.rrdbnet import RRDBNet
from vcd_studio.models.spandrel_upscaler import SpandrelUpscaler

State = dict[str, torch.Tensor]
SD15 = Path(__file__).parent / "configs" / "sd15"
"""SD 1.5's configs and tokenizer, a folder a part, as diffusers lays them out."""
TEXT = "cond_stage_model.transformer."


class Ignored:
    """Stands for the callbacks that training programs pickle beside their weights."""

    def __init__(self, *_: Any, **__: Any) -> None:
        return None


CALLBACKS = ("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",)


@contextmanager
def told(path: Path, part: str) -> Iterator[None]:
    """What a loader of weights may raise, as one MethodError that names the file."""
    try:
        yield
    except MethodError:
        raise
    except WeightsError as error:
        raise MethodError(str(error)) from error
    except Exception as error:  # somebody else's weights and configs can go wrong in every way there is
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MethodError(f"{path} cannot be loaded as {part}: {reason}") from error


def recognised(path: Path, part: str) -> Recognised:
    """What the file's keys say it is. MethodError where that is not ``part``, or anything is wrong with the file."""
    with told(path, part):
        found = recognise(read_header(path).shapes)
    if found is None:
        raise MethodError(f"{path} cannot be used: {NEEDED[part]} is needed, and its keys are of no layout that is known here.")
    if found.part != part:
        raise MethodError(f"{path} is {found.title}; {NEEDED[part]} is needed.")
    return found


NEEDED = {
    "base": "an SD 1.5 checkpoint", "unet": "a UNet for SD 1.5", "vae": "a VAE", "text_encoder": "a CLIP text encoder, 768 wide",
    "motion_adapter": "a motion module for SD 1.5", "controlnet": "a ControlNet for SD 1.5", "lora": "a LoRA for SD 1.5",
    "embedding": "a textual inversion for SD 1.5", "upscaler": "an ESRGAN upscaler",
    "segmenter": "Segment Anything or MobileSAM", "grounding": "Grounding DINO Swin-T or Swin-B",
}  # fmt: skip


def load_state(path: Path) -> State:
    """Every tensor by its key, without what was wrapped around them. MethodError for anything that is not plain weights."""
    with told(path, "weights"):
        container = read_header(path).container  # refuses what holds code, or is cut off
        if container == "safetensors":
            state: Any = load_file(path)
        else:
            safe: list[Any] = [(Ignored, name) for name in CALLBACKS]
            with torch.serialization.safe_globals(safe), warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                state = torch.load(path, map_location="cpu", weights_only=True, mmap=container == "zip")
        return _plain(state)


NESTS = ("state_dict", "params_ema", "params", "model")
"""Under which name training programs save what they have learnt; ESRGAN's averaged weights go before the last ones."""


def _plain(state: Any) -> State:
    for name in NESTS:
        state = state[name] if isinstance(state.get(name), dict) else state
    for wrapper in WRAPPERS:
        inside = {key.removeprefix(wrapper): value for key, value in state.items() if key.startswith(wrapper)}
        state = inside or state
    return {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}


def load_base(path: Path, dtype: torch.dtype) -> tuple[UNet2DConditionModel, AutoencoderKL | None, CLIPTextModel | None]:
    """UNet, VAE and text encoder of a single-file SD 1.5 checkpoint; None for what it lacks.

    Where a file holds averaged weights (EMA) beside the last ones, the last ones are taken, as every other program does: people's
    merges carry the original's EMA along.
    """
    facts = recognised(path, "base").facts
    with told(path, "an SD 1.5 checkpoint"):
        state = {key: value for key, value in load_state(path).items() if not key.startswith("model_ema.")}
        unet = _unet(state, dtype)
        vae = _vae(state, dtype) if facts["vae"] == "inside" else None
        text = _text_encoder(state, TEXT, dtype) if facts["text encoder"] == "inside" else None
    return unet, vae, text


def load_unet(path: Path, dtype: torch.dtype) -> UNet2DConditionModel:
    """A UNet alone, as it lies in diffusers' folders."""
    recognised(path, "unet")
    with told(path, "a UNet"):
        return _unet(load_state(path), dtype)


def _unet(state: State, dtype: torch.dtype) -> UNet2DConditionModel:
    unet: UNet2DConditionModel = UNet2DConditionModel.from_single_file(
        state, config=str(SD15), subfolder="unet", torch_dtype=dtype, local_files_only=True
    )
    return unet


def load_vae(path: Path, dtype: torch.dtype) -> AutoencoderKL:
    """A VAE alone, in either layout, with or without ``first_stage_model.`` before its keys."""
    recognised(path, "vae")
    with told(path, "a VAE"):
        return _vae(load_state(path), dtype)


def _vae(state: State, dtype: torch.dtype) -> AutoencoderKL:
    vae: AutoencoderKL = AutoencoderKL.from_single_file(state, config=str(SD15), subfolder="vae", torch_dtype=dtype, local_files_only=True)
    return vae


def load_text_encoder(path: Path, dtype: torch.dtype) -> CLIPTextModel:
    recognised(path, "text_encoder")
    with told(path, "a text encoder"):
        return _text_encoder(load_state(path), "", dtype)


def _text_encoder(state: State, prefix: str, dtype: torch.dtype) -> CLIPTextModel:
    inside = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix) and "position_ids" not in key}
    config = CLIPTextConfig.from_pretrained(SD15 / "text_encoder")
    text: CLIPTextModel = CLIPTextModel.from_pretrained(None, config=config, state_dict=inside, dtype=dtype)
    return text


def load_motion(path: Path, dtype: torch.dtype) -> MotionAdapter:
    """Motion modules in AnimateDiff's layout or diffusers': v1, v2, v3, AnimateLCM and their few-step descendants.

    The positions are sines (AnimateDiff's paper, appendix); where a file leaves them out, as AnimateLCM's does, they are made anew.
    """
    found = recognised(path, "motion_adapter")
    with told(path, "a motion module"):
        state = load_state(path)
        if found.layout == "original":
            state = convert_animatediff_checkpoint_to_diffusers(state)
        frames = int(found.facts["frames"])
        adapter = MotionAdapter(use_motion_mid_block=found.facts["middle"] == "yes", motion_max_seq_length=frames)
        missing, unexpected = adapter.load_state_dict(state, strict=False, assign=True)
        if missing := [key for key in missing if not key.endswith("pos_embed.pe")]:
            raise MethodError(f"{path} lacks {missing[0]} and {len(missing) - 1} more of a motion module's weights; download it again.")
        if unexpected:
            raise MethodError(f"{path} holds {unexpected[0]}, which no motion module for SD 1.5 has.")
    return adapter.to(dtype)


def load_upscaler(path: Path, dtype: torch.dtype) -> Upscaler:
    """ESRGAN's family: Real-ESRGAN's RRDB networks by our own, every other layout by spandrel where that is installed."""
    found = recognised(path, "upscaler")
    if found.layout != "esrgan":
        return SpandrelUpscaler.load(path, dtype)
    with told(path, "an upscaler"):
        state = load_state(path)
        features, growth = state["conv_first.weight"].shape[0], state["body.0.rdb1.conv1.weight"].shape[0]
        blocks = len({key.split(".")[1] for key in state if key.startswith("body.")})
        network = RRDBNet(int(found.facts["scale"]), features, blocks, growth)
        network.load_state_dict(state, assign=True)
    upscaler: Upscaler = network.to(dtype).eval()
    return upscaler


def load_controlnet(path: Path, dtype: torch.dtype) -> ControlNetModel:
    recognised(path, "controlnet")
    with told(path, "a ControlNet"):
        network: ControlNetModel = ControlNetModel.from_single_file(
            load_state(path), config=str(SD15), subfolder="controlnet", torch_dtype=dtype, local_files_only=True
        )
    return network
