"""generate and queue list|show|cancel|retry|move|pause|resume|clear, without a worker."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from vcd_studio.jobs.model import WorkerId
from vcd_studio.jobs.processes import boot_id, this_process
from vcd_studio.jobs.store import Store
from vcd_studio.project.project import Project

PROMPT = "a <rex> dog in the {snow|rain}"
QUEUE_KEYS = {"id", "kind", "project", "state", "stage", "progress"}


def test_a_dry_run_expands_estimates_and_writes_nothing(studio: Any, trained: Project) -> None:
    said = studio(
        "generate", trained.path, "--prompt", PROMPT, "--seeds", "1,2", "--stages", "t2v", "--set", "steps=3", "--dry-run", "--json"
    )
    assert said.code == 0
    plan = said.json
    assert (plan["count"], plan["seconds"]) == (4, None)
    assert plan["bytes"] > 0
    assert [(clip["expanded"], clip["seed"]) for clip in plan["clips"]] == [
        (f"a <rex> dog in the {weather}", seed) for weather in ("snow", "rain") for seed in (1, 2)
    ]
    assert plan["clips"][0]["text"] == PROMPT
    assert plan["clips"][0]["stages"] == ["t2v", "save"]
    assert plan["clips"][0]["settings"]["steps"] == 3
    assert studio("queue", "list", "--json").json == []
    assert "4 clips" in studio("generate", trained.path, "--prompt", PROMPT, "--seeds", "1,2", "--dry-run").out


def test_generate_enqueues_a_batch(studio: Any, trained: Project) -> None:
    made = studio("generate", trained.path, "--prompt", "V* in the snow", "--identity", "rex", "--no-worker", "--json")
    assert made.code == 0
    (job,) = made.json["jobs"]
    assert (job["state"], job["stage"], job["title"]) == ("queued", "t2v", "<rex> in the snow · seed 1")
    assert "job 1" in made.err
    (listed,) = studio("queue", "list", "--json").json
    assert listed.keys() >= QUEUE_KEYS
    assert listed["batch"] == job["batch"]


def test_the_projects_own_prompts_are_the_default(studio: Any, trained: Project) -> None:
    empty = studio("generate", trained.path, "--dry-run")
    assert empty.code == 2
    assert "holds no prompts" in empty.err
    trained.prompt_list().append("a <rex> dog", seeds=[5, 6, 7])
    assert studio("generate", trained.path, "--dry-run", "--json").json["count"] == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--prompt", "a <rax> dog"], "<rex>"),
        (["--prompt", "a <rex> dog", "--identity", "rax"], "rex"),
        (["--prompt", "a <rex> dog", "--seeds", "one"], "--seeds"),
        (["--prompt", "a <rex> dog", "--stages", "t2v,paint"], "paint"),
        (["--prompt", "a <rex> dog", "--stages", "face"], "t2v"),
        (["--prompt", "a <rex> dog", "--set", "stepps=3"], "steps"),
        (["--prompt", "a <rex> dog", "--set", "frames=0"], "frames"),
        (["--prompt", "a <rex> dog", "--input", "nowhere.mp4"], "nowhere.mp4"),
    ],
)
def test_wrong_input_is_one_sentence_and_nothing_is_enqueued(words: list[str], told: str, studio: Any, trained: Project) -> None:
    said = studio("generate", trained.path, "--no-worker", *words)
    assert (said.code, said.out) == (2, "")
    assert told in said.err
    assert said.err.count("\n") == 1
    assert studio("queue", "list", "--json").json == []


class Keyboard(io.StringIO):
    """A terminal at which somebody types."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "words", "enqueued"),
    [
        ("y\n", ["--seeds", "1,2"], 2),
        ("\n", ["--seeds", "1,2"], 0),
        ("n\n", ["--seeds", "1,2"], 0),
        ("", ["--seeds", "1,2", "--yes"], 2),
        ("", ["--seeds", "1"], 1),
        ("n\n", ["--seeds", "1", "--set", "frames=400", "--set", "width=1024", "--set", "height=1024"], 0),
    ],
)
def test_a_person_is_asked_before_much_is_enqueued(
    typed: str, words: list[str], enqueued: int, studio: Any, trained: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Keyboard(typed))
    said = studio("generate", trained.path, "--prompt", "a <rex> dog", *words, "--no-worker")
    assert said.code == (0 if enqueued else 1)
    if typed:
        assert "time not known before the first clip, about " in said.err
        assert "enqueue? [y/N]" in said.err
    assert ("Nothing was enqueued." in said.err) == (not enqueued)
    assert len(studio("queue", "list", "--json").json) == enqueued


