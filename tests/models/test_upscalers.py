"""ESRGAN's layouts, new and old: one network, whichever keys its file has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from vcd_studio.method.protocols import MethodError
from vcd_studio.models.rrdbnet import RRDBNet
from vcd_studio.models.single_files import load_upscaler

BLOCKS = 2


def network(scale: int = 4) -> RRDBNet:
    torch.manual_seed(0)
    return RRDBNet(scale, 16, BLOCKS, 32).eval()


FIRST_RELEASE = {
    "conv_first": "model.0", "conv_body": f"model.1.sub.{BLOCKS}", "conv_up1": "model.3", "conv_up2": "model.6", "conv_hr": "model.8",
    "conv_last": "model.10",
}  # fmt: skip
RESEARCH = {
    "conv_first": "conv_first", "conv_body": "trunk_conv", "conv_up1": "upconv1", "conv_up2": "upconv2", "conv_hr": "HRconv",
    "conv_last": "conv_last",
}  # fmt: skip


def old_key(key: str, names: dict[str, str], block: str) -> str:
    layer, _, kind = key.rpartition(".")
    inside = re.fullmatch(r"body\.(\d+)\.rdb(\d)\.conv(\d)", layer)
    return f"{block.format(*inside.groups()) if inside else names[layer]}.{kind}"


@pytest.mark.parametrize("layout", ["params_ema", "params", "bare", "first release", "research"])
def test_every_layout_upscales_alike(layout: str, tmp_path: Path) -> None:
    if layout in ("first release", "research"):
        pytest.importorskip("spandrel")
    known = network()
    state = known.state_dict()
    if layout == "first release":
        state = {old_key(key, FIRST_RELEASE, "model.1.sub.{}.RDB{}.conv{}.0"): value for key, value in state.items()}
    elif layout == "research":
        state = {old_key(key, RESEARCH, "RRDB_trunk.{}.RDB{}.conv{}"): value for key, value in state.items()}
    torch.save({layout: state} if layout.startswith("params") else state, tmp_path / "x4.pth")
    loaded = load_upscaler(tmp_path / "x4.pth", torch.float32)
    frames = torch.rand(2, 3, 12, 10) * 2 - 1
    assert loaded.scale == 4
    assert torch.allclose(loaded.upscale(frames), known.upscale(frames), atol=1e-5)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_the_scale_is_told_by_the_entrance(scale: int, tmp_path: Path) -> None:
    torch.save({"params_ema": network(scale).state_dict()}, tmp_path / "a.pth")
    assert load_upscaler(tmp_path / "a.pth", torch.float32).scale == scale


def test_what_spandrel_cannot_read_is_named(tmp_path: Path) -> None:
    pytest.importorskip("spandrel")
    torch.save({"RRDB_trunk.0.RDB1.conv1.weight": torch.zeros(1, 1, 1, 1)}, tmp_path / "a.pth")
    with pytest.raises(MethodError, match=r"a\.pth cannot be loaded as an upscaler"):
        load_upscaler(tmp_path / "a.pth", torch.float32)
