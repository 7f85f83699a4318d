"""Full-size files in their published layouts become whole networks, every weight where it belongs, with nothing fetched."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTokenizer

from tests.catalog import layouts
from vcd_studio.method.protocols import MethodError
from vcd_studio.models.single_files import SD15, load_base, load_controlnet, load_motion, load_state, load_unet, load_vae

HALF = torch.float16


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> NoReturn:
        pytest.fail("something was to be fetched")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def filled(shapes: layouts.Shapes) -> dict[str, torch.Tensor]:
    """Every tensor full of a number of its own, exact in 16 bits."""
    return {
        key: torch.full(shape, index % 2048, dtype=torch.int64 if key.endswith("position_ids") else HALF)
        for index, (key, shape) in enumerate(shapes.items())
    }


def write(path: Path, shapes: layouts.Shapes) -> dict[str, torch.Tensor]:
    state = filled(shapes)
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "global_step": 7}, path)
    return state


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder whose gigabytes go at once."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def value(network: nn.Module, name: str) -> float:
    """What a parameter is full of."""
    parameter = network.get_parameter(name)
    assert not parameter.is_meta
    assert parameter.min() == parameter.max()
    return float(parameter.detach().flatten()[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["base.safetensors", "base.ckpt"])
def test_a_checkpoint_gives_its_three_networks(name: str, place: Path) -> None:
    state = write(place / name, layouts.sd15())
    unet, vae, text = load_base(place / name, HALF)
    assert vae is not None
    assert text is not None
    for network, ours, theirs in (
        (unet, "conv_in.weight", "model.diffusion_model.input_blocks.0.0.weight"),
        (unet, "down_blocks.1.downsamplers.0.conv.bias", "model.diffusion_model.input_blocks.6.0.op.bias"),
        (unet, "mid_block.attentions.0.transformer_blocks.0.attn2.to_v.weight",
         "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_v.weight"),
        (unet, "up_blocks.3.attentions.2.proj_out.weight", "model.diffusion_model.output_blocks.11.1.proj_out.weight"),
        (vae, "encoder.down_blocks.3.resnets.1.conv2.weight", "first_stage_model.encoder.down.3.block.1.conv2.weight"),
        (vae, "decoder.up_blocks.0.resnets.0.norm1.bias", "first_stage_model.decoder.up.3.block.0.norm1.bias"),
        (vae, "decoder.mid_block.attentions.0.to_out.0.bias", "first_stage_model.decoder.mid.attn_1.proj_out.bias"),
    ):  # fmt: skip
        assert value(network, ours) == state[theirs].flatten()[0]
    spoken = "text_model.encoder.layers.11.mlp.fc2.weight"
    (ours,) = [key for key, _ in text.named_parameters() if key.endswith(spoken.removeprefix("text_model."))]
    assert value(text, ours) == state["cond_stage_model.transformer." + spoken].flatten()[0]
    assert {parameter.dtype for network in (unet, vae, text) for parameter in network.parameters()} == {HALF}
    assert not any(tensor.is_meta for network in (unet, vae, text) for tensor in (*network.parameters(), *network.buffers()))


@pytest.mark.slow
def test_of_a_checkpoint_with_averaged_weights_the_last_ones_are_taken(place: Path) -> None:
    shapes = layouts.sd15(ema=True, vae=False, text=False)
    state = write(place / "base.safetensors", shapes)
    unet, vae, text = load_base(place / "base.safetensors", HALF)
    assert vae is text is None
    assert value(unet, "conv_in.weight") == state["model.diffusion_model.input_blocks.0.0.weight"].flatten()[0]
    assert value(unet, "conv_in.weight") != state["model_ema.diffusion_modelinput_blocks00weight"].flatten()[0]
    save_file(unet.state_dict(), place / "unet.safetensors")
    alone = load_unet(place / "unet.safetensors", HALF)
    assert all(torch.equal(a, b) for a, b in zip(unet.parameters(), alone.parameters(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v1", "v2", "v3", "lcm"])
def test_motion_modules_and_their_positions(version: str, place: Path) -> None:
    name = "motion.ckpt" if version == "v2" else "motion.safetensors"
    state = write(place / name, layouts.animatediff(version))
    adapter = load_motion(place / name, HALF)
    theirs = "down_blocks.0.motion_modules.1.temporal_transformer.transformer_blocks.0.attention_blocks.1.to_q.weight"
    assert value(adapter, "down_blocks.0.motion_modules.1.transformer_blocks.0.attn2.to_q.weight") == state[theirs].flatten()[0]
    assert adapter.config.use_motion_mid_block == (version == "v2")
    positions = adapter.down_blocks[0].motion_modules[0].transformer_blocks[0].pos_embed.pe
    assert positions.shape[1] == (24 if version == "v1" else 32)
    angle = torch.arange(positions.shape[1])
    assert torch.allclose(positions[0, :, 0].float(), angle.sin(), atol=1e-3)
    again = place / "again"
    adapter.save_pretrained(again)
    back = load_motion(again / "diffusion_pytorch_model.safetensors", HALF)
    assert all(torch.equal(a, b) for a, b in zip(adapter.parameters(), back.parameters(), strict=True))


@pytest.mark.slow
def test_a_controlnet_and_a_vae(place: Path) -> None:
    state = write(place / "tile.safetensors", layouts.controlnet())
    network = load_controlnet(place / "tile.safetensors", HALF)
    assert value(network, "controlnet_cond_embedding.conv_out.bias") == state["control_model.input_hint_block.14.bias"].flatten()[0]
    assert value(network, "controlnet_mid_block.weight") == state["control_model.middle_block_out.0.weight"].flatten()[0]
    state = write(place / "vae.safetensors", layouts.ldm_vae())
    vae = load_vae(place / "vae.safetensors", HALF)
    assert value(vae, "quant_conv.bias") == state["quant_conv.bias"].flatten()[0]
    assert vae.config.scaling_factor == 0.18215


@pytest.mark.parametrize(
    ("load", "shapes", "says"),
    [
        (load_base, layouts.sdxl(), "is an SDXL checkpoint; an SD 1.5 checkpoint is needed."),
        (load_base, layouts.ldm_vae(), "is a VAE; an SD 1.5 checkpoint is needed."),
        (load_motion, {"conv_in.weight": (3, 3)}, "cannot be used: a motion module for SD 1.5 is needed, and its keys are of no layout"),
    ],
)
def test_a_wrong_file_is_called_by_its_name(load: Any, shapes: layouts.Shapes, says: str, tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors", shapes)
    with pytest.raises(MethodError, match=says):
        load(tmp_path / "a.safetensors", HALF)


class Hostile:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        return Path.touch, (self.victim,)


def test_nothing_in_a_hostile_checkpoint_is_run(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1)}, "x": Hostile(tmp_path / "victim")}, tmp_path / "a.ckpt")
    with pytest.raises(MethodError, match="nothing in it was run"):
        load_state(tmp_path / "a.ckpt")
    assert not (tmp_path / "victim").exists()


def test_the_tokenizer_speaks_as_clips_does() -> None:
    tokenizer = CLIPTokenizer.from_pretrained(SD15 / "tokenizer")
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert len(tokenizer) == 49408
    assert tokenizer.pad_token == "<|endoftext|>"
    assert tokenizer.model_max_length == 77
