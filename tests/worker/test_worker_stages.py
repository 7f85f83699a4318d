"""The real stages on tiny random networks: what lies on the disk afterwards, and that it is the same however often it was interrupted."""

from __future__ import annotations

import csv
import shutil
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tomli
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from tiny_pack import save_tiny_pack

from vcd_studio import models
from vcd_studio.jobs.enqueue import enqueue_plan, enqueue_segment, enqueue_train, plan_generate
from vcd_studio.jobs.model import Job
from vcd_studio.jobs.store import Store
from vcd_studio.media.frames import load_frames
from vcd_studio.media.provenance import read_recipe
from vcd_studio.media.video import read_video
from vcd_studio.method.id_tokens import IdTokens
from vcd_studio.project.found_boxes import read_boxes
from vcd_studio.project.project import Project
from vcd_studio.project.prompts import Prompt
from vcd_studio.worker.context import StageContext
from vcd_studio.worker.lease import Lease, WakeUp
from vcd_studio.worker.loop import Worker
from vcd_studio.worker.stages import STAGES, train
from vcd_studio.worker.stages.clips import mix_travel
from vcd_studio.worker.stages.train import kept_losses

if TYPE_CHECKING:
    from conftest import WorkerProcess

TRAINING = {"steps": 4, "bank": 4, "batch": 2, "checkpoint_every": 2, "preview_every": 2, "tokens": 2}
QUICK = {"frames": 4, "steps": 2, "guidance": 1.0, "tiled_strength": 0.5, "face_strength": 0.5, "preview_every": 2}


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pack(tmp_path_factory.mktemp("packs") / "tiny")


