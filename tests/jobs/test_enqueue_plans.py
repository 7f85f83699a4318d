"""Everything is checked before anything is written, and a queued job keeps its own snapshot."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from vcd_studio.jobs.enqueue import enqueue_plan, enqueue_segment, enqueue_train, plan_generate
from vcd_studio.jobs.store import Store
from vcd_studio.project.errors import InputError
from vcd_studio.project.project import Project
from vcd_studio.project.prompts import Prompt


@pytest.fixture
def project(tmp_path: Path) -> Project:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (32, 32), "red").save(photos / "red.png")
    made = Project.create(tmp_path / "film")
    made.add_identity("rex", "dog", [photos])
    made.add_identity("tom", "cat", [photos])
    return made


def train(project: Project, name: str, content: bytes = b"tokens") -> Path:
    run = project.identity(name).new_run()
    (run / "tokens.safetensors").write_bytes(content)
    return run


def test_a_plan_is_expansions_times_seeds_and_writes_nothing(project: Project, store: Store) -> None:
    train(project, "rex")
    project.prompt_list().append("a <rex> dog in the {snow|rain}", seeds=[1, 2, 3])
    plan = plan_generate(project)
    assert plan.count == 6
    assert {(item.expanded, item.seed) for item in plan.items} == {
        (f"a <rex> dog in the {w}", s) for w in ("snow", "rain") for s in (1, 2, 3)
    }
    assert {item.text for item in plan.items} == {"a <rex> dog in the {snow|rain}"}
    assert plan.seconds is None
    assert plan.bytes > 0
    assert store.jobs() == []
    assert not any((project.path / "outputs").iterdir())


def test_a_plan_becomes_one_batch_with_full_snapshots(project: Project, store: Store) -> None:
    run = train(project, "rex")
    plan = plan_generate(project, text="a <rex> dog", seeds=[4, 5], stages=["t2v"], overrides={"steps": 7})
    jobs = enqueue_plan(store, project, plan)
    assert len({job.batch for job in jobs}) == 1
    assert jobs[0].batch
    assert [stage.name for stage in store.stages(jobs[0].id)] == ["t2v", "save"]
    settings = jobs[1].settings
    assert (settings["seed"], settings["generation"]["steps"], settings["pack"]) == (5, 7, "pocket")
    (identity,) = settings["identities"]
    assert (identity["token"], identity["noun"], identity["run"]) == ("<rex>", "dog", "run-001")
    assert identity["tokens"] == str(run / "tokens.safetensors")
    assert len(identity["sha256"]) == 64
    (project.path / "project.toml").write_text('name = "other"\npack = "other"\n')
    train(project, "rex", b"later tokens")
    assert store.job(jobs[1].id).settings == settings


def test_a_preset_gives_way_to_what_is_said_beside_it(project: Project) -> None:
    (clip,) = plan_generate(project, text="a dog", preset="draft", overrides={"steps": 6}).items
    told = clip.settings["generation"]
    assert (told["scheduler"], told["cache_every"], told["steps"], clip.stages) == ("dpm++", 2, 6, ["t2v", "save"])


def test_v_star_stands_for_the_chosen_identity(project: Project) -> None:
    train(project, "tom")
    plan = plan_generate(project, text="a V* cat", identity="tom")
    assert plan.items[0].expanded == "a <tom> cat"
    with pytest.raises(InputError, match="exactly one identity"):
        plan_generate(project, text="a V* cat")


def test_of_a_list_only_the_chosen_identitys_prompts_are_taken(project: Project) -> None:
    train(project, "rex")
    train(project, "tom")
    prompts = [Prompt("a <rex> dog"), Prompt("a <tom> cat"), Prompt("a V* on the beach"), Prompt("an empty beach")]
    plan = plan_generate(project, prompts=prompts, identity="tom")
    assert [item.expanded for item in plan.items] == ["a <tom> cat", "a <tom> on the beach"]
    with pytest.raises(InputError, match="No prompt names"):
        plan_generate(project, text="an empty beach", identity="tom")


def test_a_travel_keeps_every_part(project: Project) -> None:
    train(project, "rex")
    plan = plan_generate(project, text="0: a <rex> dog sleeping 8: a <rex> dog jumping")
    assert plan.items[0].settings["travel"] == {"0": "a <rex> dog sleeping", "8": "a <rex> dog jumping"}
    assert plan.items[0].expanded == "0: a <rex> dog sleeping 8: a <rex> dog jumping"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"text": "a dog", "preset": "sketch"}, 'no preset "sketch"; choose one of ours, paper, released, draft'),
        ({"text": "a <rexx> dog"}, "<rexx>.*known are.*<rex>"),
        ({"text": "a <tom> cat"}, '"tom" is not trained yet'),
        ({"text": "a <rex> dog", "identity": "nobody"}, "no identity"),
        ({"text": "a <rex> dog", "stages": ["face"]}, "need a clip to start from"),
        ({"text": "a <rex> dog", "overrides": {"stepz": 3}}, "stepz.*steps"),
        ({"text": "a <rex> dog", "seeds": [-1]}, "seeds"),
        ({"text": "a {dog|cat"}, "brace"),
        ({"text": "a <rex> dog", "stages": ["tiled"], "input_video": Path("/no/such.mp4")}, "no video"),
        (
            {"text": "a <rex> dog", "seeds": range(10_000), "prompts": None, "stages": ["t2v"], "overrides": {"negative": "x" * 5000}},
            "negative",
        ),
        ({}, "holds no prompts yet"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_queued(project: Project, arguments: dict[str, object], said: str) -> None:
    train(project, "rex")
    with pytest.raises(InputError, match=said) as caught:
        plan_generate(project, **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_too_many_clips_are_taken_for_a_mistake(project: Project) -> None:
    prompts = [Prompt("a {dog|cat}"), Prompt("a {dog|cat} again")]
    with pytest.raises(InputError, match="more than 10000 clips"):
        plan_generate(project, prompts=prompts, seeds=range(6000))


def test_a_project_that_cannot_be_written_is_refused(project: Project, store: Store) -> None:
    train(project, "rex")
    plan = plan_generate(project, text="a <rex> dog")
    outputs = project.path / "outputs"
    outputs.rmdir()
    outputs.write_text("in the way")
    with pytest.raises(InputError, match="outputs"):
        enqueue_plan(store, project, plan)
    assert store.jobs() == []


def test_training_and_segmenting_need_photos(project: Project, store: Store) -> None:
    project.identity("rex").set_mask_state("red.png", "left-out")
    for verb in (enqueue_segment, enqueue_train):
        with pytest.raises(InputError, match='"rex" has no photos'):
            verb(store, project, "rex")
    project.identity("rex").set_mask_state("red.png", "corrected")
    with pytest.raises(InputError, match="automatic state"):
        enqueue_segment(store, project, "rex")
    with pytest.raises(InputError, match="steps"):
        enqueue_train(store, project, "rex", {"steps": 0})
    assert store.jobs() == []


def test_nothing_is_queued_of_someone_who_did_not_agree(project: Project, store: Store) -> None:
    train(project, "rex")
    project.identity("rex").set_noun("woman", consent=False)
    with pytest.raises(InputError, match="did not agree"):
        enqueue_train(store, project, "rex")
    with pytest.raises(InputError, match="did not agree"):
        plan_generate(project, text="a <rex> dog running")
    assert store.jobs() == []


def test_training_takes_presets_and_overrides_into_its_snapshot(project: Project, store: Store) -> None:
    job = enqueue_train(store, project, "rex", {"seed": 9}, preset="released")
    assert (job.settings["training"]["steps"], job.settings["training"]["seed"]) == (400, 9)
    assert job.settings["photos"][0]["state"] == "automatic"
    assert len(job.settings["photos"][0]["sha256"]) == 64
    with pytest.raises(InputError, match="no preset"):
        enqueue_train(store, project, "rex", preset="mine")


def test_a_run_may_hold_tokens_weights_or_both(project: Project, store: Store) -> None:
    def identity() -> dict[str, object]:
        return plan_generate(project, text="a <rex> dog").items[0].settings["identities"][0]

    run = train(project, "rex")
    assert not {"weights", "weights_sha256"} & identity().keys()
    (run / "weights.safetensors").write_bytes(b"weights")
    both = identity()
    assert both["weights"] == str(run / "weights.safetensors")
    assert both["weights_sha256"] != both["sha256"]
    (run / "weights.safetensors").write_bytes(b"other weights")
    assert identity()["weights_sha256"] != both["weights_sha256"]
    alone = project.identity("rex").new_run() / "weights.safetensors"
    alone.write_bytes(b"a LoRA from elsewhere")
    found = identity()
    assert (found["run"], found["tokens"], found["weights"]) == ("run-002", None, str(alone))
    assert found["sha256"] == found["weights_sha256"]


def test_weights_may_learn_beside_the_newest_tokens(project: Project, store: Store) -> None:
    lora = {"method": "lora", "with_tokens": True}
    with pytest.raises(InputError, match='"rex" has no ID tokens for with_tokens; train some first'):
        enqueue_train(store, project, "rex", lora)
    tokens = train(project, "rex")
    (train(project, "rex", b"rare") / "weights.safetensors").write_bytes(b"weights")
    job = enqueue_train(store, project, "rex", lora)
    assert job.settings["with_tokens"]["tokens"] == str(tokens / "tokens.safetensors")
    assert len(job.settings["with_tokens"]["sha256"]) == 64
    assert (job.settings["training"]["steps"], job.settings["training"]["learning_rate"]) == (500, 1e-4)
    assert job.title == "train rex by lora, 500 steps"
    assert "with_tokens" not in enqueue_train(store, project, "rex", preset="dreambooth").settings
    with pytest.raises(InputError, match="Only weights learn beside tokens"):
        enqueue_train(store, project, "rex", {"with_tokens": True})


def test_loras_are_found_when_a_clip_is_planned_and_paths_outside_by_hand_alone(project: Project, tmp_path: Path) -> None:
    (project.path / "loras").mkdir()
    (project.path / "loras" / "film.safetensors").write_bytes(b"one")
    (tmp_path / "zoom.ckpt").write_bytes(b"two")
    (clip,) = plan_generate(project, prompts=[Prompt("a dog", overrides={"loras": ["film:0.5"]})]).items
    (lora,) = clip.settings["loras"]
    assert (lora["file"], lora["strength"]) == (str(project.path / "loras" / "film.safetensors"), 0.5)
    assert len(lora["sha256"]) == 64
    (clip,) = plan_generate(project, text="a dog", overrides={"loras": [str(tmp_path / "zoom")]}).items
    assert clip.settings["loras"][0]["file"] == str(tmp_path / "zoom.ckpt")
    with pytest.raises(InputError, match="outside of the project"):
        plan_generate(project, prompts=[Prompt("a dog", overrides={"loras": [str(tmp_path / "zoom.ckpt")]})])
