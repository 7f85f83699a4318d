"""Compiled blocks: the same numbers, kept for the next process, and a machine that cannot compile goes on without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_pack import tiny_networks

from vcd_studio.method.attention import RememberingProcessor, remembered_prompts
from vcd_studio.method.one_dnn import by_one_dnn
from vcd_studio.worker import compiling
from vcd_studio.worker.compiling import blocks_of, compile_blocks
from vcd_studio.worker.networks import NetworkKeeper

IN_ANOTHER_PROCESS = f"""
import sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[1] / "method")!r})
from vcd_studio.worker.networks import NetworkKeeper
keeper = NetworkKeeper("cpu", compile="on")
import torch
from tiny import tiny_networks
from torch._dynamo.utils import counters
from vcd_studio.method.conditioning import condition
from vcd_studio.method.sampling import Sampling
from vcd_studio.method.text_to_video import text_to_video
from vcd_studio.worker import compiling

torch.set_num_threads(1)
networks, sampling = tiny_networks(), Sampling(steps=2)
outer = networks.motion_unet.down_blocks[0]
one_of_each = {{outer.resnets[0], outer.attentions[0].transformer_blocks[0], outer.motion_modules[0].transformer_blocks[0]}}
assert one_of_each < set(compiling.blocks_of(networks))
compiling.blocks_of = lambda _: one_of_each  # a compiler would be at work for minutes
words = condition(networks, "a dog running in the snow")
plain = text_to_video(networks, words, sampling, frames=2)
made = [text_to_video(keeper.compiled(networks, print), words, sampling, frames=2) for _ in range(2)]
apart = max(abs(plain.astype(int) - each).max() for each in made)
print(apart, counters["inductor"]["fxgraph_cache_miss"], counters["inductor"]["fxgraph_cache_hit"])
"""


@pytest.mark.slow  # a compiler is at work
def test_compiled_blocks_make_the_same_clip_and_a_second_process_finds_them(tmp_path: Path) -> None:
    environment = {**os.environ, "VCD_HOME": str(tmp_path)}
    environment.pop("TORCHINDUCTOR_CACHE_DIR", None)
    counts = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", IN_ANOTHER_PROCESS], env=environment, capture_output=True, text=True, check=True)
        said, numbers = done.stdout.splitlines()
        apart, missed, found = map(int, numbers.split())
        assert said == compiling.COMPILES
        assert apart <= 1
        counts.append((missed > 0, found > 0))
    assert counts == [(True, False), (False, True)]
    assert (tmp_path / "cache" / "compiled").is_dir()


def test_what_compiled_blocks_call_is_not_replaced() -> None:
    networks = compile_blocks(tiny_networks())
    before = {block: vars(block).get("forward") for block in networks.motion_unet.modules()}
    with remembered_prompts(networks.motion_unet, networks.unet), by_one_dnn(networks.motion_unet):
        assert not any(isinstance(each, RememberingProcessor) for each in networks.motion_unet.attn_processors.values())
        assert any(isinstance(each, RememberingProcessor) for each in networks.unet.attn_processors.values())
        assert {block: vars(block).get("forward") for block in networks.motion_unet.modules()} == before


@pytest.mark.parametrize(("wanted", "device", "asked"), [("off", "cuda:0", 0), ("auto", "cpu", 0), ("auto", "cuda:0", 1), ("on", "cpu", 1)])
def test_a_machine_that_cannot_compile_says_so_once_and_goes_on(
    wanted: str, device: str, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions: list[str] = []
    monkeypatch.setattr(compiling, "compiler_refuses", lambda device: questions.append(device) or "no C++ compiler was found")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/kept/elsewhere")
    keeper, said, networks = NetworkKeeper(device, compile=wanted), list[str](), tiny_networks()
    for _ in range(3):
        assert keeper.compiled(networks, said.append) is networks
    assert len(questions) == asked
    assert said == ["nothing is compiled on this machine: no C++ compiler was found"] * asked
    assert all(block._compiled_call_impl is None for block in blocks_of(networks))


def test_a_compiler_that_is_not_there_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", (str(tmp_path / "no-such-compiler"),))
    torch._dynamo.reset()
    assert "compiler" in (compiling.compiler_refuses("cpu") or "")
