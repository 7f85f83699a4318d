"""What is told on a node and what is repeated of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vcd_studio.cluster.journal import Journal, JournalError, Told, newest, repeat
from vcd_studio.jobs.copies import copy_of, put_copy
from vcd_studio.jobs.processes import this_process
from vcd_studio.jobs.store import Store


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(), min_size=1, max_size=6), cut=st.integers(1, 40))
def test_read_in_pieces_it_is_what_was_told(tmp_path: Path, texts: list[str], cut: int) -> None:
    whole, growing = Journal(tmp_path / "whole"), Journal(tmp_path / "growing")
    for journal in (whole, growing):
        journal.path.unlink(missing_ok=True)
    for text in texts:
        whole.tell("log", 1, "info", text)
    data = whole.path.read_bytes()
    found: list[Told] = []
    read = 0
    for start in range(0, len(data), cut):
        with growing.path.open("ab") as file:
            file.write(data[start : start + cut])
        told, read = growing.read(read)
        found += told
    assert [told.values[2] for told in found] == texts
    assert read == len(data)


def test_one_that_is_not_there_yet_tells_nothing(tmp_path: Path) -> None:
    assert Journal(tmp_path / "journal").read(0) == ([], 0)


@pytest.mark.parametrize("line", ["", "{", "5", '"log"', "[]", '["log"]', '["clear_finished", 1]', '["close", 1]', '[["log"], 1]'])
def test_a_line_that_no_worker_writes(tmp_path: Path, line: str) -> None:
    (tmp_path / "journal").write_text(f"{line}\n")
    with pytest.raises(JournalError):
        Journal(tmp_path / "journal").read()


@pytest.mark.parametrize("values", [(2, "finished", None), ([], "x"), (1, "info", "text", "more")])
def test_nothing_is_repeated_for_another_job_or_with_other_values(store: Store, tmp_path: Path, values: tuple[object, ...]) -> None:
    job = store.enqueue("generate", tmp_path, "a clip", ["t2v"], {})
    store.enqueue("generate", tmp_path, "another", ["t2v"], {})
    with pytest.raises(JournalError):
        repeat([Told("log", values)], store, job.id)


def test_overtaken_progress_is_left_out_but_for_its_words() -> None:
    told = [
        Told("progress", (1, 1, 9, "one", "one.png")),
        Told("progress", (1, 2, 9, "two", None)),
        Told("progress", (2, 1, 9, None, None)),
        Told("log", (1, "info", "text")),
        Told("progress", (2, 2, 9, None, None)),
    ]
    assert newest(told) == [Told("progress", (1, 2, 9, "two", "one.png")), *told[2:]]


def test_a_copied_job_has_its_numbers_and_what_was_finished(store: Store, tmp_path: Path) -> None:
    store.enqueue("generate", tmp_path, "the first", ["t2v", "save"], {})
    job = store.enqueue("generate", tmp_path, "a clip", ["t2v", "save"], {"seed": 3}, device="slurm")
    claimed = store.claim(this_process(), "slurm")
    assert claimed is not None
    store.finish_stage(store.stages(job.id)[0].id, "frames")
    store.update_result(job.id, {"clip": "x"})
    with Store(tmp_path / "other" / "queue.sqlite3") as other:
        put_copy(other, copy_of(store, job.id))
        taken = other.claim(this_process(), "cuda:0")
        assert taken is not None
        assert (taken.id, taken.settings, taken.result) == (job.id, {"seed": 3}, {"clip": "x"})
        assert [(stage.id, stage.state, stage.artefact) for stage in other.stages(job.id)] == [
            (stage.id, stage.state, stage.artefact) for stage in store.stages(job.id)
        ]
