# ruff: noqa: F811 (fixtures of test_worker_stages)
"""Clips made once more from their recipe: the very same frames, or later stages anew over frames that were taken over."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from test_worker_stages import QUICK, TRAINING, done, pack, project, work  # noqa: F401

from vcd_studio.jobs import again, forking
from vcd_studio.jobs.enqueue import enqueue_plan, enqueue_train, plan_generate
from vcd_studio.jobs.model import Job
from vcd_studio.jobs.store import Store
from vcd_studio.media.frames import load_frames
from vcd_studio.media.provenance import read_recipe
from vcd_studio.media.video import read_video
from vcd_studio.project.errors import InputError
from vcd_studio.project.outputs import Clip, read_clip
from vcd_studio.project.project import Project
from vcd_studio.worker.context import StageContext
from vcd_studio.worker.stages import STAGES


def made(store: Store, job: Job) -> Clip:
    work(store)
    return read_clip(Path(done(store, job).result["clip"]))


def frames(clip: Clip, stage: str) -> Any:
    return np.stack(load_frames(clip.folder / "stages" / stage / "frames"))


@pytest.fixture
def clip(store: Store, project: Project) -> Clip:
    """A T2V clip of a trained identity, wearing its weights."""
    enqueue_train(store, project, "rex", {**TRAINING, "method": "lora", "steps": 2, "preview_every": 0})
    work(store)
    plan = plan_generate(project, text="a <rex> running", seeds=[3], overrides={**QUICK, "stages": ["t2v"], "preview_every": 0})
    (job,) = enqueue_plan(store, project, plan)
    return made(store, job)


def test_a_clip_is_reproduced_bit_for_bit_when_its_job_is_forgotten(store: Store, project: Project, clip: Clip) -> None:
    store.clear_finished()
    other = made(store, again.reproduce(store, clip, project))
    assert other.folder != clip.folder
    assert np.array_equal(frames(other, "t2v"), frames(clip, "t2v"))
    assert other.sidecar["generation"] == clip.sidecar["generation"]
    assert other.sidecar["identities"] == clip.sidecar["identities"]
    verdict = {"same": True, "verdict": "All 4 frames are the same, bit for bit."}
    assert other.sidecar["reproduces"] == {"id": clip.id, "clip": str(clip.folder), **verdict}


def test_a_later_stage_is_made_over_frames_that_were_taken_over(store: Store, project: Project, clip: Clip) -> None:
    before = {path: path.read_bytes() for path in clip.folder.rglob("*") if path.is_file()}
    job = again.rerun(store, clip, project, ["tiled"], {"tiled_strength": 0.7})
    assert [stage.name for stage in store.stages(job.id)] == ["tiled", "save"]
    larger = made(store, job)
    assert np.array_equal(frames(larger, "t2v"), frames(clip, "t2v"))
    assert frames(larger, "tiled").shape[1] == 2 * frames(clip, "t2v").shape[1]
    assert larger.sidecar["parent"] == {"id": clip.id, "clip": str(clip.folder), "stages": ["t2v"]}
    assert larger.sidecar["stages"]["t2v"] == clip.sidecar["stages"]["t2v"]
    assert larger.sidecar["seed"] == clip.sidecar["seed"]
    assert larger.sidecar["stages"]["tiled"]["tiled_strength"] == 0.7
    assert before == {path: path.read_bytes() for path in clip.folder.rglob("*") if path.is_file()}
    shutil.rmtree(clip.folder)  # the parent is not needed any more
    once_more = made(store, again.reproduce(store, larger, project))
    assert once_more.sidecar["reproduces"]["same"]
    assert np.array_equal(frames(once_more, "tiled"), frames(larger, "tiled"))
    stronger = made(store, again.rerun(store, larger, project, ["tiled"], {"tiled_strength": 1.0}))
    assert not np.array_equal(frames(stronger, "tiled"), frames(larger, "tiled"))


def test_stages_with_another_seed_and_other_settings_say_so_and_come_out_the_same_again(
    store: Store, project: Project, clip: Clip
) -> None:
    larger = made(store, again.rerun(store, clip, project, ["tiled"], {"steps": 4, "tiled_strength": 0.7}, seed=9))
    recipe = larger.sidecar
    assert (recipe["seed"], recipe["stages"]["t2v"]["seed"], recipe["stages"]["tiled"]["seed"]) == (3, 3, 9)
    steps = recipe["generation"]["steps"], recipe["stages"]["t2v"]["steps"], recipe["stages"]["tiled"]["steps"]
    assert steps == (QUICK["steps"], QUICK["steps"], 4)
    told = json.loads(read_recipe(larger.video)["recipe"])
    assert (told["seed"], told["steps"], told["tiled"]) == (3, QUICK["steps"], "seed 9, steps 4")
    with Image.open(larger.poster) as poster:
        assert "Seed: 3" in poster.info["parameters"]
    shutil.rmtree(larger.folder / "stages")
    job = again.reproduce(store, larger, project)
    assert [stage.name for stage in store.stages(job.id)] == ["t2v", "tiled", "save"]
    once_more = made(store, job)
    assert np.array_equal(frames(once_more, "t2v"), frames(clip, "t2v"))
    assert np.array_equal(read_video(once_more.video)[0], read_video(larger.video)[0])
    assert [once_more.sidecar["stages"][name]["seed"] for name in ("t2v", "tiled")] == [3, 9]
    assert made(store, again.rerun(store, once_more, project, ["tiled"])).sidecar["stages"]["tiled"]["steps"] == 4


def test_savers_are_in_the_recipe_and_a_stage_may_have_its_own(store: Store, project: Project, clip: Clip) -> None:
    saving = {"cache_every": 2, "merge_tokens": 0.5, "guidance_until": 0.5}
    overrides = {**QUICK, "stages": ["t2v"], "preview_every": 0, **saving}
    (job,) = enqueue_plan(store, project, plan_generate(project, text="a <rex> running", seeds=[3], overrides=overrides))
    saved = made(store, job)
    assert not np.array_equal(frames(saved, "t2v"), frames(clip, "t2v"))
    assert saving.items() <= saved.sidecar["stages"]["t2v"].items()
    told, plain = (json.loads(read_recipe(each.video)["recipe"]) for each in (saved, clip))
    assert saving.items() <= told.items()
    assert not saving.keys() & plain.keys()
    assert made(store, again.reproduce(store, saved, project)).sidecar["reproduces"]["same"]
    larger = made(store, again.rerun(store, saved, project, ["tiled"], {"cache_every": 1}))
    assert [larger.sidecar["stages"][name]["cache_every"] for name in ("t2v", "tiled")] == [2, 1]


def test_a_failed_job_is_forked_from_the_stages_that_it_finished(store: Store, project: Project, clip: Clip) -> None:
    plan = plan_generate(project, text="a <rex> running", seeds=[3], overrides={**QUICK, "stages": ["t2v", "tiled"], "preview_every": 0})
    (job,) = enqueue_plan(store, project, plan)

    def fails(_: StageContext) -> str:
        raise InputError("The card fell out; put it back.")

    work(store, {**STAGES, "tiled": fails})
    assert store.job(job.id).state == "failed"
    fork = forking.enqueue_fork(store, forking.plan_fork(store, job.id, "tiled", {"tiled_strength": 0.7}, seed=5))
    assert [stage.name for stage in store.stages(fork.id)] == ["tiled", "save"]
    forked = made(store, fork)
    assert np.array_equal(frames(forked, "t2v"), frames(clip, "t2v"))
    assert [forked.sidecar["stages"][name]["seed"] for name in ("t2v", "tiled")] == [3, 5]
    assert forked.sidecar["seed"] == 3
    assert store.job(job.id).state == "failed", "what was forked stays as it is"


def test_another_seed_and_the_whole_clip_anew(store: Store, project: Project, clip: Clip) -> None:
    other = made(store, again.rerun(store, clip, project, ["t2v"], {"steps": 1}, seed=9))
    assert (other.sidecar["seed"], other.sidecar["generation"]["steps"]) == (9, 1)
    assert "parent" not in other.sidecar


def test_a_stage_is_told_what_is_right_for_it_alone(store: Store, project: Project, clip: Clip) -> None:
    clip.sidecar["generation"]["steps"] = 200  # too many for lcm, but those of t2v, which is kept
    fewer = again.rerun(store, clip, project, ["tiled"], {"scheduler": "lcm", "steps": 4})
    assert fewer.settings["own"]["tiled"] == {"scheduler": "lcm", "steps": 4}
    assert fewer.settings["generation"]["scheduler"] == clip.sidecar["generation"]["scheduler"]
    with pytest.raises(InputError, match="lcm takes at most"):
        again.rerun(store, clip, project, ["tiled"], {"scheduler": "lcm"})


def test_what_was_taken_over_cannot_change(store: Store, project: Project, clip: Clip) -> None:
    with pytest.raises(InputError, match="frames cannot change while the frames of t2v are kept; make t2v anew too"):
        again.rerun(store, clip, project, ["tiled"], {"frames": 8})
    with pytest.raises(InputError, match="takes its stages and its seed from --seed, not from a setting"):
        again.rerun(store, clip, project, ["tiled"], {"seeds": [4]})
    shutil.rmtree(clip.folder / "stages")
    with pytest.raises(InputError, match="kept no frames from before tiled"):
        again.rerun(store, clip, project, ["tiled"])


def test_a_parent_that_goes_before_its_turn_is_said(store: Store, project: Project, clip: Clip) -> None:
    job = again.rerun(store, clip, project, ["tiled"])
    shutil.rmtree(clip.folder)
    work(store)
    failed = store.job(job.id)
    assert failed.state == "failed"
    assert "has no frames of t2v any more" in (failed.error or "")


def test_nothing_that_made_it_may_have_changed(store: Store, project: Project, clip: Clip, pack: Path) -> None:
    run = project.identity("rex").latest_run()
    assert run is not None
    kept = run.weights_path.read_bytes()
    run.weights_path.write_bytes(b"other")
    with pytest.raises(InputError, match=r"weights.safetensors is not what it was when"):
        again.reproduce(store, clip, project)
    run.weights_path.write_bytes(kept)
    run.folder.rename(run.folder.with_name("run-009"))
    with pytest.raises(InputError, match=r"rex's run-001, which is not there any more"):
        again.reproduce(store, clip, project)


def test_a_changed_pack_is_refused_by_the_files_name(store: Store, project: Project, clip: Clip) -> None:
    clip.sidecar["models"]["unet/config.json"] = "0" * 64
    with pytest.raises(InputError, match=r"is not what it was when .* was made: unet/config\.json has changed"):
        again.reproduce(store, clip, project)


@pytest.mark.parametrize("broken", [{}, {"generation": {"steps": "many"}}])
def test_a_recipe_that_is_not_whole(broken: dict[str, Any], store: Store, project: Project, clip: Clip) -> None:
    recipe = {**clip.sidecar, **broken} if broken else {"prompt": "a dog"}
    with pytest.raises(InputError, match=r"clip\.toml"):
        again.reproduce(store, Clip(clip.folder, recipe), project)


def test_a_clip_made_once_more_is_kept_where_the_clip_itself_is_gone(store: Store, project: Project, clip: Clip) -> None:
    job = again.reproduce(store, clip, project)
    shutil.rmtree(clip.folder)
    other = made(store, job)
    assert other.sidecar["reproduces"]["verdict"].startswith("The clip itself cannot be read any more: ")
    assert "same" not in other.sidecar["reproduces"]
