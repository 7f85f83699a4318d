"""Clips made once more from their ``clip.toml`` alone: the very same one, or its later stages anew from the frames that it kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vcd_studio import __version__
from vcd_studio.catalog.digests import hashes
from vcd_studio.catalog.headers import WeightsError
from vcd_studio.catalog.packs import find_pack
from vcd_studio.jobs.enqueue import file_hash, lora_snapshot
from vcd_studio.jobs.model import Job
from vcd_studio.jobs.store import Store
from vcd_studio.jobs.workers import wake
from vcd_studio.locations import cache_dir, packs_dir
from vcd_studio.project.errors import InputError
from vcd_studio.project.loras import ADAPTER, LoraChoice
from vcd_studio.project.outputs import SIDECAR, Clip
from vcd_studio.project.project import Project
from vcd_studio.project.settings import STAGES, GenerationSettings, StageName
from vcd_studio.project.stage_settings import ALONE, FORCED, SHARED, own_of
from vcd_studio.project.text import quoted

NOT_HERE: Mapping[str, str] = MappingProxyType({"stages": "--stages", "seeds": "--seed"})
"""Settings that other options give."""
NEEDED = ("written", "prompt", "seed", "pack", "generation", "identities")


def reproduce(store: Store, clip: Clip, project: Project) -> Job:
    """Enqueue the very same clip, every stage of it, each as it was told. InputError, with the file's name, where something has changed."""
    snapshot = remembered(clip, project) | {"reproduces": {"id": clip.id, "clip": str(clip.folder)}}
    _check_pack(clip)
    snapshot["own"] = {stage: own_of(clip.sidecar, stage) for stage in snapshot["generation"]["stages"]}
    return _enqueue(store, project, clip, snapshot, [], f"{snapshot['prompt']} · seed {snapshot['seed']} · once more")


def rerun(
    store: Store, clip: Clip, project: Project, stages: Sequence[str], overrides: Mapping[str, Any] | None = None, seed: int | None = None
) -> Job:
    """Enqueue a new clip with these ``stages`` made anew by other settings, and those before them taken over as they are.

    What the stages taken over were told stays what the clip was told: new settings and the new ``seed`` are then the other stages' own.
    InputError where there is nothing to begin with, or a setting belongs to a stage that is taken over.
    """
    snapshot, changes = remembered(clip, project), dict(overrides or {})
    wanted = GenerationSettings().with_overrides({"stages": tuple(stages)}).stages
    kept = _kept(clip, wanted[0])
    if not kept and wanted[0] != "t2v" and not snapshot["input"]:
        raise InputError(f"The clip {quoted(clip.id)} kept no frames from before {wanted[0]}; begin with --stages t2v.")
    _check_changes(changes, kept)
    others = {key: changes[key] for key in SHARED if kept and key in changes}
    of_all = {key: value for key, value in changes.items() if key not in others}
    settings = GenerationSettings().with_overrides(snapshot["generation"]).with_overrides({**of_all, "stages": (*kept, *wanted)})
    snapshot["generation"] = settings.model_dump(mode="json", exclude={"seeds"})
    if "loras" in changes:
        snapshot["loras"] = [lora_snapshot(LoraChoice.read(lora), project, snapshot["pack"], by_hand=True) for lora in settings.loras]
    before = {stage: _chosen(clip, stage, changes) for stage in wanted}
    seeds = {stage: before[stage].pop("seed", snapshot["seed"]) if seed is None else seed for stage in wanted}
    if not kept:
        snapshot["seed"] = seeds[wanted[0]]
    snapshot["own"] = {}
    for stage in wanted:
        settings.with_overrides({**before[stage], **others})  # what a stage is told must be right as a whole
        other_seed = {} if seeds[stage] == snapshot["seed"] else {"seed": seeds[stage]}
        snapshot["own"][stage] = {**before[stage], **others, **other_seed}
    return _enqueue(store, project, clip, snapshot, kept, f"{snapshot['prompt']} · seed {seeds[wanted[0]]} · {', '.join(wanted)} anew")


def _check_changes(changes: Mapping[str, Any], kept: Sequence[str]) -> None:
    if option := next((NOT_HERE[key] for key in changes if key in NOT_HERE), None):
        raise InputError(f"A clip made anew takes its stages and its seed from {option}, not from a setting.")
    for stage in kept:
        if fixed := next((key for key in (*ALONE[stage], "loras") if key in changes), None):
            raise InputError(f"{fixed} cannot change while the frames of {stage} are kept; make {stage} anew too, or leave {fixed} out.")


