"""Headers say what torch and safetensors wrote; what is broken, foreign or hostile gets one sentence, and nothing in it is run."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from vcd_studio.catalog.headers import Tensor, WeightsError, read_header

STATE = {
    "a.weight": torch.zeros(2, 3), "a.bias": torch.zeros(2, dtype=torch.float16), "b": torch.zeros((), dtype=torch.bfloat16),
    "ids": torch.zeros(1, 4, dtype=torch.int64),
}  # fmt: skip
TENSORS = {"a.weight": Tensor((2, 3), "F32"), "a.bias": Tensor((2,), "F16"), "b": Tensor((), "BF16"), "ids": Tensor((1, 4), "I64")}


def test_safetensors_and_their_metadata(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "a.safetensors", metadata={"ss_base_model_version": "sd_v1"})
    header = read_header(tmp_path / "a.safetensors")
    assert header.container == "safetensors"
    assert header.tensors == TENSORS
    assert header.metadata == {"ss_base_model_version": "sd_v1"}


@pytest.mark.parametrize("first", [0x80, 0x50, 0x1F])
def test_a_header_whose_length_begins_like_another_format(first: int, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(STATE, path)
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    more = (first - length) % 256  # a header may end in spaces
    path.write_bytes((length + more).to_bytes(8, "little") + whole[8 : 8 + length] + b" " * more + whole[8 + length :])
    assert path.read_bytes()[0] == first
    assert read_header(path).tensors == TENSORS


@pytest.mark.parametrize(("zipped", "container"), [(True, "zip"), (False, "pickle")])
def test_what_torch_saves_now_and_what_it_once_did(zipped: bool, container: str, tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "a.ckpt", _use_new_zipfile_serialization=zipped)
    header = read_header(tmp_path / "a.ckpt")
    assert (header.container, header.tensors) == (container, TENSORS)


def test_a_state_dict_of_a_network_with_all_that_hangs_on_it(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 5))
    torch.save({"state_dict": network.state_dict(), "epoch": 3, "optimizer": [{"lr": np.float64(0.1)}]}, tmp_path / "a.pt")
    shapes = {f"state_dict.{key}": tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    assert read_header(tmp_path / "a.pt").shapes == shapes


def test_parameters_and_tensors_that_share_a_storage(tmp_path: Path) -> None:
    whole = torch.zeros(6, 4)
    state = OrderedDict(p=torch.nn.Parameter(torch.ones(3)), first=whole[:2], second=whole[2:].t())
    torch.save(state, tmp_path / "a.pt")
    assert read_header(tmp_path / "a.pt").shapes == {"p": (3,), "first": (2, 4), "second": (4, 4)}


def test_a_dict_of_parameters_as_old_embeddings_have(tmp_path: Path) -> None:
    rows = torch.nn.ParameterDict({"*": torch.nn.Parameter(torch.zeros(2, 768))})
    torch.save({"string_to_param": rows, "name": "cat"}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    assert read_header(tmp_path / "a.pt").shapes == {"string_to_param.*": (2, 768)}


class Hostile:
    def __init__(self, call: Any, *given: Any) -> None:
        self._call = call, given

    def __reduce__(self) -> Any:
        return self._call


@pytest.mark.parametrize("place", ["inside", "whole"])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_refused_and_not_run(place: str, zipped: bool, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    hostile = Hostile(os.system, f"touch {victim}")
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": STATE, "x": hostile} if place == "inside" else hostile, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"model\.ckpt holds more than weights \((posix|nt)\.system, .*nothing in it was run"):
        read_header(path)
    assert not victim.exists()


@pytest.mark.parametrize("call", [eval, exec, __import__, getattr, open, torch.load, os.getcwd])
def test_no_builtin_gets_through(call: Any, tmp_path: Path) -> None:
    torch.save({"x": Hostile(call, "1")}, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="nothing in it was run"):
        read_header(tmp_path / "a.pt")


def test_a_pickle_that_torch_did_not_write(tmp_path: Path) -> None:
    (tmp_path / "a.ckpt").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(WeightsError, match="a pickle, but none that torch wrote"):
        read_header(tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><title>Sign in</title>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "a Git LFS pointer"),
        (b"GGUF\x03\x00\x00\x00", "a GGUF file"),
        (b"\x1f\x8b\x08\x00rest", "a packed archive"),
        (b"hello, I am no model at all", "no file of weights"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00not json, though", "no file of weights"),
        (b"\x08\x00\x00\x00\x00\x00\x00\x00{\"a\": 1}", "no file of weights"),
        (b"\x00", "no file of weights"),
    ],
)
def test_what_is_no_weights_is_called_what_it_is(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "sd15.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=says) as raised:
        read_header(path)
    assert str(path) in str(raised.value)


def test_a_zip_without_weights_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.ckpt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(WeightsError, match="a zip file without weights in it"):
        read_header(tmp_path / "a.ckpt")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_header(tmp_path / "missing.ckpt")


@pytest.mark.parametrize("kind", ["safetensors", "zip", "pickle"])
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.999), where=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_cut_off_or_damaged_anywhere_it_says_so_or_reads(kind: str, share: float, where: int, byte: int, tmp_path: Path) -> None:
    path = tmp_path / f"{kind}.weights"
    if kind == "safetensors":
        save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    if kind == "pickle":  # its numbers come last, and are not looked at
        _read_or_refuse(path)
    else:
        with pytest.raises(WeightsError):
            read_header(path)
    damaged = bytearray(whole)
    damaged[where % len(whole)] = byte
    path.write_bytes(bytes(damaged))
    _read_or_refuse(path)


def _read_or_refuse(path: Path) -> None:
    with suppress(WeightsError):
        read_header(path)
