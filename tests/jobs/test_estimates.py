"""What a plan will cost: the pack's own size stands for a clip that does not say its, and a stage's own settings for the clip's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vcd_studio.jobs import store as store_module
from vcd_studio.jobs.estimates import clip_bytes, clip_seconds, pack_size
from vcd_studio.jobs.processes import this_process
from vcd_studio.jobs.store import Store

STAGES = ["t2v", "save"]


def clip(store: Store, seconds: float, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    """A finished clip whose t2v took so long, and whose save took a second."""
    generation = {"steps": 10, "frames": 16, "width": None, "height": None}
    store.enqueue("generate", Path("/film"), "clip", STAGES, {"pack": "pocket", "seed": 1, "generation": generation, **settings})
    now = [1000.0]
    monkeypatch.setattr(store_module.time, "time", lambda: now[0])
    job = store.claim(this_process(), "cpu")
    assert job is not None
    for stage, lasts in zip(store.stages(job.id), (seconds, 1.0), strict=True):
        store.begin_stage(stage.id)
        now[0] += lasts
        store.finish_stage(stage.id, None)
    store.finish(job.id)


def test_a_clip_of_the_packs_own_size_takes_as_long_whether_it_says_so_or_not(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clip(store, 60, monkeypatch)
    told = [{"steps": 10, "frames": 16, "width": side, "height": side} for side in (None, 64, 128)]
    assert [clip_seconds(store, STAGES, "pocket", each, 64) for each in told] == [61, 61, 244]
    assert clip_bytes(STAGES, told[0], 64) == clip_bytes(STAGES, told[1], 64)


def test_a_stage_with_settings_of_its_own_is_scaled_by_those(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clip(store, 60, monkeypatch, own={"t2v": {"steps": 20}})
    assert clip_seconds(store, ["t2v"], "pocket", {"steps": 10, "frames": 16}, 64) == 30


def test_the_packs_size_is_its_configs_word() -> None:
    assert pack_size("pocket") == 64
    assert pack_size("not on this machine") == 512
