"""A study into the queue: one job, whose folder keeps every clip that is done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vcd_studio import __version__
from vcd_studio.jobs.model import Job
from vcd_studio.jobs.store import Store
from vcd_studio.jobs.workers import wake
from vcd_studio.project.errors import InputError


def enqueue_study(store: Store, folder: Path, plan: Mapping[str, Any]) -> Job:
    """The study ``plan`` (the fields of evaluation.plan.Plan that differ) in ``folder``, which may hold a part of it already.

    InputError when the folder cannot be made or written.
    """
    folder = folder.expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"The study's folder {folder} cannot be written ({error.strerror}); choose another with --out.") from error
    settings = {"pack": plan.get("pack", "pocket"), "plan": dict(plan), "code_version": __version__}
    job = store.enqueue("evaluate", folder, f"study in {folder.name}", ["evaluate"], settings)
    wake()
    return job
