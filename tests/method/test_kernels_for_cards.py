"""Every kernel, as the layers call it, made ready for cards that are not here: what Triton's interpreter lets pass, a compiler may not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="torch's builds for NVIDIA cards on Linux bring it")

CARDS = {80: "Ampere", 90: "Hopper"}
"""By compute capability."""
FEW = 16
"""Bytes of a thread that may lie in the card's memory for want of registers."""


@pytest.mark.slow
@pytest.mark.parametrize("capability", CARDS)
def test_kernels_are_made_for(capability: int) -> None:
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, Path(__file__), str(capability)], env=env, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    made = dict(line.split() for line in done.stdout.splitlines())
    assert made.keys() == {
        "channel_sums", "group_scales", "scaled", "gradient_sums", "gradient_scales", "gradient", "layer_norm", "gated", "interleaved",
        "widened", "moved", "powers", "frame_attention",
    }  # fmt: skip
    assert all(int(spilt) <= FEW for spilt in made.values()), made


def make_them(capability: int) -> None:
    """Says each kernel's name, and the bytes that a thread of it keeps in memory for want of registers."""
    import torch
    import triton
    from torch import nn
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from vcd_studio.method.fused import group_norm, kernels, layers

    spilt: dict[str, int] = {}

    def kind(value: Any) -> str:
        if isinstance(value, torch.Tensor):
            return {torch.float16: "*fp16", torch.float32: "*fp32"}[value.dtype]
        return "i32" if isinstance(value, int) else "fp32"

    class Made:
        """In a kernel's place: made for the card by what it is called with, and not run."""

        def __init__(self, kernel: Any) -> None:
            self.kernel = kernel

        def __getitem__(self, grid: tuple[int, ...]) -> Any:
            return self.call

        def call(self, *given: Any, num_warps: int = 4, **constants: Any) -> None:
            names = self.kernel.arg_names
            signature = {**dict(zip(names, map(kind, given), strict=False)), **dict.fromkeys(constants, "constexpr")}
            even = [value % 16 == 0 if isinstance(value, int) else isinstance(value, torch.Tensor) for value in given]
            attributes = {(at,): [["tt.divisibility", 16]] for at, is_even in enumerate(even) if is_even}
            source = ASTSource(self.kernel, {name: signature[name] for name in names}, constants, attributes)
            made = compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": num_warps})
            name = self.kernel.fn.__name__
            spilt[name] = max(spilt.get(name, 0), _spilt(made.asm["cubin"], Path(triton.__file__).parent))

    class Kernels:
        def __getattr__(self, name: str) -> Any:
            return Made(getattr(kernels, name))

    for module in (layers, group_norm):
        setattr(module, "kernels", Kernels)  # noqa: B010
        setattr(module, "on_card", lambda x: True)  # noqa: B010
    x = torch.zeros(2, 320, 16, 16, dtype=torch.float16).to(memory_format=torch.channels_last)
    norm, conv, tokens = nn.GroupNorm(32, 320).half(), torch.zeros(320, 320, 3, 3), torch.zeros(2, 256, 320, dtype=torch.float16)
    bias = torch.zeros(320, dtype=torch.float16)
    with torch.inference_mode():
        group_norm.group_norm(x, norm, silu=True, shift=torch.zeros(2, 320, dtype=torch.float16))
        group_norm.group_norm([x, x[:, :160]], nn.GroupNorm(32, 480).half())
        group_norm.add(x, x, bias)
        for more in ({}, {"residual": tokens}, {"residual": tokens, "more": bias}, {"places": tokens[0, :2], "cells": 256}):
            layers.layer_norm(tokens, nn.LayerNorm(320).half(), **more)
        layers.layer_norm(torch.zeros(2, 64, 1280, dtype=torch.float16), nn.LayerNorm(1280).half())
        layers.gated(torch.zeros(2, 256, 2560, dtype=torch.float16))
        layers.doubled(x.float(), layers.phases(conv), bias.float())
        layers.widened(x[:, :64], x[:, :32], bias[:32], 0.2)
        layers.moved(x, x, bias, 0.2)
        for cells in (256, 4096, 16384, 32768):
            layers.kernels().powers[1,](
                torch.zeros(1), bias, torch.zeros(1), cells, 0.1, WIDTH=cells, num_warps=max(4, min(32, cells // 512))
            )
        for size in (40, 80, 160):
            layers.frame_attention(*torch.zeros(3, 1, 16, 64, 8 * size, dtype=torch.float16), heads=8)
    learning = x.clone().requires_grad_()
    group_norm.group_norm(learning, norm.requires_grad_(False), silu=True).sum().backward()
    print("\n".join(f"{name} {count}" for name, count in spilt.items()))


def _spilt(cubin: bytes, triton: Path) -> int:
    """Bytes of a thread's stack, out of what NVIDIA's own tool says of a program."""
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        tool = triton / "backends" / "nvidia" / "bin" / "cuobjdump"
        said = subprocess.run([tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True).stdout
    return int(said.split("STACK:")[1].split()[0])


if __name__ == "__main__":
    make_them(int(sys.argv[1]))