def _chosen(clip: Clip, stage: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """What was chosen for this stage alone and does not change; shorter windows and smaller tiles that memory forced on it are tried as
    they were asked for."""
    forced = FORCED if clip.sidecar.get("stages", {}).get(stage, {}).get("report", {}).get("memory") else ()
    return {key: value for key, value in own_of(clip.sidecar, stage).items() if key not in changes and key not in forced}


def remembered(clip: Clip, project: Project) -> dict[str, Any]:
    """The snapshot that a job needs, out of the clip's recipe; every file that it names is checked to be the one it was."""
    recipe = clip.sidecar
    if clip.problem or (missing := [key for key in NEEDED if key not in recipe]):
        what = clip.problem or f"it does not say {missing[0]}"
        raise InputError(f"The clip {quoted(clip.id)} cannot be made again from {clip.folder / SIDECAR}: {what}.")
    generation = GenerationSettings().with_overrides(recipe["generation"], where=str(clip.folder / SIDECAR))
    loras = [dict(lora) for lora in recipe.get("loras", [])]
    for lora in loras:
        path = Path(lora["file"])
        _same(clip, path / ADAPTER if path.is_dir() else path, lora["sha256"])
    if recipe.get("input") and recipe.get("input_sha256"):
        _same(clip, Path(recipe["input"]), recipe["input_sha256"])
    return {
        "pack": recipe["pack"],
        "name": None,
        "written": recipe["written"],
        "prompt": recipe["prompt"],
        "travel": recipe.get("travel"),
        "identities": [_identity(clip, project, identity) for identity in recipe["identities"]],
        "loras": loras,
        "input": recipe.get("input"),
        "input_sha256": recipe.get("input_sha256"),
        "code_version": __version__,
        "seed": recipe["seed"],
        "generation": generation.model_dump(mode="json", exclude={"seeds"}),
    }


def _identity(clip: Clip, project: Project, told: Mapping[str, Any]) -> dict[str, Any]:
    """An identity's run as the recipe names it."""
    run = next((run for run in project.identity(told["name"]).runs() if run.name == told["run"]), None)
    if run is None:
        whose = f"{told['name']}'s {told['run']}"
        raise InputError(f"The clip {quoted(clip.id)} was made with {whose}, which is not there any more; put it back.")
    weights = run.weights_path if "weights_sha256" in told else None
    tokens = run.tokens_path if run.has_tokens else None
    if tokens or weights is None:
        _same(clip, run.tokens_path, told["sha256"])
    snapshot = {**told, "tokens": str(tokens) if tokens else None}
    if weights is None:
        return snapshot
    _same(clip, weights, told["weights_sha256"])
    return {**snapshot, "weights": str(weights)}


def _same(clip: Clip, path: Path, sha256: str) -> None:
    if not path.is_file():
        raise InputError(f"The clip {quoted(clip.id)} was made with {path}, which is not there any more; put it back.")
    if file_hash(path) != sha256:
        raise InputError(f"{path} is not what it was when {quoted(clip.id)} was made (SHA-256 {sha256[:12]}…); put the old one back.")


def _check_pack(clip: Clip) -> None:
    try:
        now = hashes(find_pack(clip.sidecar["pack"], packs_dir()), cache_dir())
    except WeightsError as error:
        raise InputError(str(error)) from error
    then: Mapping[str, str] = clip.sidecar.get("models", {})
    if other := next((name for name in sorted({*then, *now}) if then.get(name) != now.get(name)), None):
        pack = clip.sidecar["pack"]
        raise InputError(f"The pack {pack} is not what it was when {quoted(clip.id)} was made: {other} has changed; put it back.")


def _kept(clip: Clip, first: StageName) -> list[str]:
    """The stages before ``first`` whose frames are there."""
    outputs = clip.stages()
    return [stage for stage in STAGES[: STAGES.index(first)] if stage in outputs and outputs[stage].frames]


def _enqueue(store: Store, project: Project, clip: Clip, snapshot: dict[str, Any], kept: list[str], title: str) -> Job:
    project.check_writable()
    if kept:
        told = clip.sidecar.get("stages", {})
        recipes = {stage: {"seed": clip.sidecar["seed"], **told[stage]} for stage in kept if stage in told}
        snapshot["parent"] = {"id": clip.id, "clip": str(clip.folder), "stages": kept, "recipes": recipes}
    stages = [stage for stage in snapshot["generation"]["stages"] if stage not in kept]
    job = store.enqueue("generate", project.path, title, [*stages, "save"], snapshot)
    wake()
    return job
