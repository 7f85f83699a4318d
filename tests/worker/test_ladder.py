# ruff: noqa: F811 (fixtures of test_worker_stages)
"""Out of memory, injected into real stages on tiny networks: what is given up, what the clip is then, and what is said of it."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli
import torch
from diffusers import AutoencoderKL, UNetMotionModel

sys.path.insert(0, str(Path(__file__).parent))

from test_worker_stages import QUICK, TRAINING, done, pack, project, trained, work  # noqa: F401

from vcd_studio import models
from vcd_studio.jobs import again
from vcd_studio.jobs.enqueue import enqueue_plan, enqueue_train, plan_generate
from vcd_studio.jobs.model import Job
from vcd_studio.jobs.processes import this_process
from vcd_studio.jobs.store import Store
from vcd_studio.media.frames import load_frames
from vcd_studio.method.id_tokens import IdTokens
from vcd_studio.method.photo_training import PhotoTraining
from vcd_studio.models.memory import Placement
from vcd_studio.project.errors import InputError
from vcd_studio.project.outputs import read_clip
from vcd_studio.project.project import Project
from vcd_studio.worker import networks
from vcd_studio.worker.context import StageContext
from vcd_studio.worker.interrupts import FreshProcess, Interrupted
from vcd_studio.worker.ladder import RUNGS, Relief, Shape, is_out_of_memory, next_rung
from vcd_studio.worker.lease import Lease, WakeUp
from vcd_studio.worker.loop import Worker
from vcd_studio.worker.stages import STAGES

FULL = "CUDA out of memory. Tried to allocate 2.00 GiB."
SLICED = RUNGS["pixels_at_once"]
TURNS = RUNGS["in_turn"]
USUAL = 8
"""Latent cells along a side of the tiny networks' own size."""
Condition = Callable[[int, Any], bool]


