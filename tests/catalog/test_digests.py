"""Hashes of weights, and those of large files kept from one process to the next."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vcd_studio.catalog import digests
from vcd_studio.catalog.digests import KNOWN, hashes, sha256_of
from vcd_studio.catalog.packs import Pack


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pack:
    monkeypatch.setattr(digests, "WORTH_KEEPING", 100)
    (tmp_path / "large.safetensors").write_bytes(b"x" * 200)
    (tmp_path / "small.safetensors").write_bytes(b"x")
    return Pack("mine", tmp_path / "folder", parts={"base": tmp_path / "large.safetensors", "vae": tmp_path / "small.safetensors"})


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read."""
    names: list[str] = []

    def noted(path: Path) -> str:
        names.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr(digests, "sha256_of", noted)
    return names


def test_a_large_file_is_read_once_and_again_when_it_changes(pack: Pack, read: list[str], tmp_path: Path) -> None:
    first = hashes(pack, tmp_path / "cache")
    assert read == ["large.safetensors", "small.safetensors"]
    assert hashes(pack, tmp_path / "cache") == first == hashes(pack)
    assert read[2:4] == ["small.safetensors", "large.safetensors"]  # without a cache all are read
    large = pack.parts["base"]
    before = large.stat().st_mtime_ns
    large.write_bytes(b"y" * 200)
    os.utime(large, ns=(before + 1, before + 1))
    assert hashes(pack, tmp_path / "cache")["base/large.safetensors"] == sha256_of(large)


@pytest.mark.parametrize("left", [b"", b"{", b"[1]", b'{"a": 3}', b"\xff"])
def test_a_broken_cache_is_made_anew(left: bytes, pack: Pack, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / KNOWN).write_bytes(left)
    assert hashes(pack, tmp_path / "cache") == hashes(pack)