@pytest.fixture
def project(tmp_path: Path, pack: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 255, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(noise).save(photos / f"{number}.png")
    made = Project.create(tmp_path / "film", pack=str(pack))
    made.add_identity("rex", "dog", [photos])
    return made


def work(store: Store, stages: Any = STAGES) -> None:
    """What a worker does with --once, in this process."""
    with Lease("cpu") as lease, WakeUp("cpu") as wake_up:
        Worker(store, lease, wake_up, stages).run(once=True)


def done(store: Store, job: Job) -> Job:
    job = store.job(job.id)
    assert job.state == "done", job.traceback or job.error
    return job


def trained(store: Store, project: Project, **overrides: Any) -> Job:
    job = enqueue_train(store, project, "rex", {**TRAINING, **overrides})
    work(store)
    return done(store, job)


def test_segmenting_writes_a_mask_beside_every_automatic_photo(store: Store, project: Project) -> None:
    identity = project.identity("rex")
    identity.set_mask_state("1.png", "whole")
    job = enqueue_segment(store, project, identity)
    work(store)
    result = done(store, job).result
    assert [photo.has_mask for photo in identity.photos()] == [True, False]
    with Image.open(identity.photos()[0].mask_path) as mask:
        assert mask.size == (48, 40)
        assert mask.mode == "L"
    assert [entry["name"] for entry in result["photos"]] == ["0.png"]
    assert result["photos"][0]["boxes"][0]["label"] == "dog"
    assert any("0.png" in event.text and "mask covers" in event.text for event in store.events(job.id))


def test_the_boxes_stay_in_the_project_and_a_picked_one_is_left_alone(store: Store, project: Project) -> None:
    identity = project.identity("rex")
    done_all = enqueue_segment(store, project, identity)
    work(store)
    mask = identity.photo("0.png").mask_path
    found = read_boxes(mask)
    assert found is not None
    assert (found.noun, found.chosen, found.picked, found.box[0].label) == ("dog", (0,), False, "dog")
    assert [box.model_dump() for box in found.box] == done(store, done_all).result["photos"][0]["boxes"]
    picked = enqueue_segment(store, project, identity, photo="0.png", pick=[0], thresholds={"box_threshold": 0.1})
    work(store)
    done(store, picked)
    found = read_boxes(mask)
    assert found is not None
    assert (found.picked, found.box_threshold) == (True, 0.1)
    assert enqueue_segment(store, project, identity).settings["photos"] == ["1.png"]
    beyond = enqueue_segment(store, project, identity, photo="0.png", pick=[99])
    work(store)
    assert "Box 100 was picked" in (store.job(beyond.id).error or "")


def test_an_unknown_noun_fails_in_one_sentence_and_keeps_old_masks(store: Store, project: Project) -> None:
    identity = project.identity("rex")
    work_first = enqueue_segment(store, project, identity)
    work(store)
    done(store, work_first)
    before = identity.photos()[0].mask_path.read_bytes()
    identity.set_noun("teapot")
    job = enqueue_segment(store, project, identity)
    work(store)
    failed = store.job(job.id)
    assert failed.state == "failed"
    assert failed.error is not None
    assert '"teapot"' in failed.error
    assert "dog" in failed.error
    assert "\n" not in failed.error
    assert identity.photos()[0].mask_path.read_bytes() == before


def test_training_segments_first_and_leaves_a_whole_run(store: Store, project: Project) -> None:
    job = trained(store, project)
    identity = project.identity("rex")
    assert all(photo.has_mask for photo in identity.photos())
    run = identity.latest_run()
    assert run is not None
    assert str(run.folder) == job.result["run"]
    tokens = IdTokens.load(run.tokens_path)
    assert (tokens.token, tokens.noun, tuple(tokens.embeddings.shape)) == ("<rex>", "dog", (2, 32))
    assert tokens.metadata["base_model_sha256"]
    assert "0.png" in tokens.metadata["photos"]
    with run.loss_path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert all(float(row["loss"]) > 0 and float(row["token_norm"]) > 0 for row in rows)
    assert [path.name for path in run.previews] == ["step-00002.png", "step-00004.png"]
    assert run.record()["settings"]["steps"] == 4
    assert not (run.folder / "checkpoint.pt").exists()
    assert store.stages(job.id)[0].preview == str(run.previews[-1])


def test_a_training_killed_with_9_ends_with_the_very_same_tokens(
    store: Store, project: Project, worker_process: Callable[..., WorkerProcess]
) -> None:
    plan = {"steps": 30, "checkpoint_every": 5, "preview_every": 0}
    unbroken = trained(store, project, **plan)
    job = enqueue_train(store, project, "rex", {**TRAINING, **plan})
    worker = worker_process("-m", "vcd_studio.worker", "--device", "cpu", "--once")
    worker.wait_for("step 10 of 30")
    worker.kill()
    assert store.job(job.id).state == "running"
    work(store)
    broken = done(store, job)
    assert any("goes on from the checkpoint" in event.text for event in store.events(job.id))
    assert [attempt.outcome for attempt in store.attempts(job.id)] == ["crashed", "done"]
    one, two = (IdTokens.load(Path(each.result["tokens"])) for each in (unbroken, broken))
    assert torch.equal(one.embeddings, two.embeddings)
    curves = [(Path(each.result["run"]) / "loss.csv").read_text() for each in (unbroken, broken)]
    assert curves[0] == curves[1]


@pytest.mark.parametrize("killed_at", ["_note", "drop_checkpoint"])
def test_a_training_killed_after_its_tokens_were_saved_learns_nothing_again(
    killed_at: str, store: Store, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = enqueue_train(store, project, "rex", TRAINING)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, killed_at, die)
        with pytest.raises(KeyboardInterrupt):
            work(store)
    (left,) = store.open_attempts()
    run = Path(store.job(job.id).result["run"])
    tokens = (run / "tokens.safetensors").read_bytes()
    assert (run / "checkpoint.pt").is_file()
    store.recover(lambda worker: worker != left.worker)
    monkeypatch.setattr(train, "begin_training", None)
    work(store)
    result = done(store, job).result
    assert (run / "tokens.safetensors").read_bytes() == tokens
    assert result["tokens"] == str(run / "tokens.safetensors")
    assert result["loss"] == pytest.approx(np.mean([float(row["loss"]) for row in csv.DictReader((run / "loss.csv").open())]), abs=1e-6)
    assert result["steady_loss"] == tomli.loads((run / "run.toml").read_text())["steady_loss"] > 0
    assert not (run / "checkpoint.pt").exists()


@pytest.mark.parametrize("kind", ["run", "clip"])
def test_a_folder_removed_while_the_job_runs_is_one_sentence_and_retry_makes_it_anew(kind: str, store: Store, project: Project) -> None:
    if kind == "run":
        job, stage = enqueue_train(store, project, "rex", TRAINING), "train"
    else:
        job, stage = enqueue_plan(store, project, plan_generate(project, text="a dog", stages=["t2v", "face"], overrides=QUICK))[0], "face"

    def taken_away(context: StageContext) -> str | None:
        step = context.step

        def step_and_remove(*given: Any, **options: Any) -> None:
            step(*given, **options)
            made = context.result.get(kind)
            if made and given[0] == 1:
                shutil.rmtree(made)

        context.step = step_and_remove  # type: ignore[method-assign]
        return STAGES[stage](context)

    def before_frames_are_read(context: StageContext) -> str | None:
        shutil.rmtree(context.result["clip"])
        return STAGES[stage](context)

    work(store, {**STAGES, stage: taken_away if kind == "run" else before_frames_are_read})
    failed = store.job(job.id)
    assert failed.state == "failed"
    gone = failed.result["run"] if kind == "run" else f"{failed.result['clip']}/stages/t2v"
    assert failed.error == f"{gone} was removed while the job ran; retry makes it anew."
    store.retry(job.id)
    work(store)
    done(store, job)


def test_a_clip_folder_removed_before_a_retry_is_made_anew_with_every_stage(store: Store, project: Project) -> None:
    (job,) = enqueue_plan(store, project, plan_generate(project, text="a dog", stages=["t2v"], overrides=QUICK))

    def broken(context: StageContext) -> str | None:
        raise ZeroDivisionError

    work(store, {**STAGES, "save": broken})
    failed = store.job(job.id)
    assert [stage.state for stage in store.stages(job.id)] == ["done", "failed"]
    shutil.rmtree(failed.result["clip"])
    store.retry(job.id)
    work(store)
    assert {path.name for path in Path(done(store, job).result["clip"]).iterdir()} >= {"clip.mp4", "clip.toml", "poster.png", "stages"}


def test_a_photo_changed_after_enqueueing_is_not_trained_on(store: Store, project: Project) -> None:
    job = enqueue_train(store, project, "rex", TRAINING)
    Image.new("RGB", (48, 40)).save(project.identity("rex").photos()[1].path)
    work(store)
    assert "1.png" in (store.job(job.id).error or "")
    assert store.job(job.id).state == "failed"
    assert project.identity("rex").latest_run() is None


def test_a_clip_comes_with_its_stages_films_poster_and_recipe(store: Store, project: Project) -> None:
    trained(store, project)
    plan = plan_generate(project, text="a <rex> dog running in the {snow|night}", seeds=[3], overrides=QUICK)
    assert plan.count == 2
    assert plan.bytes > 0
    first, _ = enqueue_plan(store, project, plan)
    work(store)
    job = done(store, first)
    folder = Path(job.result["clip"])
    assert {path.name for path in folder.iterdir()} == {"clip.mp4", "clip.gif", "poster.png", "contact-sheet.png", "clip.toml", "stages"}
    shapes = {name: load_frames(folder / "stages" / name / "frames")[0].shape for name in ("t2v", "face", "tiled")}
    assert shapes == {"t2v": (32, 32, 3), "face": (32, 32, 3), "tiled": (64, 64, 3)}
    frames, fps = read_video(folder / "clip.mp4")
    assert (len(frames), frames[0].shape, fps) == (4, (64, 64, 3), 8)
    recipe = tomli.loads((folder / "clip.toml").read_text(encoding="utf-8"))
    assert recipe["written"] == "a <rex> dog running in the {snow|night}"
    assert recipe["prompt"] == "a <rex> dog running in the snow"
    assert (recipe["seed"], recipe["identities"][0]["run"]) == (3, "run-001")
    assert all(recipe["stages"][name]["seconds"] > 0 for name in ("t2v", "face", "tiled"))
    assert recipe["stages"]["tiled"]["report"]["seam_score"] > 0
    assert "detections" in recipe["stages"]["face"]["report"]
    assert recipe["models"]
    assert recipe["versions"]["torch"] == torch.__version__
    for name in ("clip.mp4", "clip.gif", "poster.png", "contact-sheet.png", "stages/t2v/clip.mp4"):
        said = read_recipe(folder / name)
        assert said["digital_source_type"].endswith("trainedAlgorithmicMedia")
        assert "a <rex> dog running in the snow" in said["parameters"]
        assert "Seed: 3" in said["parameters"]
    preview = store.stages(job.id)[0].preview
    assert preview is not None
    assert Path(preview).is_file()
    assert [clip.id for clip in project.clips()][-1] == folder.name
    again = plan_generate(project, text="a <rex> dog", seeds=[3], overrides=QUICK, store=store)
    assert again.seconds is not None
    assert again.seconds > 0


def test_the_same_seed_gives_the_same_clip_first_last_or_handed_on(store: Store, project: Project) -> None:
    trained(store, project)
    plan = plan_generate(project, text="a <rex> dog", seeds=[5, 6], overrides=QUICK)
    first, other = enqueue_plan(store, project, plan)
    work(store)
    last, _ = enqueue_plan(store, project, plan)

    def interrupted(context: StageContext) -> str | None:
        context.stopping = lambda: True
        return STAGES["face"](context)

    work_until_face = {**STAGES, "face": interrupted}
    with Lease("cpu") as lease, WakeUp("cpu") as wake_up:
        worker = Worker(store, lease, wake_up, work_until_face)
        job = store.claim(lease.worker, "cpu")
        assert job is not None
        assert job.id == last.id
        worker.run_job(job)
    assert store.job(last.id).state == "queued"
    assert [stage.state for stage in store.stages(last.id)] == ["done", "queued", "queued", "queued"]
    work(store)
    one, two, three = (
        np.stack(load_frames(Path(done(store, job).result["clip"]) / "stages" / "tiled" / "frames")) for job in (first, last, other)
    )
    assert np.array_equal(one, two)
    assert not np.array_equal(one, three)


def test_a_travel_and_a_persons_own_video(store: Store, project: Project) -> None:
    trained(store, project)
    travel = Prompt(None, {0: "a <rex> dog running", 3: "a <rex> dog in the snow"})
    (first,) = enqueue_plan(store, project, plan_generate(project, prompts=[travel], stages=["t2v"], overrides=QUICK))
    work(store)
    video = Path(done(store, first).result["clip"]) / "clip.mp4"
    plan = plan_generate(project, text="a <rex> dog", stages=["tiled"], overrides=QUICK, input_video=video)
    (second,) = enqueue_plan(store, project, plan)
    work(store)
    frames, _ = read_video(Path(done(store, second).result["clip"]) / "clip.mp4")
    assert (len(frames), frames[0].shape) == (4, (64, 64, 3))


def test_a_noun_the_face_detector_never_learnt_passes_the_clip_on(store: Store, project: Project) -> None:
    identity = project.identity("rex")
    for photo in identity.photos():
        identity.set_mask_state(photo.name, "whole")
    identity.set_noun("teapot")
    trained(store, project)
    plan = plan_generate(project, text="a <rex> teapot", stages=["t2v", "face"], overrides=QUICK)
    (job,) = enqueue_plan(store, project, plan)
    work(store)
    result = done(store, job).result
    assert "passed unchanged" in result["reports"]["face"]["message"]
    before, after = (np.stack(load_frames(Path(result["clip"]) / "stages" / name / "frames")) for name in ("t2v", "face"))
    assert np.array_equal(before, after)


def test_half_a_line_in_the_loss_curve_is_no_harm(tmp_path: Path) -> None:
    (tmp_path / "loss.csv").write_bytes(b"step,loss,token_norm\n1,0.500000,0.400000\n2,0.400000,0.400000\n3,0.3000\x00\x00\n4,0.2")
    assert kept_losses(tmp_path, 5) == [(1, 0.5, 0.4), (2, 0.4, 0.4)]
    assert kept_losses(tmp_path, 1) == [(1, 0.5, 0.4)]
    assert (tmp_path / "loss.csv").read_text() == "step,loss,token_norm\n1,0.500000,0.400000\n"


def test_tokens_changed_after_enqueueing_are_refused(store: Store, project: Project) -> None:
    run = trained(store, project).result
    (job,) = enqueue_plan(store, project, plan_generate(project, text="a <rex> dog", overrides=QUICK))
    with Path(run["tokens"]).open("ab") as file:
        file.write(b"more")
    work(store)
    assert "have changed" in (store.job(job.id).error or "")


def test_a_pack_that_is_not_there_is_one_sentence(store: Store, project: Project) -> None:
    project.pack = "no-such-pack"
    job = enqueue_segment(store, project, "rex")
    work(store)
    assert 'The pack "no-such-pack" is not on this machine' in (store.job(job.id).error or "")


def test_networks_stay_loaded_for_the_next_job(store: Store, project: Project) -> None:
    jobs = [enqueue_segment(store, project, "rex") for _ in range(2)]
    work(store)
    loads = [event for job in jobs for event in store.events(job.id) if "loading the pack" in event.text]
    assert len(loads) == 1


def test_a_paused_job_leaves_no_networks_in_memory(store: Store, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = enqueue_plan(store, project, plan_generate(project, text="a dog", stages=["t2v"], overrides=QUICK))
    loaded: list[weakref.ref[Any]] = []
    load_pack = models.load_pack

    def load(*given: Any) -> Any:
        networks = load_pack(*given)
        loaded.append(weakref.ref(networks.motion_unet))
        return networks

    def paused(context: StageContext) -> str | None:
        step = context.step

        def step_and_pause(done: int, *rest: Any, **options: Any) -> None:
            if done == 1:
                store.pause(job.id)
            step(done, *rest, **options)

        context.step = step_and_pause  # type: ignore[method-assign]
        return STAGES["t2v"](context)

    monkeypatch.setattr(models, "load_pack", load)
    with Lease("cpu") as lease, WakeUp("cpu") as wake_up:
        worker = Worker(store, lease, wake_up, {**STAGES, "t2v": paused})
        worker.run(once=True)
        assert store.job(job.id).state == "paused"
        assert [network() for network in loaded] == [None]


def test_a_travel_mixes_its_prompts_along_straight_lines() -> None:
    mixed = mix_travel({0: torch.zeros(1, 2, 3), 4: torch.ones(1, 2, 3)}, 6)
    assert mixed[:, 0, 0].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
