"""The networks a worker keeps: what they are loaded in, and that there is room for them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_pack import save_tiny_pack

from vcd_studio.method.protocols import MethodError
from vcd_studio.worker import networks
from vcd_studio.worker.networks import NetworkKeeper, set_up_device


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_pack(tmp_path_factory.mktemp("packs") / "tiny"))


@pytest.mark.parametrize(
    ("precision", "dtype"), [("auto", torch.float32), ("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_clips_are_made_as_the_settings_say_and_learning_in_32_bits(precision: str, dtype: torch.dtype, pack: str) -> None:
    keeper = NetworkKeeper("cpu", precision)
    assert keeper.loaded is None
    loaded = keeper.get(pack, print)
    assert loaded.dtype == dtype
    assert keeper.loaded == keeper.for_clips
    assert {parameter.dtype for parameter in loaded.motion_unet.parameters()} == {dtype}
    assert keeper.get(pack, print) is loaded
    assert keeper.get(pack, print, precise=True).dtype == torch.float32
    assert keeper.get(pack, print, frozen=True).dtype == torch.float32


def test_a_pack_that_finds_no_room_is_not_loaded(pack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "free_memory", lambda: 1000)
    with pytest.raises(MethodError, match=r"Loading the pack .* takes 0\.0 GB of memory, and 0\.0 GB are free; end other programs first"):
        NetworkKeeper("cpu").get(pack, print)


def test_on_a_card_the_plan_is_said_before_anything_is_loaded(pack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(networks, "set_up_device", lambda _: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 8 * 10**9))
    monkeypatch.setattr("vcd_studio.models.load_pack", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(MethodError, match=r"The card has 0\.0 GB free"):
        NetworkKeeper("cuda:0").get(pack, said.append)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (8 * 10**9, 8 * 10**9))
    monkeypatch.setattr("vcd_studio.models.load_pack", lambda *given: given)
    _, device, dtype, _, placement = NetworkKeeper("cuda:0").get(pack, said.append)
    assert (device, dtype, placement.aside) == ("cuda:0", torch.float16, ())
    assert said[-2].endswith("8.0 GB free: everything on the card")
    assert "without the studio's kernels: they are for NVIDIA cards since Ampere" in said[-1], "which torch does not see here"


@pytest.mark.parametrize(
    ("precision", "able", "dtype"),
    [("auto", True, torch.bfloat16), ("fp16", True, torch.bfloat16), ("auto", False, torch.float32), ("fp32", True, torch.float32)],
)
def test_what_frozen_networks_are_in_for_learning_on_a_card(
    precision: str, able: bool, dtype: torch.dtype, pack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "set_up_device", lambda _: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (8 * 10**9, 8 * 10**9))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: able)
    monkeypatch.setattr("vcd_studio.models.load_pack", lambda *given: given)
    keeper = NetworkKeeper("cuda:0", precision)
    learning = keeper.get(pack, print, frozen=True)
    assert learning[2] == dtype
    assert keeper.get(pack, print, frozen=True) is learning
    assert keeper.get(pack, print, precise=True)[2] == torch.float32
    keeper.precision = "bf16"
    learning = keeper.get(pack, print, frozen=True)
    assert keeper.get(pack, print) is not learning, "whose text encoder learning has put into fp32"


@pytest.mark.parametrize("told", [None, "/kept/elsewhere"])
def test_kernels_made_for_a_card_are_kept_for_later_workers(told: str | None, studio_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", told or "")
    if told is None:
        monkeypatch.delenv("TRITON_CACHE_DIR")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    set_up_device("cuda:0")
    assert os.environ["TRITON_CACHE_DIR"] == (told or str(studio_home / "cache" / "kernels"))


MEMORY = """
import psutil, resource, sys, torch
from vcd_studio.worker.networks import give_back_freed_memory, keep_freed_memory

def resident():
    return psutil.Process().memory_info().rss

def pass_over():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(6_000_000) for _ in range(6)]  # 24 MB each
    del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "kept":
    keep_freed_memory()
least = min(pass_over() for _ in range(8))  # the first ones may still find the heap too small
kept = resident()
give_back_freed_memory()
print(least, kept - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no mallopt")
@pytest.mark.slow  # two processes of torch
def test_freed_memory_is_kept_for_the_next_tensors_until_it_is_given_back() -> None:
    thrifty = {**os.environ, "MALLOC_TRIM_THRESHOLD_": str(1 << 20)}  # or glibc may come to keep it by itself, now and then
    least, given_back = {}, {}
    for how in ("kept", "not"):
        said = subprocess.run([sys.executable, "-c", MEMORY, how], env=thrifty, capture_output=True, text=True, check=True)
        least[how], given_back[how] = map(int, said.stdout.split())
    assert least["kept"] < 1000 < least["not"]
    assert given_back["kept"] > 100_000_000
