"""From a project to jobs: everything is checked here, before anything is written; each job takes its own snapshot of what it needs."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from vcd_studio import __version__
from vcd_studio.catalog.packs import PackMissing, find_pack
from vcd_studio.jobs.estimates import clip_bytes, clip_seconds, pack_size
from vcd_studio.jobs.model import Job
from vcd_studio.jobs.store import Store
from vcd_studio.jobs.workers import wake
from vcd_studio.locations import packs_dir, store_path
from vcd_studio.project.errors import InputError
from vcd_studio.project.found_boxes import Pick, read_boxes
from vcd_studio.project.identity import Identity, check_agreed
from vcd_studio.project.loras import ADAPTER, LoraChoice, find_lora
from vcd_studio.project.project import Project
from vcd_studio.project.prompts import Prompt, read_travel, resolve
from vcd_studio.project.settings import PRESETS, TRAINING_PRESETS, GenerationSettings
from vcd_studio.project.text import quoted

MAX_CLIPS = 10_000
"""More clips than this in one plan is taken for a mistake."""


@dataclass(frozen=True)
class PlannedClip:
    """One clip to be: the written text, what it expanded to (identities by their tokens), and its full settings."""

    text: str
    expanded: str
    seed: int
    settings: dict[str, Any]
    """The job's whole snapshot, as JSON."""
    identities: tuple[str, ...]

    @property
    def stages(self) -> list[str]:
        return [*self.settings["generation"]["stages"], "save"]


@dataclass(frozen=True)
class Plan:
    """What a yes would put into the queue."""

    items: tuple[PlannedClip, ...]
    seconds: float | None
    """Estimated from finished jobs; None before there are any."""
    bytes: int

    @property
    def count(self) -> int:
        return len(self.items)


def enqueue_segment(
    store: Store,
    project: Project,
    identity: Identity | str,
    *,
    photo: str | None = None,
    pick: Pick = "best",
    thresholds: Mapping[str, float] | None = None,
    device: str | None = None,
) -> Job:
    """Masks for the identity's photos in the automatic state, but for those whose boxes a person picked; or for ``photo`` alone.

    ``pick``: the best box of each photo, all its boxes, or some by their places from 0, best first. ``thresholds``: SegmentationSettings
    by name, for this job. ``device``: the one that must do it; None for any. InputError when there is nothing to do.
    """
    identity = _identity(project, identity)
    names = [identity.photo(photo).name] if photo is not None else _unpicked(identity)
    if photo is not None and (state := identity.photo(photo).state) != "automatic":
        raise InputError(
            f"The mask of {quoted(photo)} is {state}, and finding it again would lose that; set it to automatic first "
            "(identity mask --state automatic, or u on the identity screen)."
        )
    segmentation = identity.segmentation.with_overrides(dict(thresholds or {}))
    _writable(identity.masks_dir)
    settings = {**_identity_snapshot(project, identity), "segmentation": segmentation.model_dump(mode="json"), "photos": names}
    if pick != "best":
        settings["pick"] = pick
    title = f"masks of {identity.name}" if photo is None else f"mask of {identity.name}, {photo}"
    job = store.enqueue("segment", project.path, title, ["segment"], settings, device=device)
    wake()
    return job


def _unpicked(identity: Identity) -> list[str]:
    """The automatic photos whose boxes nobody picked."""
    automatic = [photo for photo in _photos(identity) if photo.state == "automatic"]
    if not automatic:
        raise InputError(f"No photo of {quoted(identity.name)} is in the automatic state; nothing is left to segment.")
    names = [photo.name for photo in automatic if not ((found := read_boxes(photo.mask_path)) and found.picked)]
    if not names:
        raise InputError(f"The boxes of all photos of {quoted(identity.name)} were picked by hand; segment one photo to find it anew.")
    return names


def enqueue_train(
    store: Store,
    project: Project,
    identity: Identity | str,
    overrides: Mapping[str, Any] | None = None,
    *,
    preset: str | None = None,
    priority: int = 0,
    device: str | None = None,
) -> Job:
    """Train the identity by its settings' method; photos without a mask are segmented first. ``overrides``: TrainingSettings by name."""
    identity = _identity(project, identity)
    check_agreed([identity])
    photos = _photos(identity)
    training = identity.training.with_overrides({**_preset(preset, TRAINING_PRESETS), **(overrides or {})})
    _writable(identity.trained_dir)
    settings = {
        **_identity_snapshot(project, identity),
        "pack": _trains_on(project.pack),
        "training": training.model_dump(mode="json"),
        "photos": [{"name": photo.path.name, "sha256": file_hash(photo.path), "state": photo.state} for photo in photos],
    }
    if training.with_tokens:
        settings["with_tokens"] = _tokens_snapshot(identity)
    how = "" if training.method == "tokens" else f" by {training.method}"
    title = f"train {identity.name}{how}, {training.steps} steps{f', seed {training.seed}' if training.seed else ''}"
    job = store.enqueue("train", project.path, title, ["train"], settings, priority=priority, device=device)
    wake()
    return job


