"""The clip as a person gets it: film, GIF, poster, contact sheet, each saying how it was made; and the whole recipe beside them."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vcd_studio.media.difference import difference
from vcd_studio.media.export import frames_of
from vcd_studio.media.provenance import png_info
from vcd_studio.media.sheet import contact_sheet, poster
from vcd_studio.media.video import write_gif, write_video
from vcd_studio.method.protocols import Frames
from vcd_studio.project.errors import InputError
from vcd_studio.project.outputs import POSTER, VIDEO, read_clip, write_sidecar
from vcd_studio.project.stage_settings import SHARED, record_of, seed_of, settings_of
from vcd_studio.worker.context import StageContext
from vcd_studio.worker.ladder import Relief
from vcd_studio.worker.stages.clips import ClipStage, recipe, save_picture
from vcd_studio.worker.stages.train import versions

GIF = "clip.gif"
SHEET = "contact-sheet.png"
PARTS = 5

def run(context: StageContext) -> str | None:
    stage = ClipStage(context)
    frames = stage.clip_before()
    folder, fps = stage.folder, stage.generation["fps"]
    stages = stage_records(context)
    made = {**recipe(stage.settings, stage.generation, stage.seed, frames), **differing(stages)}
    context.step(0, PARTS)
    write_video(folder / VIDEO, list(frames), fps, made)
    context.step(1, PARTS, message=VIDEO)
    write_gif(folder / GIF, list(frames), fps, made)
    context.step(2, PARTS, message=GIF)
    save_picture(poster(list(frames)), folder / POSTER, pnginfo=png_info(made))
    context.step(3, PARTS, message=POSTER)
    save_picture(contact_sheet(list(frames)), folder / SHEET, pnginfo=png_info(made))
    context.step(4, PARTS, message=SHEET)
    write_sidecar(folder, sidecar(context, stage, stages, frames))
    context.step(5, PARTS, message="clip.toml")
    return str(folder)


def stage_records(context: StageContext) -> dict[str, Any]:
    """What each stage was told and found out, those taken over from another clip too, by name, in the order they ran."""
    reports, reliefs = context.result.get("reports", {}), context.result.get("relief", {})
    records: dict[str, Any] = dict((context.settings.get("parent") or {}).get("recipes", {}))
    for done in context.store.stages(context.job.id):
        if done.name == context.stage.name:
            continue
        relief = Relief(**reliefs.get(done.name, {}))
        generation, seed = relief.applied(settings_of(context.settings, done.name)), seed_of(context.settings, done.name)
        report = {**reports.get(done.name, {}), **({"memory": relief.sentences} if relief.sentences else {})}
        record = {**record_of(generation, seed, done.name), "seconds": done.seconds}
        records[done.name] = {**record, "report": report} if report else record
    return records


def differing(stages: Mapping[str, Any]) -> dict[str, str]:
    """By name, the stages that had another seed or other settings than the first, and which."""
    (_, usual), *others = stages.items()
    unlike = {name: [f"{key} {said.get(key)}" for key in ("seed", *SHARED) if said.get(key) != usual.get(key)] for name, said in others}
    return {name: ", ".join(words) for name, words in unlike.items() if words}


def sidecar(context: StageContext, stage: ClipStage, stages: Mapping[str, Any], frames: Frames) -> dict[str, Any]:
    """Everything `reproduce` needs, and what was measured on the way."""
    shape = frames.shape
    settings, job = stage.settings, context.job
    parent = settings.get("parent")
    kept = ("name", "noun", "token", "run", "sha256", "weights_sha256")
    identities = [{key: identity[key] for key in kept if key in identity} for identity in settings["identities"]]
    return {
        "id": stage.folder.name,
        "job": job.id,
        "batch": job.batch,
        "created": job.created,
        "finished": datetime.now(UTC),
        "written": settings["written"],
        "prompt": settings["prompt"],
        "travel": settings.get("travel"),
        "negative": stage.generation["negative"],
        "seed": settings["seed"],
        "input": settings.get("input"),
        "input_sha256": settings.get("input_sha256"),
        "parent": {key: parent[key] for key in ("id", "clip", "stages")} if parent else None,
        "reproduces": held_against(settings["reproduces"], stage.folder, frames) if "reproduces" in settings else None,
        "frames": shape[0],
        "height": shape[1],
        "width": shape[2],
        "fps": stage.generation["fps"],
        "pack": settings["pack"],
        "device": device_name(context.device),
        "precision": context.networks.for_clips,
        "digital_source_type": "trainedAlgorithmicMedia",
        "generation": stage.generation,
        "identities": identities,
        "loras": settings.get("loras", []),
        "stages": dict(stages),
        "versions": {**versions(), "enqueued-by": settings["code_version"], "python": platform.python_version()},
        "models": context.networks.hashes(settings["pack"]),
    }


def held_against(original: Mapping[str, str], folder: Path, frames: Frames) -> dict[str, Any]:
    """Whether a clip that was made once more, in ``folder``, came out the same: for its recipe."""
    try:
        if Path(original["clip"]) == folder:
            raise InputError("it was gone when this one took its name.")
        apart = difference(frames_of(read_clip(Path(original["clip"]))), list(frames))
    except (InputError, OSError) as error:
        return {**original, "verdict": f"The clip itself cannot be read any more: {error}"}
    return {**original, "same": apart.same, "verdict": str(apart)}


def device_name(device: str) -> str:
    """ "cpu (x86_64, linux)" or the card's own name."""
    if device == "cpu":
        return f"cpu ({platform.machine()}, {sys.platform})"
    import torch

    return f"{device} ({torch.cuda.get_device_name(torch.device(device))})"
