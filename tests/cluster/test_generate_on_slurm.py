"""As a person does it: ``generate --on slurm``, over a Slurm of the tests' own, with the shipped stages and the tests' tiny networks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cluster.conftest import Slurm, log_of
from tests.worker.tiny_pack import save_tiny_pack
from vcd_studio.jobs import workers
from vcd_studio.jobs.store import Store
from vcd_studio.media.video import read_video
from vcd_studio.project.outputs import read_clip
from vcd_studio.project.project import Project

QUICK = {"frames": 2, "steps": 2, "guidance": 1.0, "tiled_strength": 0.5, "preview_every": 1}


def studio(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vcd_studio.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def film(tmp_path: Path) -> Project:
    (tmp_path / "camera").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8)).save(tmp_path / "camera" / "0.png")
    project = Project.create(tmp_path / "film", pack=str(save_tiny_pack(tmp_path / "pack")))
    project.add_identity("rex", "dog", [tmp_path / "camera"])
    return project


@pytest.mark.slow
def test_a_clip_comes_back_from_the_cluster_and_is_the_one_that_this_machine_makes(slurm: Slurm, film: Project, store: Store) -> None:
    settings = [word for key, value in QUICK.items() for word in ("--set", f"{key}={value}")]
    words = ["generate", film.path, "--prompt", "a dog in the snow", "--stages", "t2v,tiled", *settings, "--follow", "--json"]
    try:
        there = studio(*words, "--on", "slurm")
        assert there.returncode == 0, there.stderr
        (job,) = json.loads(there.stdout)["jobs"]
        assert (job["state"], job["device"]) == ("done", "slurm")
        assert len(slurm.numbers) == 1
        told = log_of(store, store.job(job["id"]))
        for words_of_it in (f"slurm's job {slurm.numbers[0]}", "t2v: finished", "tiled: finished", "save: finished"):
            assert words_of_it in told
        (relay,) = json.loads(studio("worker", "status", "--json").stdout)
        assert (relay["device"], relay["state"]) == ("slurm", "idle")
        here = studio(*words)
        assert here.returncode == 0, here.stderr
    finally:
        workers.stop()
    clips = [read_clip(Path(store.job(number).result["clip"])) for number in (job["id"], job["id"] + 1)]
    assert np.array_equal(*(read_video(clip.video)[0] for clip in clips))
    assert clips[0].sidecar["seed"] == clips[1].sidecar["seed"]


@pytest.mark.parametrize(
    ("on", "said"),
    [
        ("ray", '"ray" is no cluster; the studio can hand jobs to slurm.'),
        ("slurm", "There is no sbatch on this machine; run this where Slurm's commands are"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_enqueues_nothing(on: str, said: str, film: Project, store: Store) -> None:
    refused = studio("generate", film.path, "--prompt", "a dog", "--on", on)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert store.jobs() == []


def test_without_a_shared_folder_the_setting_is_named(slurm: Slurm, film: Project, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VCD_CLUSTER", "{}")
    refused = studio("generate", film.path, "--prompt", "a dog", "--on", "slurm")
    assert refused.returncode == 2
    assert '[cluster] folder = "/shared/you"' in refused.stderr
    assert store.jobs() == []
