"""One identity learnt, as ID tokens or weights: masks where they are missing, then steps with checkpoints, a loss curve and pictures."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomli
from PIL import Image

from vcd_studio import __version__
from vcd_studio.jobs.enqueue import file_hash
from vcd_studio.method.augmentation import TrainingPhoto
from vcd_studio.method.finetuning import begin_training
from vcd_studio.method.id_tokens import IdTokens
from vcd_studio.method.photo_training import PhotoTraining
from vcd_studio.method.protocols import Networks
from vcd_studio.method.segmentation import mask_warnings
from vcd_studio.project.errors import InputError
from vcd_studio.project.identity import RUN_FILE, TOKENS_FILE, WEIGHTS_FILE, Identity, Photo
from vcd_studio.project.paths import write_atomic
from vcd_studio.project.photos import open_photo, read_mask
from vcd_studio.project.text import quoted
from vcd_studio.worker.checkpoints import drop_checkpoint, load_checkpoint, save_checkpoint
from vcd_studio.worker.context import StageContext
from vcd_studio.worker.interrupts import Interrupted
from vcd_studio.worker.stages.segment import mask_photo

PREVIEW_STEPS = 8
LOSS_FILE = "loss.csv"
LOSS_HEAD = "step,loss,token_norm\n"
_LOSS_LINE = re.compile(r"^(\d+),(\d+\.\d{6}),(\d+\.\d{6})$", re.MULTILINE)


def run(context: StageContext) -> str | None:
    folder = _finished(context) or _train(context)
    _note(context, folder)
    drop_checkpoint(folder)  # last: until here, whoever takes this up again finds what was learnt
    return str(folder)


def _train(context: StageContext) -> Path:
    """A run with all that it will hold; its checkpoint is still there."""
    settings = context.settings
    identity = context.project.identity(settings["identity"])
    method = settings["training"].get("method", "tokens")
    networks = context.networks.get(settings["pack"], context.log, precise=method != "tokens", frozen=method == "tokens")
    photos = _training_photos(context, networks, identity)
    folder = _run_folder(context, identity)
    training = begin_training(method, networks, photos, settings["noun"], settings["token"], settings["training"], _given_tokens(settings))
    state = load_checkpoint(folder)
    if state is not None:
        training.load_state_dict(state)
        context.log(f"goes on from the checkpoint at step {training.steps_done}")
    losses = kept_losses(folder, training.steps_done)
    how = "" if method == "tokens" else f" of {method}"
    context.log(f"{len(photos)} photos, {training.options.steps} steps{how}, into {folder.name}")
    _learn(context, training, folder, losses)
    _save(context, training, folder, losses)
    return folder


def _learn(context: StageContext, training: PhotoTraining, folder: Path, losses: list[tuple[int, float, float]]) -> None:
    every, preview_every = context.settings["training"]["checkpoint_every"], context.settings["training"]["preview_every"]
    steps = training.options.steps
    context.step(training.steps_done, steps, message="making augmented views")
    training.prepare(lambda done, total: context.step(training.steps_done, steps, message=f"augmented view {done} of {total}"))
    saved = training.steps_done
    try:
        context.step(training.steps_done, steps, message="learning")
        while not training.finished:
            report = training.step()
            losses.append((report.step, report.loss, report.token_norm))
            _append_loss(folder, losses[-1])
            preview = None
            if preview_every and (report.step % preview_every == 0 or training.finished):
                preview = _preview(training, folder)
            if report.step % every == 0 and not training.finished:
                save_checkpoint(folder, training.state_dict())
                saved = report.step
            context.step(report.step, steps, message=f"loss {report.loss:.4f}, token norm {report.token_norm:.3f}", preview=preview)
            if report.step % max(1, min(every, 50)) == 0:
                recent = [loss for _, loss, _ in losses[-every:]]
                context.log(f"step {report.step} of {steps}: mean loss {sum(recent) / len(recent):.4f}, token norm {report.token_norm:.3f}")
    except Interrupted:
        if saved != training.steps_done:
            save_checkpoint(folder, training.state_dict())
        context.log(f"saved at step {training.steps_done} of {steps}")
        raise


def _save(context: StageContext, training: PhotoTraining, folder: Path, losses: list[tuple[int, float, float]]) -> None:
    settings = context.settings
    hashes = context.networks.hashes(settings["pack"])
    base = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
    last = [loss for _, loss, _ in losses[-25:]]
    record: dict[str, Any] = {
        "identity": settings["identity"],
        "noun": settings["noun"],
        "token": settings["token"],
        "pack": settings["pack"],
        "pack_sha256": base,
        "finished": datetime.now(UTC),
        "steps": training.steps_done,
        "loss": sum(last) / len(last) if last else None,
        "steady_loss": training.steady_loss(),
        "versions": versions(),
        "device": context.device,
        "precision": context.networks.loaded,
        "code_version": settings["code_version"],
        "settings": settings["training"],
        "with_tokens": settings.get("with_tokens"),
        "segmentation": settings["segmentation"],
        "memory": context.networks.relief.sentences or None,
        "photos": settings["photos"],
    }
    import tomli_w

    write_atomic(folder / RUN_FILE, tomli_w.dumps({key: value for key, value in record.items() if value is not None}).encode())
    photos = json.dumps({photo["name"]: photo["sha256"] for photo in settings["photos"]}, sort_keys=True)
    facts = {"base_model": settings["pack"], "base_model_sha256": base, "photos": photos, "software": f"vcd-studio {__version__}"}
    weights = training.weights(**facts)
    if weights is not None:
        weights.save(folder / WEIGHTS_FILE)
        context.log(f"weights ({weights.bytes / 1e6:.1f} MB) saved: {folder.name}")
    training.tokens(**facts).save(folder / TOKENS_FILE)  # last: a run with tokens is finished
    mean = f"mean loss of the last steps {record['loss']:.4f}, " if last else ""
    context.log(f"tokens saved: {folder.name}, {mean}steady loss {record['steady_loss']:.4f}")


def _finished(context: StageContext) -> Path | None:
    """This job's run, where an earlier attempt had learnt and saved everything."""
    begun = context.result.get("run")
    if not begun or not Path(begun, TOKENS_FILE).is_file():
        return None
    context.log(f"was learnt by an earlier attempt: {Path(begun).name}")
    return Path(begun)


