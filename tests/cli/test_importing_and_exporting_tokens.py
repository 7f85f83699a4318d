"""``identity import`` takes what other trainers made, ``identity export`` gives what other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from vcd_studio.method.conditioning import condition
from vcd_studio.method.id_tokens import IdTokens
from vcd_studio.models import load_pack
from vcd_studio.project.project import Project

ROWS = torch.randn((3, 128), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "film")


def write(path: Path, form: str) -> Path:
    """The forms in which embeddings are published."""
    if form == "diffusers.safetensors":
        save_file({"<rex>": ROWS}, path)
    elif form == "a1111.safetensors":
        save_file({"emb_params": ROWS}, path)
    elif form == "a1111.pt":
        torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": ROWS}, "name": "rex", "step": 400}, path)
    elif form == "old a1111.pt":
        shown = torch.nn.ParameterDict({"*": torch.nn.Parameter(ROWS)})
        torch.save({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": shown}, path)
    elif form == "torch 1.5's.pt":
        torch.save({"string_to_param": {"*": ROWS}}, path, _use_new_zipfile_serialization=False)
    else:
        torch.save({"<rex>": ROWS}, path)
    return path


FORMS = ("diffusers.safetensors", "a1111.safetensors", "a1111.pt", "old a1111.pt", "torch 1.5's.pt", "diffusers.bin")


@pytest.mark.parametrize("form", FORMS)
def test_every_published_form_becomes_an_identitys_run(form: str, project: Project, studio: Any, tmp_path: Path) -> None:
    file = write(tmp_path / form.replace(" ", "-"), form)
    said = studio("identity", "import", str(project.path), "rex", str(file), "--noun", "dog", "--json")
    assert said.code == 0, said.err
    (run,) = said.json["runs"]
    assert run["used"]
    assert run["finished"]
    tokens = IdTokens.load(Path(run["tokens"]))
    assert (tokens.token, tokens.noun) == ("<rex>", "dog")
    assert torch.equal(tokens.embeddings, ROWS)
    assert project.identity("rex").latest_tokens().record()["imported_from"] == file.name
    wrong = studio("identity", "import", str(project.path), "rex", str(file), "--noun", "cat")
    assert wrong.code == 2
    assert "<rex> is a dog here, not a cat" in wrong.err
    again = studio("identity", "import", str(project.path), "rex", str(file), "--noun", "dog", "--json")
    assert [(run["name"], run["used"]) for run in again.json["runs"]] == [("run-001", False), ("run-002", True)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"emb_params": torch.zeros(2, 1024)}, "is a textual inversion for SD 2; ID tokens are a textual inversion for SD 1.5"),
        ({"clip_l": torch.zeros(2, 768), "clip_g": torch.zeros(2, 1280)}, "is a textual inversion for SDXL"),
        ({"a": torch.zeros(2, 128), "b": torch.zeros(2, 128)}, "not the tokens of one text encoder"),
    ],
)
def test_what_is_no_embedding_is_refused_and_no_identity_is_made(
    content: dict[str, torch.Tensor], says: str, project: Project, studio: Any, tmp_path: Path
) -> None:
    save_file(content, tmp_path / "a.safetensors")
    said = studio("identity", "import", str(project.path), "rex", str(tmp_path / "a.safetensors"), "--noun", "dog")
    assert said.code == 2
    assert says in said.err
    assert project.identity_names() == []


def test_a_person_is_asked_about_here_too(project: Project, studio: Any, tmp_path: Path) -> None:
    file = write(tmp_path / "a.safetensors", "a1111.safetensors")
    said = studio("identity", "import", str(project.path), "ann", str(file), "--noun", "woman")
    assert said.code == 2
    assert project.identity_names() == []
    assert studio("identity", "import", str(project.path), "ann", str(file), "--noun", "woman", "--consent").code == 0


@pytest.fixture
def rex(project: Project, studio: Any, tmp_path: Path) -> Project:
    file = write(tmp_path / "rex-in.safetensors", "a1111.safetensors")
    assert studio("identity", "import", str(project.path), "rex", str(file), "--noun", "dog").code == 0
    return project


def test_diffusers_reads_the_exported_file_and_hears_what_we_hear(rex: Project, studio: Any, tmp_path: Path) -> None:
    said = studio("identity", "export", str(rex.path), "rex", "--format", "diffusers", "--out", str(tmp_path / "rex.safetensors"), "--json")
    assert said.code == 0, said.err
    theirs = load_pack("pocket")
    pipe = StableDiffusionPipeline(
        theirs.vae, theirs.text_encoder, theirs.tokenizer, theirs.unet, theirs.scheduler, None, None, requires_safety_checker=False
    )
    pipe.load_textual_inversion(said.json["file"])
    heard, _ = pipe.encode_prompt("a <rex> dog running", "cpu", 1, False)
    ours = condition(load_pack("pocket"), "a <rex> running", tokens=[IdTokens("<rex>", "dog", ROWS)])
    assert torch.allclose(ours.positive, heard, atol=1e-6)


@pytest.mark.parametrize(("program", "writes"), [("comfyui", "embedding:mine dog"), ("a1111", '"a mine dog"')])
def test_comfyui_and_automatic1111_look_for_emb_params(program: str, writes: str, rex: Project, studio: Any, tmp_path: Path) -> None:
    out = tmp_path / "mine.safetensors"
    said = studio("identity", "export", str(rex.path), "rex", "--format", program, "--out", str(out))
    assert said.code == 0
    assert writes in said.out
    assert list(load_file(out)) == ["emb_params"]
    assert torch.equal(load_file(out)["emb_params"], ROWS)
    again = studio("identity", "export", str(rex.path), "rex", "--format", program, "--out", str(out))
    assert again.code == 2
    assert "is there already" in again.err


def test_who_has_no_tokens_cannot_be_exported(project: Project, studio: Any) -> None:
    project.import_identity("tom", "cat")
    said = studio("identity", "export", str(project.path), "tom", "--format", "a1111")
    assert said.code == 2
    assert "<tom> has no ID tokens yet" in said.err
