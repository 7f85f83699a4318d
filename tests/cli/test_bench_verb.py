"""``vcd-studio bench``: what it refuses, and the table and its JSON out of a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vcd_studio.bench import __main__ as process
from vcd_studio.bench.figures import Figure
from vcd_studio.jobs.processes import this_process
from vcd_studio.jobs.store import Store


def test_an_unknown_part_is_named_with_those_that_there_are(studio: Any, tmp_path: Path) -> None:
    said = studio("bench", "juggling", "--out", str(tmp_path / "out"))
    assert (said.code, said.out) == (2, "")
    assert 'nothing to measure called "juggling"; choose from clock, diffusers' in said.err
    assert not (tmp_path / "out").exists()


def test_nothing_is_measured_beside_a_running_job(studio: Any, tmp_path: Path) -> None:
    with Store() as store:
        store.enqueue("generate", tmp_path, "a clip", ["t2v"], {})
        store.claim(this_process(), "cpu")
    said = studio("bench", "diffusers", "--out", str(tmp_path / "out"))
    assert said.code == 2
    assert "Job 1 is running and would be measured too" in said.err


def test_a_card_that_is_not_there_is_said(studio: Any, tmp_path: Path) -> None:
    assert studio("bench", "diffusers", "--device", "cuda:9", "--out", str(tmp_path)).code == 2


def measuring(*figures: Figure, then: Exception | None = None) -> Any:
    def measure(part: str, options: Any) -> Any:
        yield from figures
        if then is not None:
            raise then

    return measure


def test_what_was_measured_is_kept_when_the_rest_breaks_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = Figure("T2V", (1.0, 3.0, 2.0), rival=(2.0, 6.0, 2.0), rival_name="diffusers", times=1.3)
    monkeypatch.setattr(process, "measure", measuring(figure, then=RuntimeError("T2V by ours has ended")))
    assert process.main(["diffusers", "--out", str(tmp_path / "out")]) == 1
    assert "broken off: T2V by ours has ended; what was measured before is in" in capsys.readouterr().err
    record = json.loads((tmp_path / "out" / "bench.json").read_text())
    (kept,) = record["figures"]["diffusers"]
    assert (kept["median"], kept["ratio"], kept["met"]) == (2.0, 2.0, True)
    assert record["machine"]["torch"]
    assert "| T2V | 2.00 s | 1.00 s to 3.00 s, 3 times | diffusers 2.00 s | 2.00 |" in (tmp_path / "out" / "bench.md").read_text()


def test_the_verb_answers_with_the_table_its_process_wrote(studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    script = "import sys; from vcd_studio.bench import __main__ as p; from vcd_studio.bench.figures import Figure\n"
    script += "p.measure = lambda part, options: iter([Figure('T2V', (0.5,))])\nsys.exit(p.main(sys.argv[1:]))"
    run = subprocess.run
    monkeypatch.setattr("subprocess.run", lambda command, **named: run([sys.executable, "-c", script, *command[3:]], **named))
    said = studio("bench", "clock", "--out", str(out), "--json")
    assert said.code == 0
    assert [figure["what"] for figure in json.loads(said.out)["figures"]["clock"]] == ["T2V"]
