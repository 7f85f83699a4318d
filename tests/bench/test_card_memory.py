"""The trials of a card's memory, driven on the CPU: real jobs by a real worker, what they gave up, and that one's failure is its own."""

from __future__ import annotations

import json
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from vcd_studio.bench import card_memory
from vcd_studio.bench.card_memory import TITLES, CappedKeeper, enqueue, film, measure, told, trials, work
from vcd_studio.bench.figures import Failed, Figure
from vcd_studio.bench.parts import Options
from vcd_studio.bench.random_pack import PACK, SMALL_SIZE, write_pack
from vcd_studio.locations import packs_dir
from vcd_studio.project.errors import InputError
from vcd_studio.worker.context import StageContext
from vcd_studio.worker.stages import STAGES


@pytest.mark.slow
def test_each_cap_has_a_worker_of_its_own_that_does_every_stage(tmp_path: Path) -> None:
    lines = list(trials(Options("cpu", 1, tmp_path, small=True), (8, None), at_once=2))
    assert [line.what for line in lines] == [f"{title}, {card}" for card in ("8 GB", "the whole card") for title in TITLES.values()]
    assert all(isinstance(line, Figure) and line.note == "nothing given up" for line in lines), lines


@pytest.mark.slow
def test_what_a_stage_gives_up_and_why_one_fails_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VCD_HOME", str(tmp_path))
    write_pack(packs_dir() / PACK, torch.float32, small=True)
    project, calls = film(tmp_path, SMALL_SIZE), 0

    def too_large_at_first(context: StageContext) -> str | None:
        nonlocal calls
        calls += 1
        artefact = STAGES["t2v"](context)
        if calls == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return artefact

    def never(context: StageContext) -> str | None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    enqueue(project)
    work("cpu", 12, {**STAGES, "t2v": too_large_at_first, "face": never})
    peaks = dict(json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("["))
    lines = {line.what: line for line in told(12, peaks)}
    t2v, face, tiled = (lines[f"{TITLES[name]}, 12 GB"] for name in ("t2v", "face", "tiled"))
    assert isinstance(t2v, Figure)
    assert t2v.note.startswith("the VAE sees at most")
    assert isinstance(face, Failed)
    assert "not enough memory" in face.error
    assert isinstance(tiled, Figure)
    assert tiled.wanted == 12


def test_without_a_card_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be measured on the CPU; name a card"):
        list(measure(Options("cpu", 1, tmp_path)))


@pytest.mark.parametrize(("whole", "caps", "at_once"), [(141, [8, 12, 16, 24], 5), (80, [8, 12, 16, 24], 1), (24, [8, 12, 16], 1)])
def test_workers_run_side_by_side_where_a_card_has_room_for_all(
    whole: int, caps: list[int], at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (whole * 10**9, whole * 10**9))
    monkeypatch.setattr(card_memory, "trials", lambda *given: asked.extend(given[1:]) or iter(()))
    assert list(measure(Options("cuda:0", 1, tmp_path))) == []
    assert asked == [(None, *caps), at_once]


@pytest.mark.slow
def test_broken_off_no_further_worker_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, going_on = list[int | None](), threading.Event()

    def worker(device: str, cap: int | None, own: Path) -> tuple[dict[str, float], str]:
        begun.append(cap)
        if len(begun) == 2:
            going_on.wait(10)
        return {}, "not run"

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            going_on.set()
            super().shutdown(wait=wait)

    monkeypatch.setattr(card_memory, "_worker", worker)
    monkeypatch.setattr(card_memory, "ThreadPoolExecutor", Pool)
    lines = trials(Options("cpu", 1, tmp_path, small=True), (8, 12, 16, 24))
    assert next(lines).what == "T2V, 8 GB"
    lines.close()  # type: ignore[attr-defined]
    assert begun in ([8], [8, 12])


def test_networks_are_placed_as_on_a_card_of_that_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10 * 10**9, 80 * 10**9))
    assert [CappedKeeper("cuda:0", cap).room() for cap in (8, 12, None)] == [8 * 10**9, 10 * 10**9, 10 * 10**9]


@pytest.mark.slow
def test_a_worker_that_dies_is_a_reason(tmp_path: Path) -> None:
    peaks, last = card_memory._worker("no-such-device", None, tmp_path)
    assert peaks == {}
    assert "no-such-device" in last


def test_a_worker_that_is_cut_off_has_told_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_long(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 400, output=b'a word of a library\n["t2v", 6.0]\n["save", 0.1]\n')

    monkeypatch.setattr(subprocess, "run", too_long)
    assert card_memory._worker("cuda:0", 8, tmp_path) == ({"t2v": 6.0, "save": 0.1}, "the worker was not done within 400 s")