def plan_generate(
    project: Project,
    *,
    prompts: Sequence[Prompt] | None = None,
    text: str | None = None,
    identity: Identity | str | None = None,
    seeds: Sequence[int] | None = None,
    stages: Sequence[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    preset: str | None = None,
    input_video: Path | None = None,
    store: Store | None = None,
) -> Plan:
    """Expand prompts (these, or ``text``, or the project's whole list) × seeds into clips, and estimate them. Writes nothing.

    ``identity`` is what V* stands for; of a list, only prompts that name it are then taken. ``overrides``, and
    before them ``preset``, win over a prompt's own.
    """
    chosen = _identity(project, identity) if identity is not None else None
    if prompts is None:
        prompts = [_given(text)] if text is not None else _listed(project)
    changes = {**_preset(preset, PRESETS), **(overrides or {})}
    if seeds is not None:
        changes["seeds"] = tuple(seeds)
    if stages is not None:
        changes["stages"] = tuple(stages)
    video = _video(input_video)
    items: list[PlannedClip] = []
    for prompt in prompts:
        settings = _settings_of(project, prompt, changes)
        _check_stages(settings, video)
        items.extend(_clips_of(project, prompt, chosen, settings, video, by_hand="loras" in changes))
        if len(items) > MAX_CLIPS:
            raise InputError(f"This plan has more than {MAX_CLIPS} clips; choose fewer prompts, seeds or alternatives.")
    if not items:
        name = quoted(chosen.token) if chosen else "an identity"
        raise InputError(f"No prompt names {name}; write V* or its token where it should appear.")
    size = pack_size(project.pack)
    return Plan(tuple(items), _seconds(items, store, size), sum(clip_bytes(i.stages, i.settings["generation"], size) for i in items))


def enqueue_plan(store: Store, project: Project, plan: Plan, device: str | None = None, priority: int = 0) -> list[Job]:
    """The plan's clips into the queue as one batch: all of them or none. ``device``: the one that must make them; None for any."""
    project.check_writable()
    batch = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    jobs: list[Job] = []
    with store.database.write():
        for stages, group in itertools.groupby(plan.items, key=lambda item: item.stages):
            titled = [(f"{item.expanded} · seed {item.seed}", item.settings) for item in group]
            jobs.extend(store.enqueue_all(titled, "generate", project.path, stages, batch=batch, device=device, priority=priority))
    wake()
    return jobs


def file_hash(path: Path) -> str:
    """SHA-256 in hex. InputError when the file cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error


def _trains_on(name: str) -> str:
    """The pack whose base an identity learns on: clips may be of another base (paper: SD 1.5, then Realistic Vision)."""
    try:
        return find_pack(name, packs_dir()).trains_on or name
    except PackMissing:  # another machine's worker may have it
        return name


def _identity(project: Project, identity: Identity | str) -> Identity:
    return project.identity(identity) if isinstance(identity, str) else identity


def _photos(identity: Identity) -> list[Any]:
    photos = [photo for photo in identity.photos() if photo.state != "left-out"]
    if not photos:
        raise InputError(f"{quoted(identity.name)} has no photos to learn from; put some into {identity.folder / 'photos'}.")
    return photos


def _identity_snapshot(project: Project, identity: Identity) -> dict[str, Any]:
    return {
        "pack": project.pack,
        "identity": identity.name,
        "noun": identity.noun,
        "token": identity.token,
        "segmentation": identity.segmentation.model_dump(mode="json"),
        "code_version": __version__,
    }


def _preset(name: str | None, presets: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    if name is None:
        return {}
    if name not in presets:
        raise InputError(f"There is no preset {quoted(name)}; choose one of {', '.join(presets)}.")
    return presets[name]


def _listed(project: Project) -> list[Prompt]:
    prompts = list(project.prompt_list().prompts)
    if not prompts:
        raise InputError(f"{project.prompts_path} holds no prompts yet; add one, or give one with --prompt.")
    return prompts


def _given(text: str) -> Prompt:
    travel = read_travel(text)
    return Prompt(None if travel else text.strip(), travel)


def _settings_of(project: Project, prompt: Prompt, changes: Mapping[str, Any]) -> GenerationSettings:
    settings = prompt.settings(project.defaults)
    return settings.with_overrides(changes) if changes else settings


def _check_stages(settings: GenerationSettings, video: Path | None) -> None:
    if video is None and settings.stages[0] != "t2v":
        raise InputError(f"The stages {', '.join(settings.stages)} need a clip to start from; add t2v, or give a video with --input.")
    if video is not None and "t2v" in settings.stages:
        raise InputError("A clip that starts from a video has no t2v stage; choose --stages face,tiled.")


def lora_snapshot(choice: LoraChoice, project: Project, pack: str, *, by_hand: bool) -> dict[str, Any]:
    """A LoRA of a clip: its file, strength and hash. ``by_hand``: named for this clip, not by the project's files."""
    path = find_lora(choice, project.path, pack, by_hand=by_hand)
    return {"file": str(path), "strength": choice.strength, "sha256": _known_hash(path / ADAPTER if path.is_dir() else path)}


def _clips_of(
    project: Project, prompt: Prompt, chosen: Identity | None, settings: GenerationSettings, video: Path | None, by_hand: bool
) -> Iterable[PlannedClip]:
    loras = [lora_snapshot(LoraChoice.read(lora), project, project.pack, by_hand=by_hand) for lora in settings.loras]
    for variant in prompt.expanded(project.wildcard_dir):
        words = variant.travel if variant.travel is not None else {0: variant.text or ""}
        resolved = {frame: resolve(_substitute(part, chosen), project) for frame, part in words.items()}
        named = {identity.name: identity for _, identities in resolved.values() for identity in identities}
        if chosen is not None and chosen.name not in named:
            continue
        texts = {frame: part for frame, (part, _) in resolved.items()}
        expanded = texts[0] if variant.travel is None else " ".join(f"{frame}: {part}" for frame, part in texts.items())
        snapshot = {
            "pack": project.pack,
            "name": prompt.name,
            "written": prompt.written,
            "prompt": expanded,
            "travel": {str(frame): part for frame, part in texts.items()} if variant.travel is not None else None,
            "identities": [_run_snapshot(identity) for identity in named.values()],
            "loras": loras,
            "input": str(video) if video else None,
            "input_sha256": _known_hash(video) if video else None,
            "code_version": __version__,
        }
        generation = settings.model_dump(mode="json", exclude={"seeds"})
        for seed in settings.seeds:
            yield PlannedClip(prompt.written, expanded, seed, {**snapshot, "seed": seed, "generation": generation}, tuple(named))


def _substitute(words: str, chosen: Identity | None) -> str:
    return words if chosen is None else re.sub(r"(?<!\w)V\*", lambda _: chosen.token, words)


def _run_snapshot(identity: Identity) -> dict[str, Any]:
    check_agreed([identity])
    run = identity.used_run()
    if run is None or not run.finished:
        raise InputError(f"{quoted(identity.name)} is not trained yet; `vcd-studio identity train PROJECT {identity.name}` does it.")
    tokens, weights = (str(path) if path.is_file() else None for path in (run.tokens_path, run.weights_path))
    snapshot = {
        "name": identity.name,
        "noun": identity.noun,
        "token": identity.token,
        "run": run.name,
        "tokens": tokens,
        "sha256": _known_hash(Path(tokens or run.weights_path)),
    }
    return {**snapshot, "weights": weights, "weights_sha256": _known_hash(Path(weights))} if weights else snapshot


def _tokens_snapshot(identity: Identity) -> dict[str, Any]:
    run = identity.latest_tokens()
    if run is None:
        raise InputError(f"{quoted(identity.name)} has no ID tokens for with_tokens; train some first (method tokens), or leave it out.")
    return {"run": run.name, "tokens": str(run.tokens_path), "sha256": file_hash(run.tokens_path)}


def _known_hash(path: Path) -> str:
    """``file_hash``, but a file that did not change since is not read again: a plan asks for every clip, and weights may be gigabytes."""
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error
    return _hash_as_of(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=256)
def _hash_as_of(path: Path, changed: int, size: int) -> str:
    return file_hash(path)


def _seconds(items: Sequence[PlannedClip], store: Store | None, size: int) -> float | None:
    if store is None:
        if not store_path().is_file():
            return None
        with Store() as own:
            return _seconds(items, own, size)
    known: dict[str, float | None] = {}
    total = 0.0
    for item in items:
        generation = item.settings["generation"]
        key = repr((item.stages, generation["steps"], generation["frames"], generation["width"], generation["height"]))
        if key not in known:
            known[key] = clip_seconds(store, item.stages, item.settings["pack"], generation, size)
        seconds = known[key]
        if seconds is None:
            return None
        total += seconds
    return total


def _video(path: Path | None) -> Path | None:
    if path is None:
        return None
    if not path.is_file():
        raise InputError(f"There is no video {path}.")
    return path.resolve()


def _writable(folder: Path) -> None:
    """The folder, or the nearest one above it that is there, must take new files. InputError else."""
    present = next(place for place in (folder, *folder.parents) if place.exists())
    if not present.is_dir() or not os.access(present, os.W_OK | os.X_OK):
        raise InputError(f"{present} cannot be written; change its permissions, or copy the project to a folder you own.")
