"""Clips that never became one: folders under outputs/ without a recipe, and the jobs that began them."""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path

from vcd_studio.jobs.model import Job
from vcd_studio.project.outputs import Clip, folders_without_recipe

TOLD = ("prompt", "written", "seed", "pack", "identities")


def unfinished_clips(outputs: Path, jobs: Iterable[Job], finished: Container[str] = ()) -> list[tuple[Clip, Job | None]]:
    """Each with its job, where that is still known; those that a job is working on, or will be, are left out, and folders of others.
    Clips of the names in ``finished`` are known to have a recipe.

    The clip's ``problem`` says why it is not there; of its recipe it has what the job was told.
    """
    begun = {Path(str(job.result["clip"])): job for job in jobs if job.kind == "generate" and "clip" in job.result}
    pairs = [(folder, begun.get(folder)) for folder in folders_without_recipe(outputs, finished)]
    return [(_clip(folder, job), job) for folder, job in pairs if (job.is_finished if job else (folder / "stages").is_dir())]


def _clip(folder: Path, job: Job | None) -> Clip:
    if job is None:
        return Clip(folder, {}, "This clip was left unfinished, and its job is not in the queue any more.")
    told = {key: job.settings[key] for key in TOLD if key in job.settings}
    return Clip(folder, {**told, "finished": job.finished}, job.error or f"Its job {job.id} is {job.state}, and it has no recipe.")
