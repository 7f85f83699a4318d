# ruff: noqa: F811 (fixtures of test_worker_stages)
"""Identities that are weights: trained by the worker, resumed after a kill, worn by clips and taken off again."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tomli
import torch

sys.path.insert(0, str(Path(__file__).parent))

from test_worker_stages import QUICK, TRAINING, done, pack, project, work  # noqa: F401

from vcd_studio.jobs.enqueue import enqueue_plan, enqueue_train, plan_generate
from vcd_studio.jobs.model import Job
from vcd_studio.jobs.store import Store
from vcd_studio.locations import packs_dir
from vcd_studio.media.frames import load_frames
from vcd_studio.media.provenance import read_recipe
from vcd_studio.method.finetuning.weights import LowRank, NetworkWeights
from vcd_studio.method.id_tokens import IdTokens
from vcd_studio.project.project import Project

if TYPE_CHECKING:
    from conftest import WorkerProcess

WEIGHTS = {**TRAINING, "tokens": 1, "steps": 3, "learning_rate": 1e-2, "prior_pictures": 2, "preview_every": 0}
T2V = {**QUICK, "stages": ["t2v"], "preview_every": 0}


def learnt(store: Store, project: Project, method: str, **overrides: Any) -> Job:
    job = enqueue_train(store, project, "rex", {**WEIGHTS, "method": method, **overrides})
    work(store)
    return done(store, job)


def clip(store: Store, project: Project, text: str = "a <rex> running", **overrides: Any) -> Job:
    (job,) = enqueue_plan(store, project, plan_generate(project, text=text, seeds=[3], overrides={**T2V, **overrides}))
    work(store)
    return done(store, job)


def frames(job: Job) -> np.ndarray[Any, Any]:
    return np.stack(load_frames(Path(job.result["clip"]) / "stages" / "t2v" / "frames"))


@pytest.mark.parametrize("method", ["lora", "dreambooth", "custom-diffusion"])
def test_a_run_of_weights_is_whole_and_its_clips_wear_it(method: str, store: Store, project: Project) -> None:
    plain = clip(store, project, "a dog running")
    job = learnt(store, project, method)
    run = project.identity("rex").latest_run()
    assert run is not None
    assert run.has_tokens
    assert job.result["weights"] == str(run.weights_path)
    weights = NetworkWeights.load(run.weights_path)
    assert (weights.metadata["method"], weights.metadata["noun"], weights.metadata["token"]) == (method, "dog", "<rex>")
    assert weights.metadata["base_model_sha256"]
    assert run.record()["settings"]["method"] == method
    worn = clip(store, project)
    off = clip(store, project, weights_strength=0.0)
    half = clip(store, project, weights_strength=0.5)
    again = clip(store, project, "a dog running")
    assert len({frames(each).tobytes() for each in (worn, off, half)}) == 3
    assert np.array_equal(frames(again), frames(plain))  # the base is as it was
    assert any("wears the weights of rex" in event.text for event in store.events(worn.id))
    said = read_recipe(Path(half.result["clip"]) / "clip.mp4")
    assert f"weights {job.result['weights_sha256'][:12]} at 0.5" in str(said)


def test_a_lora_killed_with_9_ends_with_the_very_same_weights(
    store: Store,
    project: Project,
    worker_process: Callable[..., WorkerProcess],
) -> None:
    plan = {"steps": 30, "checkpoint_every": 5, "prior_weight": 0.5}
    unbroken = learnt(store, project, "lora", **plan)
    job = enqueue_train(store, project, "rex", {**WEIGHTS, "method": "lora", **plan})
    worker = worker_process("-m", "vcd_studio.worker", "--device", "cpu", "--once")
    worker.wait_for("step 10 of 30")
    worker.kill()
    work(store)
    broken = done(store, job)
    assert any("goes on from the checkpoint" in event.text for event in store.events(job.id))
    one, two = (NetworkWeights.load(Path(each.result["weights"])) for each in (unbroken, broken))
    for name, change in one.changes.items():
        other = two.changes[name]
        assert isinstance(change, LowRank)
        assert isinstance(other, LowRank)
        assert torch.equal(change.up, other.up)
        assert torch.equal(change.down, other.down)


def test_a_lora_beside_tokens_takes_them_along(store: Store, project: Project) -> None:
    tokens = learnt(store, project, "tokens", tokens=2).result
    lora = learnt(store, project, "lora", with_tokens=True).result
    one, two = (IdTokens.load(Path(result["tokens"])) for result in (tokens, lora))
    assert torch.equal(one.embeddings, two.embeddings)
    assert two.metadata["steps"] == "3"
    assert "weights" in lora
    with Path(tokens["tokens"]).open("ab") as file:
        file.write(b"more")
    frames(clip(store, project))  # the run has its own copy
    job = enqueue_train(store, project, "rex", {**WEIGHTS, "method": "lora", "with_tokens": True})
    with Path(tokens["tokens"]).open("ab") as file:
        file.write(b"and more")
    work(store)
    assert "have changed" in (store.job(job.id).error or "")


def test_weights_without_a_token_are_worn_and_called_by_their_noun(store: Store, project: Project) -> None:
    learnt(store, project, "lora")
    identity = project.identity("rex")
    run = identity.latest_run()
    assert run is not None
    (identity.new_run() / "weights.safetensors").write_bytes(run.weights_path.read_bytes())
    one, two, three = (clip(store, project, text) for text in ("a <rex> running", "a <rex> dog running", "a dog running"))
    assert np.array_equal(frames(one), frames(two))
    assert not np.array_equal(frames(one), frames(three))
    recipe = (Path(one.result["clip"]) / "clip.toml").read_text(encoding="utf-8")
    assert 'run = "run-002"' in recipe


def test_weights_that_changed_or_fit_another_base_are_refused(store: Store, project: Project) -> None:
    run = learnt(store, project, "lora").result
    (job,) = enqueue_plan(store, project, plan_generate(project, text="a <rex> dog", overrides=T2V))
    with Path(run["weights"]).open("ab") as file:
        file.write(b"more")
    work(store)
    assert "The weights " in (store.job(job.id).error or "")
    assert "have changed" in (store.job(job.id).error or "")
    NetworkWeights({"conv_in.weight": torch.zeros(320, 4, 3, 3)}).save(Path(run["weights"]))
    (job,) = enqueue_plan(store, project, plan_generate(project, text="a <rex> dog", overrides=T2V))
    work(store)
    error = store.job(job.id).error or ""
    assert "another family of models" in error
    assert "\n" not in error


def test_a_clip_wears_loras_from_elsewhere(store: Store, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vcd_studio.catalog.recognise.SD1", 32)  # the tiny pack's text is 32 wide
    job = learnt(store, project, "lora")
    elsewhere = tmp_path / "style.safetensors"
    elsewhere.write_bytes(Path(job.result["weights"]).read_bytes())
    plain = clip(store, project, "a dog running")
    styled = clip(store, project, "a dog running", loras=[f"{elsewhere}:1.5"])
    assert not np.array_equal(frames(plain), frames(styled))
    assert any("wears the weights of style.safetensors" in event.text for event in store.events(styled.id))
    assert "style.safetensors" in str(read_recipe(Path(styled.result["clip"]) / "clip.mp4"))
    (queued,) = enqueue_plan(store, project, plan_generate(project, text="a dog", overrides={**T2V, "loras": [str(elsewhere)]}))
    elsewhere.write_bytes(b"other")
    work(store)
    failed = store.job(queued.id)
    assert failed.state == "failed"
    assert "have changed since this job was enqueued" in (failed.error or "")


def test_a_pack_brings_its_lora_its_settings_and_what_it_trains_on(
    store: Store, project: Project, pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vcd_studio.catalog.recognise.SD1", 32)
    job = learnt(store, project, "lora")
    packs = packs_dir()
    for name in ("plain", "few-steps"):
        shutil.copytree(pack, packs / name)
    lora = f'[[lora]]\nfile = "{job.result["weights"]}"\nstrength = 1.5\n'
    (packs / "few-steps" / "pack.toml").write_text(f'trains_on = "plain"\n[defaults]\nsteps = 1\nscheduler = "euler"\n{lora}')
    made = {}
    for name in ("plain", "few-steps"):
        other = Project.create(tmp_path / name, pack=name)
        made[name] = clip(store, other, "a dog running", steps=other.defaults.steps if name == "few-steps" else 1, scheduler="euler")
    assert made["few-steps"].settings["generation"]["steps"] == 1
    assert not np.array_equal(frames(made["plain"]), frames(made["few-steps"]))
    told = tomli.loads((Path(made["few-steps"].result["clip"]) / "clip.toml").read_text())
    assert "lora/0/weights.safetensors" in told["models"]
    other = Project.open(tmp_path / "few-steps")
    other.add_identity("rex", "dog", [tmp_path / "photos"])
    assert enqueue_train(store, other, "rex").settings["pack"] == "plain"
