"""``vcd-studio evaluate``: what it puts into the queue, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vcd_studio.cli.verbs import app
from vcd_studio.evaluation.plan import Plan
from vcd_studio.jobs.store import Store
from vcd_studio.project.errors import InputError


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VCD_HOME", str(tmp_path / "home"))


def test_a_study_goes_into_the_queue_with_its_whole_plan(tmp_path: Path) -> None:
    out = tmp_path / "night"
    asked = ["evaluate", "--out", str(out), "--subjects", "4", "--only", "vcd, lora", "--half", "--no-worker", "--json"]
    asked += ["--clip", str(tmp_path), "--dino", "facebook/dino-vits16"]
    answered = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert answered.exit_code == 0
    assert json.loads(answered.stdout)["kind"] == "evaluate"
    with Store() as store:
        (job,) = store.jobs()
        assert job.project == out
        assert [stage.name for stage in store.stages(job.id)] == ["evaluate"]
        plan = Plan.read(job.settings["plan"])
    assert [arm.name for arm in plan.arms] == ["LoRA", "VCD"]
    assert plan.subjects == 4
    assert plan.half
    assert (plan.clip, plan.dino) == (str(tmp_path), "facebook/dino-vits16")


def test_an_arm_that_does_not_exist_is_refused_before_anything_is_queued(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'no arm "vdc"; choose from .*vcd'):
        CliRunner().invoke(app, ["evaluate", "--out", str(tmp_path / "x"), "--only", "vdc", "--no-worker"], catch_exceptions=False)
    with Store() as store:
        assert store.jobs() == []


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/study cannot be written"):
        CliRunner().invoke(app, ["evaluate", "--out", str(tmp_path / "file/study"), "--no-worker"], catch_exceptions=False)