def test_an_untrained_identity_is_told(studio: Any, film: Project) -> None:
    said = studio("generate", film.path, "--prompt", "a <rex> dog")
    assert said.code == 2
    assert "identity train" in said.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_outputs_that_cannot_be_written_are_told(studio: Any, trained: Project) -> None:
    trained.outputs_dir.chmod(0o500)
    said = studio("generate", trained.path, "--prompt", "a <rex> dog", "--no-worker")
    trained.outputs_dir.chmod(0o700)
    assert said.code == 2
    assert "cannot be written" in said.err


def test_outputs_that_are_a_file_are_told(studio: Any, trained: Project) -> None:
    trained.outputs_dir.rmdir()
    trained.outputs_dir.write_text("")
    said = studio("generate", trained.path, "--prompt", "a <rex> dog", "--no-worker")
    assert said.code == 2
    assert "outputs" in said.err
    assert studio("queue", "list", "--json").json == []


def test_an_empty_queue(studio: Any) -> None:
    assert studio("queue", "list").out == "The queue is empty.\n"
    assert studio("queue", "list", "--json").json == []
    assert studio("queue", "clear", "--json").json == {"cleared": 0}


@pytest.fixture
def three(studio: Any, trained: Project) -> list[int]:
    """Three clips in the line."""
    jobs = studio("generate", trained.path, "--prompt", "a <rex> dog", "--seeds", "1,2,3", "--no-worker", "--json").json["jobs"]
    return [job["id"] for job in jobs]


def states(studio: Any) -> dict[int, str]:
    return {job["id"]: job["state"] for job in studio("queue", "list", "--json").json}


def test_cancel_ends_this_job_alone_and_retry_brings_it_back(studio: Any, three: list[int]) -> None:
    first, second, third = three
    (cancelled,) = studio("queue", "cancel", str(second), "--json").json
    assert cancelled["state"] == "cancelled"
    assert states(studio) == {first: "queued", second: "cancelled", third: "queued"}
    assert studio("queue", "retry", str(first)).code == 2
    retried = studio("queue", "retry", str(second))
    assert (retried.code, retried.out) == (0, f"job {second} is queued\n")
    assert "worker start" in retried.err
    assert states(studio)[second] == "queued"


@pytest.fixture
def left(three: list[int]) -> int:
    """The first of the three, claimed by a worker that is gone."""
    with Store() as store:
        claimed = store.claim(WorkerId(os.getpid(), "before this process", boot_id()), "cpu")
        assert claimed is not None
        store.begin_stage(store.stages(claimed.id)[0].id, 25)
    return claimed.id


def test_what_a_killed_worker_left_does_not_stand_as_running(studio: Any, left: int) -> None:
    said = studio("queue", "list", "--json")
    assert {job["state"] for job in said.json} == {"queued"}
    assert said.err == f"Job {left} was left by a worker that ended without a word: now queued.\n"
    assert studio("queue", "list").err == ""
    assert "ended without a word in stage t2v" in studio("queue", "show", str(left)).out


def test_what_a_killed_worker_left_is_cancelled_at_once(studio: Any, left: int) -> None:
    (cancelled,) = studio("queue", "cancel", str(left), "--json").json
    assert (cancelled["state"], cancelled["request"]) == ("cancelled", None)


def test_what_a_living_worker_has_in_hand_stays_running(studio: Any, three: list[int]) -> None:
    with Store() as store:
        claimed = store.claim(this_process(), "cpu")
    assert claimed is not None
    assert states(studio) == {three[0]: "running", three[1]: "queued", three[2]: "queued"}


def test_pause_and_resume(studio: Any, three: list[int]) -> None:
    assert [job["state"] for job in studio("queue", "pause", *map(str, three[:2]), "--json").json] == ["paused", "paused"]
    assert [job["state"] for job in studio("queue", "resume", str(three[0]), "--json").json] == ["queued"]
    assert states(studio) == dict(zip(three, ("queued", "paused", "queued"), strict=True))


def test_move_changes_the_line(studio: Any, three: list[int]) -> None:
    assert studio("queue", "move", str(three[2]), "0").code == 0
    assert [job["id"] for job in studio("queue", "list", "--json").json] == [three[2], three[0], three[1]]
    assert studio("queue", "move", str(three[2]), "-1").code == 2


