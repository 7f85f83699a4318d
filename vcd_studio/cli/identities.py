"""``vcd-studio identity add|segment|train|show|import|export``; ``describe`` and ``draft`` are in ``describing``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcd_studio.cli.answers import EXAMPLE, Follow, Json, NoWorker, On, Priority, ProjectPath, answer, group, seeds_of, table
from vcd_studio.cli.following import finish, job_object, need_worker
from vcd_studio.cli.telling import INPUT_WRONG, tell
from vcd_studio.project.errors import InputError
from vcd_studio.project.text import quoted

if TYPE_CHECKING:
    from vcd_studio.project.identity import Identity, Run

app = group("identity", "Who or what the clips are of: photos, masks, ID tokens.", "vcd-studio identity show my-film rex")


class Program(StrEnum):
    """Who reads an exported file."""

    DIFFUSERS = "diffusers"
    COMFYUI = "comfyui"
    A1111 = "a1111"


Name = Annotated[str, typer.Argument(metavar="NAME", help="The identity's name.")]
Noun = Annotated[str, typer.Option("--noun", metavar="N", help="What it is, as one would say it: dog, woman, stuffed animal.")]
Consent = Annotated[bool | None, typer.Option("--consent/--no-consent", help="For a person: whether that person agreed to clips of them.")]


def agreed(noun: str, consent: bool | None) -> bool | None:
    """What was said of a person's consent; whoever sits at a terminal is asked once."""
    from vcd_studio.project.identity import is_human

    if consent is None and is_human(noun) and sys.stdin.isatty() and sys.stderr.isatty():
        return typer.confirm(f"Did this person ({noun}) agree to clips of them? The answer is kept in identity.toml", err=True)
    return consent


@app.command("add", epilog=f"{EXAMPLE} vcd-studio identity add my-film rex --noun dog photos/*.jpg")
def add(
    project: ProjectPath,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A short name; prompts write <NAME>.")],
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTOS…", help="Pictures, or folders of them; they are copied.")],
    noun: Annotated[
        str | None, typer.Option("--noun", metavar="N", help="What it is: dog, woman. Without it the describer is asked, then you.")
    ] = None,
    consent: Consent = None,
    as_json: Json = False,
) -> None:
    """Add an identity from photos of one subject."""
    from vcd_studio.project.project import Project
    from vcd_studio.project.recent import remember_project

    opened = Project.open(project)
    if noun is None:
        from vcd_studio.cli.describing import find_noun

        noun = find_noun(name, photos, may_send=consent is not False)
    identity = opened.add_identity(name, noun, photos, agreed(noun, consent))
    remember_project(opened.path)
    count = len(identity.photos())
    line = f"Added {identity.token}, a {identity.noun}, with {count} photo{'' if count == 1 else 's'}."
    answer(identity_object(identity), [line], as_json)


@app.command("segment", epilog=f"{EXAMPLE} vcd-studio identity segment my-film rex --photo 03.jpg --box 2 --follow")
def segment(
    project: ProjectPath,
    name: Name,
    photo: Annotated[str | None, typer.Option("--photo", metavar="FILE", help="This photo alone, by its file name.")] = None,
    box: Annotated[str, typer.Option("--box", metavar="N|all", help="The box to cut out: 1 is the best; 1,3 or all for several.")] = "best",
    box_threshold: Annotated[float | None, typer.Option("--box-threshold", metavar="X", help="How sure of a box, 0 to 1.")] = None,
    text_threshold: Annotated[
        float | None, typer.Option("--text-threshold", metavar="X", help="How sure of the noun, 0 to 1.")
    ] = None,
    on: On = None,
    follow: Follow = False,
    no_worker: NoWorker = False,
    as_json: Json = False,
) -> None:
    """Enqueue masks for the photos in the automatic state: what in each photo is the subject."""
    from vcd_studio.jobs.enqueue import enqueue_segment
    from vcd_studio.jobs.needed import need_pack
    from vcd_studio.jobs.store import Store
    from vcd_studio.project.found_boxes import read_pick
    from vcd_studio.project.project import Project

    opened, pick = Project.open(project), read_pick(box)
    if photo is None and isinstance(pick, list):
        raise InputError("Each photo has boxes of its own: name the photo too, as --photo 03.jpg --box 2.")
    given = {"box_threshold": box_threshold, "text_threshold": text_threshold}
    thresholds = {key: value for key, value in given.items() if value is not None}
    need_worker(no_worker, on)
    if not no_worker:
        need_pack(opened.pack)
    with Store() as store:
        job = enqueue_segment(store, opened, name, photo=photo, pick=pick, thresholds=thresholds, device=on)
        jobs = finish(store, [job], follow=follow, no_worker=no_worker)
        answer(job_object(jobs[0], store.stages(job.id)), _segmented(jobs[0].result.get("photos", [])), as_json)