def _note(context: StageContext, folder: Path) -> None:
    """What the run holds, into the job's result."""
    weights, tokens = folder / WEIGHTS_FILE, folder / TOKENS_FILE
    if weights.is_file():
        context.note(weights=str(weights), weights_sha256=file_hash(weights))
    record = tomli.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    context.note(tokens=str(tokens), sha256=file_hash(tokens), loss=record.get("loss"), steady_loss=record.get("steady_loss"))


def _given_tokens(settings: dict[str, Any]) -> IdTokens | None:
    """The trained ID tokens that weights shall learn beside, if any."""
    given = settings.get("with_tokens")
    if not given:
        return None
    path = Path(given["tokens"])
    if file_hash(path) != given["sha256"]:
        raise InputError(f"The tokens {path} have changed since this job was enqueued; enqueue the training again.")
    return IdTokens.load(path, settings["token"], settings["noun"])


def versions() -> dict[str, str]:
    """Of us and of what did the numbers."""
    import diffusers
    import torch
    import transformers

    return {
        "vcd-studio": __version__,
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
    }


def _training_photos(context: StageContext, networks: Networks, identity: Identity) -> list[TrainingPhoto]:
    """The snapshot's photos with their masks; automatic ones without a mask are segmented now."""
    present = {photo.name: photo for photo in identity.photos()}
    photos: list[TrainingPhoto] = []
    for kept in context.settings["photos"]:
        context.check()
        name, state = kept["name"], kept["state"]
        photo = present.get(name)
        if photo is None:
            raise InputError(
                f'The photo {quoted(name)} of "{identity.name}" is gone since this job was enqueued; put it back or enqueue again.'
            )
        if file_hash(photo.path) != kept["sha256"]:
            raise InputError(
                f'The photo {quoted(name)} of "{identity.name}" has changed since this job was enqueued; enqueue again to train on it.'
            )
        if state == "whole":
            photos.append(TrainingPhoto(open_photo(photo.path), None))
            continue
        if not photo.mask_path.is_file() and state == "automatic":
            mask_photo(context, networks, photo)
        taken = _masked(context, photo)
        if taken is not None:
            photos.append(taken)
    if not photos:
        raise InputError(f'No photo of "{identity.name}" has a mask to learn from; try another noun, or mark photos as whole.')
    return photos


def _masked(context: StageContext, photo: Photo) -> TrainingPhoto | None:
    if not photo.mask_path.is_file():
        context.log(f"{photo.name} has no mask and is left out", "warning")
        return None
    image, mask = open_photo(photo.path), read_mask(photo.mask_path)
    if mask.shape != (image.height, image.width):
        raise InputError(
            f"The mask {photo.mask_path} has {mask.shape[1]} × {mask.shape[0]} pixels and its photo {image.width} × {image.height}; "
            "segment it again."
        )
    for warning in mask_warnings(mask):
        context.log(f"{photo.name}: {warning}", "warning")
    if not (mask > 127).any():
        context.log(f"{photo.name} is left out, because its mask is empty", "warning")
        return None
    return TrainingPhoto(image, mask)


def _run_folder(context: StageContext, identity: Identity) -> Path:
    """This job's run: the one an earlier attempt began, else a new one."""
    begun = context.result.get("run")
    folder = Path(begun) if begun and Path(begun).is_dir() else identity.new_run()
    if str(folder) != begun:
        context.note(run=str(folder))
    return folder


def kept_losses(folder: Path, step: int) -> list[tuple[int, float, float]]:
    """The curve up to ``step``: what a killed worker wrote beyond its checkpoint will be learnt, and written, again."""
    path = folder / LOSS_FILE
    rows: list[tuple[int, float, float]] = []
    if path.is_file() and step:
        found = _LOSS_LINE.findall(path.read_text(encoding="utf-8", errors="replace"))  # a power cut may have left half a line
        rows = [(int(number), float(loss), float(norm)) for number, loss, norm in found if int(number) <= step]
    write_atomic(path, "".join([LOSS_HEAD, *map(_loss_line, rows)]).encode())
    return rows


def _loss_line(row: tuple[int, float, float]) -> str:
    return f"{row[0]},{row[1]:.6f},{row[2]:.6f}\n"


def _append_loss(folder: Path, row: tuple[int, float, float]) -> None:
    with (folder / LOSS_FILE).open("a", encoding="utf-8") as file:
        file.write(_loss_line(row))


def _preview(training: PhotoTraining, folder: Path) -> str:
    """A picture of what is learnt so far, previews/step-00050.png."""
    previews = folder / "previews"
    previews.mkdir(exist_ok=True)
    path = previews / f"step-{training.steps_done:05d}.png"
    part = path.with_name(f".{path.name}.part")
    Image.fromarray(training.preview(steps=PREVIEW_STEPS)).save(part, "PNG")
    part.replace(path)
    return str(path)