def test_priority_changes_the_line_and_may_be_below_nought(studio: Any, three: list[int], trained: Project) -> None:
    first, second, third = map(str, three)
    assert studio("queue", "priority", third, "5").out == f"job {third} is queued (priority 5)\n"
    assert studio("queue", "priority", first, second, "-2").code == 0
    assert [(job["id"], job["priority"]) for job in studio("queue", "list", "--json").json] == [(3, 5), (1, -2), (2, -2)]
    for words in ([], ["5"], [first, "100"], [first, "high"]):
        assert studio("queue", "priority", *words).code == 2
    words = ("generate", trained.path, "--prompt", "a <rex> dog", "--priority", "7", "--no-worker", "--json")
    assert studio(*words).json["jobs"][0]["priority"] == 7
    assert studio("identity", "train", trained.path, "rex", "--priority", "-3", "--no-worker", "--json").json["priority"] == -3
    assert [job["priority"] for job in studio("queue", "list", "--json").json] == [7, 5, -2, -2, -3]


def test_now_is_next_to_run_and_resumes(studio: Any, three: list[int]) -> None:
    first, second, third = map(str, three)
    studio("queue", "pause", third)
    said = studio("queue", "now", second, third)
    assert said.out == f"job {second} is queued\njob {third} is queued\n"
    assert "worker start" in said.err
    assert list(states(studio)) == [2, 3, 1]
    studio("queue", "cancel", first)
    assert studio("queue", "now", first).code == 2


def test_verbs_take_a_whole_batch_and_leave_the_others(studio: Any, three: list[int], trained: Project) -> None:
    (other,) = studio("generate", trained.path, "--prompt", "a <rex>", "--seeds", "1", "--no-worker", "--json").json["jobs"]
    batch = studio("queue", "list", "--json").json[0]["batch"]
    assert {job["id"] for job in studio("queue", "list", "--batch", batch, "--json").json} == set(three)
    assert studio("queue", "list").out.count(batch) == 3
    studio("queue", "pause", str(three[0]))
    assert [job["id"] for job in studio("queue", "pause", "--batch", batch, "--json").json] == three[1:]
    assert [job["state"] for job in studio("queue", "resume", "--batch", batch, "--json").json] == ["queued"] * 3
    assert len(studio("queue", "cancel", "--batch", batch, "--json").json) == 3
    assert len(studio("queue", "retry", "--batch", batch, "--json").json) == 3
    assert len(studio("queue", "priority", "4", "--batch", batch, "--json").json) == 3
    assert [job["id"] for job in studio("queue", "list", "--json").json] == [*three, other["id"]]
    assert states(studio)[other["id"]] == "queued"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["cancel"], "give their numbers, or one --batch"),
        (["cancel", "1", "--batch", "b"], "give their numbers, or one --batch"),
        (["retry", "--batch", "b"], 'There is no batch "b"'),
    ],
)
def test_which_jobs_is_never_guessed(words: list[str], told: str, studio: Any, three: list[int]) -> None:
    said = studio("queue", *words)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert told in said.err
    assert set(states(studio).values()) == {"queued"}


def test_a_job_that_is_not_there_touches_no_other(studio: Any, three: list[int]) -> None:
    said = studio("queue", "cancel", str(three[0]), "99")
    assert said.code == 2
    assert "no job 99" in said.err
    assert set(states(studio).values()) == {"queued"}


def test_list_filters_and_clear_forgets_what_has_ended(studio: Any, three: list[int], trained: Project) -> None:
    studio("queue", "cancel", str(three[1]))
    assert [job["id"] for job in studio("queue", "list", "--state", "cancelled", "--json").json] == [three[1]]
    assert studio("queue", "list", "--state", "lost").code == 2
    assert len(studio("queue", "list", "--project", trained.path, "--json").json) == 3
    assert studio("queue", "list", "--project", trained.path.parent, "--json").json == []
    assert studio("queue", "clear", "--json").json == {"cleared": 1}
    assert set(states(studio)) == {three[0], three[2]}


def test_show_tells_a_job_whole(studio: Any, three: list[int]) -> None:
    job = studio("queue", "show", str(three[0]), "--json").json
    assert [stage["name"] for stage in job["stages"]] == ["t2v", "face", "tiled", "save"]
    assert job["settings"]["prompt"] == "a <rex> dog"
    assert (job["attempts"], job["log"], job["traceback"]) == ([], [], None)
    assert "tiled" in studio("queue", "show", str(three[0])).out


def test_a_queue_that_cannot_be_read_is_told(studio: Any, studio_home: Path) -> None:
    studio("queue", "list")
    (studio_home / "state" / "queue.sqlite3").write_bytes(b"no database at all, but long enough to be taken for one" * 40)
    for extra in ("-wal", "-shm"):
        (studio_home / "state" / f"queue.sqlite3{extra}").unlink(missing_ok=True)
    said = studio("queue", "list")
    assert said.code == 2
    assert "queue.sqlite3" in said.err
    assert said.err.count("\n") == 1