@app.command("mask", epilog=f"{EXAMPLE} vcd-studio identity mask my-film rex 03.jpg --file drawn.png")
def mask(
    project: ProjectPath,
    name: Name,
    photo: Annotated[str, typer.Argument(metavar="PHOTO", help="The photo's file name.")],
    state: Annotated[str | None, typer.Option("--state", help="automatic, corrected, whole or left-out.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="A mask drawn elsewhere, of the photo's size: light is subject.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say how a photo's mask is used, or take one that was drawn in another program."""
    from vcd_studio.project.project import Project

    if (state is None) == (file is None):
        raise InputError("Give either --state (automatic, corrected, whole, left-out) or --file with a mask.")
    identity = Project.open(project).identity(name)
    if file is not None:
        identity.take_mask(photo, file.expanduser())
    elif state is not None:
        identity.set_mask_state(photo, state)
    answer(identity_object(identity), [f"{photo} of {identity.token}: {identity.photo(photo).state}."], as_json)


@app.command("train", epilog=f"{EXAMPLE} vcd-studio identity train my-film rex --set steps=300 --follow")
def train(
    project: ProjectPath,
    name: Name,
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A training setting; may be repeated.")] = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="1,2", help="One training for each seed; `identity use … nearest` takes the best.")
    ] = None,
    consent: Annotated[
        bool | None, typer.Option("--consent/--no-consent", help="A person answers anew whether they agree to clips; it is kept.")
    ] = None,
    on: On = None,
    priority: Priority = 0,
    follow: Follow = False,
    no_worker: NoWorker = False,
    as_json: Json = False,
) -> None:
    """Enqueue a training of ID tokens, or by the method that the identity names; photos without a mask are segmented first."""
    from vcd_studio.jobs.enqueue import enqueue_train
    from vcd_studio.jobs.needed import need_pack
    from vcd_studio.jobs.store import Store
    from vcd_studio.project.identity import check_agreed
    from vcd_studio.project.project import Project
    from vcd_studio.project.settings import override_from_text

    opened = Project.open(project)
    identity = opened.identity(name)
    overrides = dict(override_from_text(change) for change in changes or [])
    need_worker(no_worker, on)
    if not no_worker:
        need_pack(opened.pack, training=True)
    if consent is not None:
        identity.set_noun(identity.noun, consent)
    for warning in check_agreed([identity]):
        tell(warning)
    trainings = [{**overrides, "seed": seed} for seed in dict.fromkeys(seeds_of(seeds))] if seeds is not None else [overrides]
    for each in trainings:
        identity.training.with_overrides(each)  # all of them are right, or none is enqueued
    with Store() as store:
        enqueued = [enqueue_train(store, opened, identity, each, priority=priority, device=on) for each in trainings]
        jobs = finish(store, enqueued, follow=follow, no_worker=no_worker)
        made = [job_object(job, store.stages(job.id)) for job in jobs]
        answer(made[0] if seeds is None else {"jobs": made}, [line for job in jobs for line in _learnt(job.result)], as_json)


def _learnt(result: Mapping[str, Any]) -> list[str]:
    losses = [f"{key.replace('_', ' ')} {result[key]:.4f}" for key in ("loss", "steady_loss") if result.get(key) is not None]
    return [", ".join([f"Tokens: {result['tokens']}", *losses])] if "tokens" in result else []


@app.command("show", epilog=f"{EXAMPLE} vcd-studio identity show my-film rex --json")
def show(project: ProjectPath, name: Name, as_json: Json = False) -> None:
    """Photos, masks, settings and training runs of an identity."""
    from vcd_studio.project.project import Project

    identity = Project.open(project).identity(name)
    shown = identity_object(identity)
    lines = [f"{identity.token}, a {identity.noun}, in {identity.folder}"]
    if identity.consent is not None:
        lines.append(f"this person {'agreed' if identity.consent else 'did not agree'} to clips of them")
    photos = [(photo["file"], photo["mask"], "yes" if photo["has_mask"] else "no") for photo in shown["photos"]]
    lines += ["", *table(("photo", "mask is", "mask there"), photos, "no photos")]
    runs = [
        (
            run["name"], run["method"], "finished" if run["finished"] else "unfinished", run["steps"], _number(run["loss"]),
            _number(run["steady_loss"]), "used" if run["used"] else "",
        )
        for run in shown["runs"]
    ]  # fmt: skip
    untrained = f"not trained yet: vcd-studio identity train {project} {name}"
    lines += ["", *table(("run", "method", "state", "steps", "loss", "steady loss", ""), runs, untrained)]
    answer(shown, lines, as_json)


@app.command("use", epilog=f"{EXAMPLE} vcd-studio identity use my-film rex run-002")
def use(
    project: ProjectPath,
    name: Name,
    run: Annotated[str, typer.Argument(metavar="RUN", help="A finished training run, as show lists them; newest, or nearest.")],
    as_json: Json = False,
) -> None:
    """Choose the training run that prompts use from now on; queued clips keep theirs.

    newest: always the one that finished last. nearest: of those that learnt from the newest one's photos, that of the lowest steady loss.
    """
    from vcd_studio.project.project import Project

    identity = Project.open(project).identity(name)
    chosen = identity.nearest_run().name if run == "nearest" else run
    identity.use_run(None if run == "newest" else chosen)
    words = "the newest finished run" if run == "newest" else chosen
    answer(identity_object(identity), [f"Prompts that name {identity.token} use {words}."], as_json)


@app.command("import", epilog=f"{EXAMPLE} vcd-studio identity import my-film rex rex.safetensors --noun dog")
def import_tokens(
    project: ProjectPath,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The identity that gets the tokens; made where it is not there.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Textual inversion: .safetensors, .pt or .bin, of diffusers, A1111 or the paper.")
    ],
    noun: Noun,
    consent: Consent = None,
    as_json: Json = False,
) -> None:
    """Take tokens that were learnt elsewhere; they become the identity's newest run."""
    from vcd_studio.project.project import Project
    from vcd_studio.project.recent import remember_project

    opened = Project.open(project)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "tokens.safetensors"
        _converted(file, target, f"<{name}>", noun)
        if name in opened.identity_names():
            identity = opened.identity(name)
            if identity.noun != noun:
                remedy = f"give --noun {quoted(identity.noun)}, or another name"
                raise InputError(f"{identity.token} is a {identity.noun} here, not a {noun}; {remedy}.")
        else:
            identity = opened.import_identity(name, noun, agreed(noun, consent))
        run = identity.import_run(target, file)
    remember_project(opened.path)
    answer(identity_object(identity), [f"Imported {file.name} as {run.name} of {identity.token}, a {identity.noun}."], as_json)


def _converted(file: Path, target: Path, token: str, noun: str) -> None:
    """``file`` as ID tokens in ``target``, by a process that has torch. InputError with its sentence where that fails."""
    from vcd_studio.catalog.headers import WeightsError, read_header
    from vcd_studio.catalog.recognise import recognise

    try:
        found = recognise(read_header(file).shapes)
    except WeightsError as error:
        raise InputError(str(error)) from error
    if found is not None and found.part != "embedding":
        raise InputError(f"{file} is {found.title}; ID tokens are a textual inversion for SD 1.5.")
    need_worker(no_worker=False)
    command = [sys.executable, "-m", "vcd_studio.worker.importing", str(file), str(target), token, noun]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        said = ended.stderr.strip().splitlines() or ["it cannot be read"]
        raise InputError(said[-1] if ended.returncode == INPUT_WRONG else f"{file} could not be imported: {said[-1]}")


@app.command("export", epilog=f"{EXAMPLE} vcd-studio identity export my-film rex --format comfyui")
def export(
    project: ProjectPath,
    name: Name,
    program: Annotated[Program, typer.Option("--format", help="Which program is to read the file.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Default: NAME.safetensors here.")] = None,
    as_json: Json = False,
) -> None:
    """The newest ID tokens as a file for diffusers, ComfyUI or AUTOMATIC1111."""
    from vcd_studio.catalog.embeddings import for_program, how_to_use
    from vcd_studio.catalog.headers import WeightsError
    from vcd_studio.project.paths import write_atomic
    from vcd_studio.project.project import Project

    identity = Project.open(project).identity(name)
    run = identity.latest_tokens()
    if run is None:
        raise InputError(f"{identity.token} has no ID tokens yet; train it: vcd-studio identity train {project} {name}")
    target = (out or Path(f"{name}.safetensors")).expanduser()
    if target.suffix != ".safetensors":
        raise InputError(f"{target} should end in .safetensors, which all three programs read.")
    if target.exists():
        raise InputError(f"{target} is there already; choose another name with --out.")
    try:
        content = for_program(run.tokens_path, identity.token, program.value)
    except WeightsError as error:
        raise InputError(str(error)) from error
    write_atomic(target, content)
    use = how_to_use(target, identity.token, identity.noun, program.value)
    told = {"file": target.absolute(), "format": program.value, "run": run.name, "token": identity.token, "use": use}
    answer(told, [f"Wrote {target} from {run.name}.", use], as_json)


def identity_object(identity: Identity) -> dict[str, Any]:
    """One identity for an answer; files relative to its folder."""
    used = identity.used_name()
    return {
        "name": identity.name,
        "noun": identity.noun,
        "token": identity.token,
        "consent": identity.consent,
        "folder": str(identity.folder),
        "training": identity.training.model_dump(mode="json"),
        "segmentation": identity.segmentation.model_dump(mode="json"),
        "photos": [
            {"file": f"photos/{photo.name}", "mask": photo.state, "has_mask": photo.has_mask, "mask_file": f"masks/{photo.mask_path.name}"}
            for photo in identity.photos()
        ],
        "runs": [_run_object(run, run.name == used) for run in identity.runs()],
    }


def _run_object(run: Run, used: bool) -> dict[str, Any]:
    record = run.record()
    return {
        "name": run.name,
        "finished": run.finished,
        "used": used,
        "method": record.get("settings", {}).get("method", "tokens"),
        "tokens": str(run.tokens_path) if run.finished and run.has_tokens else None,
        "weights": str(run.weights_path) if run.finished and run.has_weights else None,
        "steps": record.get("steps"),
        "loss": record.get("loss"),
        "steady_loss": record.get("steady_loss"),
    }


def _segmented(photos: list[dict[str, Any]]) -> list[str]:
    if not photos:
        return []
    rows = [
        (entry["name"], len(entry["boxes"]), f"{entry['boxes'][0]['score']:.2f}" if entry["boxes"] else "–", "; ".join(entry["warnings"]))
        for entry in photos
    ]
    return table(("photo", "found", "score", "warnings"), rows, "")


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "–"
