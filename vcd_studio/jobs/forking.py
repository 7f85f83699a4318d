"""A clip forked from its job, be it done, failed, cancelled or still at work: stages made anew over the frames that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vcd_studio.jobs import again
from vcd_studio.jobs.estimates import clip_bytes, clip_seconds, pack_size
from vcd_studio.jobs.model import Job
from vcd_studio.jobs.store import Store
from vcd_studio.project.errors import InputError
from vcd_studio.project.outputs import SIDECAR, Clip, StageOutput, read_clip
from vcd_studio.project.project import Project
from vcd_studio.project.settings import STAGES, GenerationSettings
from vcd_studio.project.stage_settings import record_of, seed_of, settings_of
from vcd_studio.project.text import quoted


@dataclass(frozen=True)
class Unfinished(Clip):
    """A clip without a recipe of its own yet: the job's snapshot stands for it. ``done``: the stages whose frames are whole."""

    done: tuple[str, ...] = ()

    def stages(self) -> dict[str, StageOutput]:
        return {name: output for name, output in super().stages().items() if name in self.done}


@dataclass(frozen=True)
class Fork:
    """What a yes would put into the queue."""

    job: Job
    stages: tuple[str, ...]
    """Those made anew."""
    overrides: Mapping[str, Any]
    seed: int | None
    seconds: float | None
    """Estimated from finished jobs; None before there are any."""
    bytes: int


def plan_fork(
    store: Store, job_id: int, begin: str | None = None, overrides: Mapping[str, Any] | None = None, seed: int | None = None
) -> Fork:
    """The job's clip once more, with the stage ``begin`` (a new one, too; without it the first) and those after it made anew.

    Writes nothing. InputError where the job makes no clip, a setting is wrong, or a stage before ``begin`` has no frames.
    """
    job = store.job(job_id)
    if job.kind != "generate":
        raise InputError(f"Job {job_id} is no clip but {job.title}; only clips can be forked.")
    if begin is not None and begin not in STAGES:
        raise InputError(f"{quoted(begin)} is no stage of a clip; the stages are {', '.join(STAGES)}.")
    before = GenerationSettings().with_overrides(job.settings["generation"])
    own = before.stages
    first = STAGES.index(begin if begin is not None else own[0])
    wanted = tuple(stage for stage in STAGES[first:] if stage == begin or stage in own)
    there = clip_of(store, job).stages()
    if lacking := next((stage for stage in own if STAGES.index(stage) < first and stage not in there), None):
        raise InputError(f"Job {job_id} has no frames of {lacking}; begin with {lacking}, or wait until they are made.")
    changes = dict(overrides or {})
    generation = before.with_overrides({**changes, "stages": wanted}).model_dump(mode="json")
    pack, made = str(job.settings["pack"]), [*wanted, "save"]
    size = pack_size(pack)
    return Fork(job, wanted, changes, seed, clip_seconds(store, made, pack, generation, size), clip_bytes(made, generation, size))


def enqueue_fork(store: Store, fork: Fork) -> Job:
    """What was planned. InputError where something that the clip was made with is not what it was."""
    return again.rerun(store, clip_of(store, fork.job), Project.open(fork.job.project), fork.stages, fork.overrides, fork.seed)


def clip_of(store: Store, job: Job) -> Clip:
    """What the job has made so far, or was to take over from another clip; with its recipe, or its snapshot in place of that."""
    settings, parent = job.settings, job.settings.get("parent") or {}
    folder = Path(job.result["clip"]) if "clip" in job.result else None
    if folder is not None and (folder / SIDECAR).is_file():
        return read_clip(folder)
    done: Sequence[str] = [stage.name for stage in store.stages(job.id) if stage.state == "done"]
    taken = list(parent.get("stages", []))
    if folder is None or not (folder / "stages").is_dir():
        folder = Path(parent["clip"]) if parent else job.project / "outputs" / f"job-{job.id}"
    asked = settings["generation"]["stages"]
    records = {stage: record_of(settings_of(settings, stage), seed_of(settings, stage), stage) for stage in asked if stage not in taken}
    return Unfinished(folder, {**settings, "stages": {**parent.get("recipes", {}), **records}}, done=(*taken, *done))