def full(stage: str, network: type, method: str, when: Condition) -> dict[str, Any]:
    """The worker's stages, where in one of them a network's calls run out of memory ``when`` (the how many-th it is, its input) says so."""
    calls = 0

    def run(context: StageContext) -> str | None:
        works = getattr(network, method)

        def call(self: Any, given: Any, *rest: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if when(calls, given):
                raise torch.cuda.OutOfMemoryError(FULL)
            return works(self, given, *rest, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(network, method, call)
            return STAGES[stage](context)

    return {**STAGES, stage: run}


def clip_job(store: Store, project: Project, stages: list[str], **overrides: Any) -> Job:
    plan = plan_generate(project, text="a <rex> dog running", stages=stages, seeds=[3], overrides={**QUICK, **overrides})
    return enqueue_plan(store, project, plan)[0]


def frames(job: Job, stage: str) -> Any:
    return np.stack(load_frames(Path(job.result["clip"]) / "stages" / stage / "frames")).astype(int)


def recipe(job: Job) -> Any:
    return tomli.loads((Path(job.result["clip"]) / "clip.toml").read_text(encoding="utf-8"))


def warnings(store: Store, job: Job) -> list[str]:
    """Those of the ladder; masks have theirs."""
    return [event.text for event in store.events(job.id) if event.level == "warning" and "not enough memory" in event.text]


def climb(shape: Shape | None, device: str, replaceable: bool = False) -> Iterator[Relief]:
    """Every rung, each tried with the shape that the one before it made."""
    relief: Relief | None = Relief()
    while (relief := next_rung(relief, shape, device, replaceable)) is not None:
        yield relief
        if shape is not None:
            shape = replace(
                shape,
                pixels_at_once=relief.pixels_at_once or shape.pixels_at_once,
                window=relief.context_frames or shape.window,
                larger_tiles=shape.larger_tiles and not relief.usual_tiles,
            )


def test_the_ladder_goes_from_slices_over_windows_and_turns_to_a_fresh_process_and_ends() -> None:
    usual = Shape(frames=16, pixels=512 * 512, pixels_at_once=4 * 512 * 512, window=16)
    one = 512 * 512
    slices, shorter = [Relief(2 * one), Relief(one)], [Relief(one, context_frames=frames) for frames in (8, 4, 2)]
    assert list(climb(usual, "cpu")) == [*slices, *shorter]
    assert list(climb(usual, "cuda:0")) == [*slices, *shorter, replace(shorter[-1], in_turn=True)]
    assert list(climb(None, "cuda:0")) == [Relief(in_turn=True)]
    assert list(climb(None, "cpu")) == []
    assert list(climb(usual, "cuda:0", replaceable=True))[-1] == replace(shorter[-1], in_turn=True, fresh_process=True)
    assert list(climb(None, "cpu", replaceable=True)) == [Relief(fresh_process=True)]


def test_larger_tiles_are_given_up_before_frames_of_a_window() -> None:
    large = Shape(frames=16, pixels=1024 * 1024, pixels_at_once=1024 * 1024, window=4, larger_tiles=True)
    first, *others = climb(large, "cpu")
    assert (first, others) == (Relief(usual_tiles=True), [Relief(usual_tiles=True, context_frames=2)])


def test_the_first_slice_is_smaller_than_the_clip() -> None:
    small = Shape(frames=6, pixels=32 * 32, pixels_at_once=4 * 512 * 512, window=1)
    assert [relief.pixels_at_once for relief in climb(small, "cpu")] == [3 * 32 * 32, 32 * 32]
    assert list(climb(replace(small, pixels=2048 * 2048), "cpu")) == []


@pytest.mark.parametrize("frames", [7, 5, 3])
def test_windows_never_share_more_than_half(frames: int) -> None:
    settings = {"context_frames": 16, "context_overlap": 4, "steps": 25}
    now = Relief(context_frames=frames).applied(settings)
    assert now == {"context_frames": frames, "context_overlap": min(4, frames // 2), "steps": 25}
    assert Relief(pixels_at_once=1).applied(settings) == settings


def test_what_is_out_of_memory() -> None:
    for error in (
        torch.cuda.OutOfMemoryError(FULL),
        MemoryError(),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory"),
    ):
        assert is_out_of_memory(error)
        wrapped = InputError("The pack cannot be loaded.")
        wrapped.__cause__ = error
        assert is_out_of_memory(wrapped)
    assert not any(map(is_out_of_memory, (RuntimeError("shapes differ"), ValueError("out of memory"), OSError(28, "No space left"))))


@pytest.mark.parametrize(
    ("stage", "network", "method", "at"),
    [
        ("t2v", UNetMotionModel, "forward", 2),
        ("t2v", AutoencoderKL, "decode", 1),
        ("face", UNetMotionModel, "forward", 1),
        ("face", AutoencoderKL, "encode", 1),
        ("face", AutoencoderKL, "decode", 1),
        ("tiled", UNetMotionModel, "forward", 3),
        ("tiled", AutoencoderKL, "encode", 1),
        ("tiled", AutoencoderKL, "decode", 1),
    ],
)
def test_once_out_of_memory_anywhere_gives_the_same_clip_in_slices(
    stage: str, network: type, method: str, at: int, store: Store, project: Project
) -> None:
    trained(store, project, steps=1, preview_every=0)
    stages = ["t2v"] if stage == "t2v" else ["t2v", stage]
    plain = clip_job(store, project, stages)
    work(store)
    job = clip_job(store, project, stages)
    work(store, full(stage, network, method, lambda calls, _: calls == at))
    plain, job = done(store, plain), done(store, job)
    assert np.array_equal(frames(job, stage), frames(plain, stage))  # two at a time: to the bit
    side = 64 if stage == "tiled" else 32
    said = SLICED.format(2 * side * side)
    assert warnings(store, job) == [f"{stage}: not enough memory; once more: {said}"]
    assert recipe(job)["stages"][stage]["report"]["memory"] == [said]
    assert recipe(job)["generation"] == recipe(plain)["generation"]
    assert "relief" not in plain.result
    assert "memory" not in str(recipe(plain)["stages"])


@pytest.mark.parametrize("stage", ["t2v", "tiled"])
def test_frame_by_frame_the_clip_is_the_same_but_for_rounding(stage: str, store: Store, project: Project) -> None:
    trained(store, project, steps=1, preview_every=0)
    plain = clip_job(store, project, ["t2v", "tiled"])
    work(store)
    job = clip_job(store, project, ["t2v", "tiled"])
    work(store, full(stage, AutoencoderKL, "decode", lambda _, latents: len(latents) > 1))
    plain, job = done(store, plain), done(store, job)
    assert np.abs(frames(job, stage) - frames(plain, stage)).max() <= 1
    side = 64 if stage == "tiled" else 32
    assert recipe(job)["stages"][stage]["report"]["memory"] == [SLICED.format(side * side)]
    assert len(warnings(store, job)) == 2


def test_shorter_windows_are_recorded_and_are_what_asking_for_them_gives(store: Store, project: Project) -> None:
    trained(store, project, steps=1, preview_every=0)
    job = clip_job(store, project, ["t2v", "tiled"], frames=8, context_frames=8, context_overlap=3)
    work(store, full("t2v", UNetMotionModel, "forward", lambda _, noisy: noisy.shape[2] > 4))
    job, made = done(store, job), recipe(done(store, job))
    at_t2v, at_tiled = made["stages"]["t2v"], made["stages"]["tiled"]
    said = [SLICED.format(32 * 32), RUNGS["context_frames"].format(4)]
    assert (at_t2v["context_frames"], at_t2v["context_overlap"], at_t2v["report"]["memory"]) == (4, 2, said)
    assert (at_tiled["context_frames"], at_tiled["context_overlap"], at_tiled["report"]["memory"]) == (8, 3, said[:1])
    assert made["generation"]["context_frames"] == 8
    assert [line.split("once more: ")[1] for line in warnings(store, job)] == [SLICED.format(n * 32 * 32) for n in (4, 2, 1)] + said[1:]
    asked = clip_job(store, project, ["t2v"], frames=8, context_frames=4, context_overlap=2)
    work(store)
    assert np.abs(frames(job, "t2v") - frames(done(store, asked), "t2v")).max() <= 1


def test_usual_tiles_are_recorded_and_are_what_asking_for_them_gives(store: Store, project: Project) -> None:
    trained(store, project, steps=1, preview_every=0)
    job = clip_job(store, project, ["t2v", "tiled"])
    work(store, full("tiled", UNetMotionModel, "forward", lambda _, noisy: noisy.shape[-1] > USUAL))
    job = done(store, job)
    made = recipe(job)["stages"]["tiled"]
    said = [SLICED.format(64 * 64), RUNGS["usual_tiles"]]
    assert (made["tile_larger"], made["report"]["tiles"], made["report"]["memory"]) == (0.0, 9, said)
    assert recipe(job)["generation"]["tile_larger"] == 0.25
    clip = read_clip(Path(job.result["clip"]))
    assert again.reproduce(store, clip, project).settings["own"]["tiled"] == {"tile_larger": 0.0}
    assert again.rerun(store, clip, project, ["tiled"]).settings["own"]["tiled"] == {}
    asked = clip_job(store, project, ["t2v", "tiled"], tile_larger=0.0)
    work(store)
    assert np.abs(frames(job, "tiled") - frames(done(store, asked), "tiled")).max() <= 1


@pytest.mark.parametrize("stage", ["t2v", "face", "tiled"])
def test_a_stage_that_never_fits_fails_in_one_sentence_and_the_queue_goes_on(stage: str, store: Store, project: Project) -> None:
    trained(store, project, steps=1, preview_every=0)
    stages = ["t2v"] if stage == "t2v" else ["t2v", stage]
    first, second = clip_job(store, project, stages), clip_job(store, project, stages)
    rungs = 4 if stage == "tiled" else 3  # slices of two frames and of one, tiles of the usual size, windows of two
    work(store, full(stage, UNetMotionModel, "forward", lambda calls, _: calls <= rungs + 1))
    failed, after = store.job(first.id), done(store, second)
    assert failed.state == "failed"
    assert failed.error == (
        f"There was not enough memory for stage {stage}; choose a smaller size or fewer frames per context window, and retry the job."
    )
    assert len(warnings(store, failed)) == rungs
    assert (warnings(store, after), "relief" in after.result) == ([], False)
    assert store.retry(first.id).state == "queued"
    work(store)
    again = done(store, first)
    assert "memory" not in str(recipe(again)["stages"])
    assert np.array_equal(frames(again, stage), frames(after, stage))


def work_kept(store: Store, stages: Any = STAGES) -> None:
    """As a worker does that would be started again: by a keeper, here this process itself."""
    with Lease("cpu", this_process()) as lease, WakeUp("cpu") as wake_up:
        Worker(store, lease, wake_up, stages).run(once=True)


def test_at_last_a_fresh_process_goes_on_with_what_was_given_up(store: Store, project: Project) -> None:
    trained(store, project, steps=1, preview_every=0)
    first, second, third = (clip_job(store, project, ["t2v"], frames=8, context_frames=8) for _ in range(3))
    plain_calls = QUICK["steps"]
    with pytest.raises(FreshProcess):
        work_kept(store, full("t2v", UNetMotionModel, "forward", lambda calls, _: calls > plain_calls))
    assert [store.job(job.id).state for job in (first, second, third)] == ["done", "queued", "queued"]
    assert [attempt.outcome for attempt in store.attempts(second.id)] == ["requeued"]
    work_kept(store)
    said = [SLICED.format(32 * 32), RUNGS["context_frames"].format(2), RUNGS["fresh_process"]]
    assert recipe(done(store, second))["stages"]["t2v"]["report"]["memory"] == said
    assert "relief" not in done(store, third).result
    assert store.job(second.id).crashes == 0


def test_what_a_fresh_process_cannot_do_fails_and_a_retry_begins_with_nothing_given_up(store: Store, project: Project) -> None:
    trained(store, project, steps=1, preview_every=0)
    clip_job(store, project, ["t2v"])
    job = clip_job(store, project, ["t2v"])
    with pytest.raises(FreshProcess):
        work_kept(store, full("t2v", UNetMotionModel, "forward", lambda calls, _: calls > QUICK["steps"]))
    work_kept(store, full("t2v", UNetMotionModel, "forward", lambda *_: True))
    assert (store.job(job.id).error or "").startswith("There was not enough memory for stage t2v;")
    store.retry(job.id)
    work_kept(store)
    assert "memory" not in str(recipe(done(store, job))["stages"])


def test_what_a_person_asks_comes_before_a_fresh_process(store: Store, project: Project) -> None:
    trained(store, project, steps=1, preview_every=0)
    clip_job(store, project, ["t2v"])
    job = clip_job(store, project, ["t2v"])
    rungs = 3  # slices of two frames and of one, windows of two

    def cancelled_at_the_last(calls: int, _: Any) -> bool:
        if calls == QUICK["steps"] + rungs + 1:
            store.cancel(job.id)
        return calls > QUICK["steps"]

    work_kept(store, full("t2v", UNetMotionModel, "forward", cancelled_at_the_last))
    assert store.job(job.id).state == "cancelled"
    assert len(warnings(store, job)) == rungs + 1


def test_without_a_keeper_there_is_no_fresh_process(store: Store, project: Project) -> None:
    trained(store, project, steps=1, preview_every=0)
    clip_job(store, project, ["t2v"])
    job = clip_job(store, project, ["t2v"])
    work(store, full("t2v", UNetMotionModel, "forward", lambda calls, _: calls > QUICK["steps"]))
    assert store.job(job.id).state == "failed"


def test_learning_has_no_rung_on_the_cpu(store: Store, project: Project) -> None:
    first, second = (enqueue_train(store, project, "rex", {**TRAINING, "preview_every": 0}) for _ in range(2))
    work(store, full("train", PhotoTraining, "_error", lambda calls, _: calls == 3))
    assert (store.job(first.id).error or "").startswith("There was not enough memory for stage train;")
    assert done(store, second).result["tokens"]


def test_what_a_broken_off_attempt_gave_up_is_not_told_of_the_next(store: Store, project: Project) -> None:
    trained(store, project, steps=1, preview_every=0)
    job = clip_job(store, project, ["t2v"])
    once = full("t2v", UNetMotionModel, "forward", lambda calls, _: calls == 1)["t2v"]

    def broken_off(context: StageContext) -> str | None:
        once(context)
        raise Interrupted("paused", "paused by a person")

    work(store, {**STAGES, "t2v": broken_off})
    assert store.job(job.id).result["relief"]["t2v"]["pixels_at_once"] == 2 * 32 * 32
    store.resume(job.id)
    work(store)
    assert "memory" not in str(recipe(done(store, job))["stages"])


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> list[Placement]:
    """A card that is none: everything is computed on the CPU; where the networks of each pack loaded would have been."""
    placements: list[Placement] = []
    load_pack = models.load_pack

    def load(name: str, device: str, dtype: torch.dtype, folder: Path, placement: Placement) -> Any:
        placements.append(placement)
        return load_pack(name, "cpu", torch.float32, folder, placement)

    monkeypatch.setattr(models, "load_pack", load)
    monkeypatch.setattr(networks, "set_up_device", lambda _: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (8 * 10**9, 8 * 10**9))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "none")
    return placements


def work_on_card(store: Store, stages: Any) -> Worker:
    with Lease("cuda:0") as lease, WakeUp("cuda:0") as wake_up:
        worker = Worker(store, lease, wake_up, stages)
        worker.run(once=True)
    return worker


def test_on_a_card_the_networks_take_turns_at_last_and_only_for_this_job(
    store: Store, project: Project, card: list[Placement]
) -> None:
    trained(store, project, steps=1, preview_every=0)
    first, second = clip_job(store, project, ["t2v", "tiled"]), clip_job(store, project, ["t2v"])
    worker = work_on_card(store, full("t2v", UNetMotionModel, "forward", lambda calls, _: calls <= 4))
    job, after = done(store, first), done(store, second)
    said = [SLICED.format(32 * 32), RUNGS["context_frames"].format(2), TURNS]
    stages = recipe(job)["stages"]
    assert stages["t2v"]["report"]["memory"] == said
    assert stages["tiled"]["report"]["memory"] == [said[0], TURNS]
    assert "relief" not in after.result
    assert worker.networks.relief == Relief()
    everything = (("unet", "controlnet"), ("vae",), ("text_encoder",), ("upscaler",), ("grounding",), ("segmenter",))
    assert [placement.aside for placement in card[-6:]] == [(), (), (), (), everything, ()]


@pytest.mark.parametrize("method", ["tokens", "lora"])
def test_learning_on_a_card_goes_on_with_the_others_off_it_and_ends_the_same(
    method: str, store: Store, project: Project, card: list[Placement]
) -> None:
    how = {**TRAINING, "method": method, "tokens": 1, "preview_every": 0}
    plain, job = (enqueue_train(store, project, "rex", how) for _ in range(2))
    calls_of_one = TRAINING["steps"]
    work_on_card(store, full("train", PhotoTraining, "_error", lambda calls, _: calls == calls_of_one + 3))
    plain, job = done(store, plain), done(store, job)
    assert warnings(store, job) == [f"train: not enough memory; once more: {TURNS}"]
    assert any("goes on from the checkpoint at step 2" in event.text for event in store.events(job.id))
    one, two = (IdTokens.load(Path(each.result["tokens"])) for each in (plain, job))
    assert torch.equal(one.embeddings, two.embeddings)
    curves = [(Path(each.result["run"]) / "loss.csv").read_text() for each in (plain, job)]
    assert curves[0] == curves[1]
    records = [tomli.loads((Path(each.result["run"]) / "run.toml").read_text()) for each in (plain, job)]
    assert [record.get("memory") for record in records] == [None, [TURNS]]
    assert card[-1].aside == (("controlnet",), ("vae",), ("upscaler",), ("grounding",), ("segmenter",))


def test_nothing_of_the_try_that_failed_is_in_memory_at_the_next(store: Store, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(store, project, steps=1, preview_every=0)
    job = clip_job(store, project, ["t2v"])
    made: list[weakref.ref[Any]] = []
    left: list[list[bool]] = []
    load_pack = models.load_pack

    def load(*given: Any) -> Any:
        loaded = load_pack(*given)
        made.append(weakref.ref(loaded.motion_unet))
        return loaded

    def once(calls: int, noisy: Any) -> bool:
        made.append(weakref.ref(noisy))
        return calls == 1

    stages = full("t2v", UNetMotionModel, "forward", once)

    def watched(context: StageContext) -> str | None:
        left.append([each() is not None for each in made])
        return stages["t2v"](context)

    monkeypatch.setattr(models, "load_pack", load)
    work(store, {**STAGES, "t2v": watched})
    done(store, job)
    assert left == [[], [False, False]]
