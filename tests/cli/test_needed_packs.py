"""A job whose pack is not there, or cannot do one of its stages, is refused before it is enqueued."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from vcd_studio.catalog.packs import NEEDED, POCKET
from vcd_studio.jobs.store import Store
from vcd_studio.project.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.create(tmp_path / "film", pack="mine")
    tokens = tmp_path / "tokens.safetensors"
    save_file({"emb_params": torch.zeros(4, 128)}, tokens)
    for name, noun in (("rex", "dog"), ("ann", "woman")):
        project.import_identity(name, noun, consent=True if name == "ann" else None).import_run(tokens, tokens)
    return project


@pytest.fixture
def pack(studio_home: Path) -> Path:
    """Draws, and has a face detector for people alone."""
    folder = studio_home / "data" / "packs" / "mine"
    for part in NEEDED:
        shutil.copytree(POCKET / part, folder / part)
    (folder / "yunet.onnx").write_bytes(b"\x08")
    (folder / "pack.toml").write_text('[parts]\nfaces = "yunet.onnx"\n')
    return folder


def jobs() -> int:
    with Store() as store:
        return len(store.jobs())


@pytest.mark.parametrize("verb", [["generate"], ["identity", "train"], ["identity", "segment"]])
def test_a_pack_that_is_not_here(verb: list[str], project: Project, studio: Any) -> None:
    words = ["--prompt", "a <rex> dog"] if verb == ["generate"] else ["rex"]
    said = studio(*verb, str(project.path), *words)
    assert said.code == 2
    assert 'The pack "mine" is not on this machine' in said.err
    assert jobs() == 0


def test_faces_that_the_pack_cannot_find(project: Project, pack: Path, studio: Any) -> None:
    said = studio("generate", str(project.path), "--prompt", "a <rex> dog", "--dry-run")
    assert said.code == 2
    assert "The pack mine has no grounding to find heads by, so the stage face cannot run for a dog; leave it out" in said.err
    assert studio("generate", str(project.path), "--prompt", "a <rex> dog", "--stages", "t2v,tiled", "--dry-run").code == 0
    assert studio("generate", str(project.path), "--prompt", "an <ann> woman", "--dry-run").code == 0
    (pack / "pack.toml").unlink()
    said = studio("generate", str(project.path), "--prompt", "an <ann> woman", "--dry-run")
    assert "has no face detector (YuNet)" in said.err


def test_without_a_worker_another_machine_may_have_it(project: Project, studio: Any) -> None:
    assert studio("generate", str(project.path), "--prompt", "a dog", "--no-worker").code == 0
    assert jobs() == 1
