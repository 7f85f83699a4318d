"""The folder in which a relay and a node meet over one job: what to do, what was asked, what is told, and the homes of both."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vcd_studio import __version__
from vcd_studio.cluster.journal import Journal
from vcd_studio.jobs.copies import copy_of
from vcd_studio.jobs.model import Request
from vcd_studio.jobs.store import Store
from vcd_studio.locations import config_dir, data_dir
from vcd_studio.project.paths import write_atomic


@dataclass(frozen=True)
class Errand:
    """One job's folder on the shared file system."""

    folder: Path

    @property
    def home(self) -> Path:
        """The node's VCD_HOME: packs and settings are the person's own, the cache is one for all errands, the state (previews) its own."""
        return self.folder / "home"

    @property
    def journal(self) -> Journal:
        return Journal(self.folder / "journal.jsonl")

    @property
    def _job(self) -> Path:
        return self.folder / "job.json"

    @property
    def _request(self) -> Path:
        return self.folder / "request"

    def write(self, store: Store, job_id: int, gpus: int) -> None:
        """Everything that the node needs; the job's finished stages are in it, so that they are kept."""
        (self.home / "state").mkdir(parents=True, exist_ok=True)
        cache = self.folder.parent / "cache"
        cache.mkdir(exist_ok=True)
        for name, target in (("data", data_dir()), ("config", config_dir()), ("cache", cache)):
            if not (link := self.home / name).is_symlink():
                link.symlink_to(target)
        about = {"version": __version__, "gpus": gpus, "rows": copy_of(store, job_id)}
        write_atomic(self._job, json.dumps(about).encode())

    def read(self) -> dict[str, Any]:
        """``version`` of the relay, ``gpus`` that the job was promised, the ``rows`` of the job."""
        about: dict[str, Any] = json.loads(self._job.read_bytes())
        return about

    def ask(self, request: Request | None) -> None:
        """Of the node's worker; None takes it back."""
        if request is None:
            self._request.unlink(missing_ok=True)
        else:
            write_atomic(self._request, request.encode())

    def asked(self) -> Request | None:
        try:
            return "pause" if self._request.read_bytes() == b"pause" else "cancel"
        except FileNotFoundError:
            return None
