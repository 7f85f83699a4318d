"""Whether jobs can be handed to a cluster from here: looked at before any is enqueued, and by the relay itself. Imports no submitit."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from vcd_studio.jobs.model import CLUSTERS
from vcd_studio.project.errors import InputError
from vcd_studio.project.text import quoted
from vcd_studio.settings import ClusterSettings, load_settings

COMMANDS = ("sbatch", "srun", "sacct", "scancel")


def need_cluster(name: str) -> ClusterSettings:
    """The cluster's settings. InputError where it is none that we know, or something that it needs is not here."""
    if name not in CLUSTERS:
        raise InputError(f"{quoted(name)} is no cluster; the studio can hand jobs to {', '.join(CLUSTERS)}.")
    settings = load_settings().cluster
    if find_spec("submitit") is None or find_spec("pkg_resources") is None:  # the latter is submitit's own need, which it does not state
        raise InputError("Jobs go to Slurm through submitit, which is not wholly installed; pip install 'vcd-studio[cluster]'.")
    if missing := [command for command in COMMANDS if shutil.which(command) is None]:
        raise InputError(f"There is no {missing[0]} on this machine; run this where Slurm's commands are (a login node).")
    if not settings.folder:
        raise InputError('Say in settings.toml where your machine and the nodes both can write: [cluster] folder = "/shared/you".')
    folder = Path(settings.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The cluster's folder {folder} cannot be made ({error.strerror}); choose another in settings.toml.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"The cluster's folder {folder} cannot be written; change its permissions, or choose another in settings.toml.")
    return settings
