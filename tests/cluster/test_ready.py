"""What the relay, and every verb with --on, needs: where it is not there, one sentence that names it."""

from __future__ import annotations

import json

import pytest

from vcd_studio.cluster import ready
from vcd_studio.cluster.ready import need_cluster
from vcd_studio.project.errors import InputError


def test_submitit_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'vcd-studio\[cluster\]'"):
        need_cluster("slurm")


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, r'\[cluster\] folder = "/shared/you"'),
        ({"folder": "shared"}, "write the whole path"),
        ({"folder": "/proc/shared"}, "/proc/shared cannot be made"),
        ({"folder": "/tmp", "options": {"account": "a\n#SBATCH --exclusive"}}, r"cluster\.options\.account"),
        ({"folder": "/tmp", "options": {"account x": "a"}}, "account x"),
        ({"folder": "/tmp", "gpus": 4}, r"cluster\.gpus"),
    ],
)
def test_settings_that_do_not_do(monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], said: str) -> None:
    monkeypatch.setenv("VCD_CLUSTER", json.dumps(settings))
    with pytest.raises(InputError, match=said):
        need_cluster("slurm")
