"""The tables of layouts.py are what was published: diffusers' converters make whole networks of them, no key over and none missing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, MotionAdapter, UNet2DConditionModel
from diffusers.loaders import single_file_utils as converters
from torch import nn
from transformers import BertConfig, BertTokenizer, CLIPTextConfig, CLIPTextModel

from tests.catalog import layouts

SD15_UNET = {"cross_attention_dim": 768, "attention_head_dim": 8, "sample_size": 64}


def made(kind: Any, **config: Any) -> Any:
    with torch.device("meta"):
        return kind(**config)


def empty(shapes: layouts.Shapes) -> dict[str, torch.Tensor]:
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def shapes_of(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def parameters(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in network.named_parameters()}


@pytest.mark.parametrize("ema", [False, True])
def test_a_whole_checkpoint(ema: bool) -> None:
    unet = made(UNet2DConditionModel, **SD15_UNET)
    state = empty(layouts.sd15(ema=ema))
    assert shapes_of(converters.convert_ldm_unet_checkpoint(dict(state), unet.config, extract_ema=ema)) == parameters(unet)
    vae = made(
        AutoencoderKL, down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[128, 256, 512, 512], layers_per_block=2,
    )  # fmt: skip
    converted = shapes_of(converters.convert_ldm_vae_checkpoint(dict(state), vae.config))
    assert {key: shape[:2] for key, shape in converted.items()} == {key: shape[:2] for key, shape in parameters(vae).items()}


def test_the_text_encoder() -> None:
    text = made(CLIPTextModel, config=CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12))
    table = {key.removeprefix("text_model."): shape for key, shape in layouts.clip_text().items() if not key.endswith("position_ids")}
    assert table == {key.removeprefix("text_model."): shape for key, shape in parameters(text).items()}


@pytest.mark.parametrize("version", ["v1", "v2", "v3", "lcm"])
def test_motion_modules(version: str) -> None:
    adapter = made(MotionAdapter, use_motion_mid_block=version == "v2", motion_max_seq_length=24 if version == "v1" else 32)
    assert shapes_of(converters.convert_animatediff_checkpoint_to_diffusers(empty(layouts.animatediff(version)))) == parameters(adapter)


def test_a_controlnet() -> None:
    network = made(ControlNetModel, cross_attention_dim=768, attention_head_dim=8)
    assert shapes_of(converters.convert_controlnet_checkpoint(empty(layouts.controlnet()), network.config)) == parameters(network)


@pytest.mark.parametrize("backbone", ["Swin-T", "Swin-B"])
def test_grounding_dino(backbone: str) -> None:
    grounding_dino = pytest.importorskip("vcd_studio.models.grounding_dino")
    pytest.importorskip("groundingdino")
    network = grounding_dino.build_original(grounding_dino.hyperparameters(backbone), BertConfig(), BertTokenizer())
    keys = {key: shape for key, shape in layouts.grounding_dino(backbone).items() if key not in grounding_dino.UNUSED}
    assert keys == shapes_of(network.state_dict())
