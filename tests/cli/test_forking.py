"""queue fork: from a finished clip's recipe, or from the snapshot and the whole stages of a job that did not come to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vcd_studio.jobs.model import WorkerId
from vcd_studio.jobs.store import Store
from vcd_studio.media.frames import save_frames
from vcd_studio.project.project import Project


@pytest.fixture
def job(studio: Any, trained: Project) -> int:
    """A clip in the line, with the stages t2v and face."""
    words = ("--prompt", "a <rex> dog", "--stages", "t2v,face", "--seeds", "7", "--set", "steps=3", "--no-worker", "--json")
    (made,) = studio("generate", trained.path, *words).json["jobs"]
    return int(made["id"])


@pytest.fixture
def failed(job: int, trained: Project) -> int:
    """The same, failed in face after t2v was done."""
    folder = trained.new_clip("a dog")
    with Store() as store:
        store.claim(WorkerId(1, "1", "boot"), "cpu")
        store.update_result(job, {"clip": str(folder)})
        t2v, face = store.stages(job)[:2]
        store.begin_stage(t2v.id, 3)
        save_frames(folder / "stages" / "t2v" / "frames", [np.zeros((8, 8, 3), np.uint8)] * 2)
        store.finish_stage(t2v.id, str(folder / "stages" / "t2v"))
        store.begin_stage(face.id, 3)
        store.fail(job, "no face was found")
    return job


def forked(studio: Any, *words: object) -> dict[str, Any]:
    said = studio("queue", "fork", *map(str, words), "--no-worker", "--json")
    assert said.code == 0, said.err
    shown: dict[str, Any] = studio("queue", "show", str(said.json["id"]), "--json").json
    return shown


def stages(shown: dict[str, Any]) -> list[str]:
    return [stage["name"] for stage in shown["stages"]]


def test_from_a_failed_job_with_other_settings_over_what_it_had_made(studio: Any, failed: int) -> None:
    shown = forked(studio, failed, "--from", "face", "--set", "face_strength=0.5", "--set", "steps=9", "--seed", "8")
    assert stages(shown) == ["face", "save"]
    settings = shown["settings"]
    assert settings["parent"]["stages"] == ["t2v"]
    assert settings["parent"]["recipes"]["t2v"]["steps"] == 3
    assert settings["generation"]["face_strength"] == 0.5
    assert (settings["seed"], settings["own"]["face"]) == (7, {"seed": 8, "steps": 9})
    with Store() as store:
        assert store.job(failed).state == "failed"


def test_a_stage_that_it_never_had_is_added(studio: Any, failed: int, job: int) -> None:
    said = studio("queue", "fork", str(failed), "--from", "tiled", "--no-worker")
    assert (said.code, said.err) == (2, f"vcd-studio: Job {failed} has no frames of face; begin with face, or wait until they are made.\n")
    again = forked(studio, failed, "--from", "face")
    whole = forked(studio, failed)
    assert (stages(again), stages(whole)) == (["face", "save"], ["t2v", "face", "save"])
    with Store() as store, store.database.write() as connection:
        connection.execute("UPDATE stage SET state = 'done' WHERE job_id = ? AND name = 'face'", (failed,))
        folder = Path(store.job(failed).result["clip"])
    save_frames(folder / "stages" / "face" / "frames", [np.zeros((8, 8, 3), np.uint8)] * 2)
    tiled = forked(studio, failed, "--from", "tiled", "--set", "tiled_strength=0.3")
    assert stages(tiled) == ["tiled", "save"]
    assert tiled["settings"]["parent"]["stages"] == ["t2v", "face"]
    assert tiled["settings"]["generation"]["stages"] == ["t2v", "face", "tiled"]


def test_frames_of_a_stage_that_is_not_done_are_not_taken(studio: Any, failed: int) -> None:
    with Store() as store:
        folder = Path(store.job(failed).result["clip"])
    save_frames(folder / "stages" / "face" / "frames", [np.zeros((8, 8, 3), np.uint8)] * 2)
    assert studio("queue", "fork", str(failed), "--from", "tiled", "--no-worker").code == 2


def test_a_fork_that_waits_is_forked_from_the_clip_that_it_takes_over(studio: Any, failed: int) -> None:
    waiting = forked(studio, failed, "--from", "face", "--set", "steps=9")
    other = forked(studio, waiting["id"], "--from", "face", "--set", "face_margin=3")
    assert other["settings"]["parent"]["clip"] == waiting["settings"]["parent"]["clip"]
    assert other["settings"]["own"]["face"] == {"steps": 9}
    assert other["settings"]["parent"]["recipes"] == waiting["settings"]["parent"]["recipes"]


def test_a_job_that_never_ran_and_was_cancelled(studio: Any, job: int) -> None:
    studio("queue", "cancel", str(job))
    shown = forked(studio, job, "--set", "steps=5")
    assert (stages(shown), shown["settings"]["generation"]["steps"]) == (["t2v", "face", "save"], 5)
    assert "parent" not in shown["settings"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--from", "save"], '"save" is no stage of a clip; the stages are t2v, face, tiled'),
        (["--from", "face", "--set", "frames=8"], "frames cannot change while the frames of t2v are kept"),
        (["--set", "stepps=8"], "stepps"),
        (["--set", "seeds=8,9"], "from --seed"),
    ],
)
def test_wrong_words_are_one_sentence_and_enqueue_nothing(words: list[str], told: str, studio: Any, failed: int) -> None:
    said = studio("queue", "fork", str(failed), *words, "--no-worker")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert told in said.err
    assert len(studio("queue", "list", "--json").json) == 1


def test_only_clips_can_be_forked(studio: Any, trained: Project) -> None:
    studio("identity", "train", trained.path, "rex", "--no-worker")
    assert "only clips can be forked" in studio("queue", "fork", "1", "--no-worker").err


def test_tokens_that_have_changed_are_told_at_once(studio: Any, failed: int, trained: Project) -> None:
    run = trained.identity("rex").used_run()
    assert run is not None
    run.tokens_path.write_bytes(b"other tokens")
    said = studio("queue", "fork", str(failed), "--from", "face", "--no-worker")
    assert said.code == 2
    assert "is not what it was" in said.err
