"""Slurm through submitit: each job is one of Slurm's own, with its folder for what submitit keeps."""

from __future__ import annotations

import time
from pathlib import Path

from submitit import SlurmExecutor, SlurmJob
from submitit.core.utils import FailedJobError

from vcd_studio.cluster.node import NodeJob
from vcd_studio.jobs.processes import last_line
from vcd_studio.project.errors import InputError
from vcd_studio.settings import ClusterSettings

LOOK_SECONDS = 30.0
"""How often Slurm's accounting is asked at least; soon after a submission submitit asks it more often."""
REASONS = {
    "OUT_OF_MEMORY": "it needed more memory than it was given; raise memory in [cluster] of settings.toml and retry the job",
    "TIMEOUT": "its time was up; raise minutes in [cluster] of settings.toml and retry the job",
    "NODE_FAIL": "its node failed; retry the job: finished stages are kept",
    "CANCELLED": "somebody cancelled it in Slurm; retry the job when it may run",
}


class Slurm:
    """What the relay wants of a cluster: submit a folder's job, find it again, see how it is, cancel it."""

    def __init__(self, settings: ClusterSettings) -> None:
        self.settings = settings
        self._looked = time.monotonic()

    def submit(self, folder: Path, name: str) -> str:
        """Slurm's number of the job. InputError with what sbatch said where it refuses."""
        executor = SlurmExecutor(_kept(folder))
        executor.update_parameters(**self._parameters(name))
        try:
            return executor.submit(NodeJob(str(folder))).job_id
        except FailedJobError as error:
            said = [line for line in str(error).splitlines() if line.startswith("sbatch:")] or str(error).splitlines()
            raise InputError(f"Slurm refused the job ({said[-1].strip()}); see to [cluster] in settings.toml and retry it.") from error

    def submitted(self, folder: Path) -> str | None:
        """The number of the job that was submitted with this folder; None where none was."""
        found = [path.name for path in _kept(folder).glob("*_submission.sh")]
        return found[0].partition("_")[0] if found else None

    def look(self) -> None:
        """Ask Slurm about all jobs at once, when it is time."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            SlurmJob.watcher.update_if_long_enough("force")

    def state(self, folder: Path, number: str) -> str:
        """In Slurm's words: PENDING, RUNNING …; UNKNOWN before it has been accounted for."""
        state: str = _job(folder, number).state
        return state.split()[0]

    def ended(self, folder: Path, number: str) -> str | None:
        """None while it waits or runs; else a sentence on how it ended, for where its worker has said nothing."""
        job = _job(folder, number)
        if not job.done():
            return None
        state = self.state(folder, number)
        why = REASONS.get(state) or f"its log {job.paths.stderr} ends with: {last_line(job.paths.stderr)}"
        if not job.paths.stderr.exists() and state not in REASONS:
            why = f"it left no log, so perhaps the nodes do not see {folder}"
        return f"Slurm's job {number} ended without a word ({state}): {why}."

    def cancel(self, folder: Path, number: str) -> None:
        """This one alone."""
        _job(folder, number).cancel(check=False)

    def _parameters(self, name: str) -> dict[str, object]:
        settings = self.settings
        chosen = {
            "job_name": name,
            "time": settings.minutes,
            "partition": settings.partition or None,
            "gpus_per_node": settings.gpus or None,
            "cpus_per_task": settings.cpus,
            "mem": f"{settings.memory}GB" if settings.memory else None,
            "setup": list(settings.setup) or None,
            "additional_parameters": dict(settings.options) or None,
        }
        return {key: value for key, value in chosen.items() if value is not None}


def _kept(folder: Path) -> Path:
    return folder / "slurm"


def _job(folder: Path, number: str) -> SlurmJob[None]:
    return SlurmJob(_kept(folder), number)
