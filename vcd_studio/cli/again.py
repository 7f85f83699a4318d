"""``vcd-studio reproduce|compare``, ``queue fork`` and ``clips rerun``: clips made once more, and held against each other."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcd_studio.cli.answers import EXAMPLE, Follow, Json, NoWorker, answer, table
from vcd_studio.cli.clips import ClipName, Within, find_clip
from vcd_studio.cli.following import finish, job_object, need_worker
from vcd_studio.cli.telling import WORK_FAILED
from vcd_studio.project.errors import InputError
from vcd_studio.project.text import plain

if TYPE_CHECKING:
    from vcd_studio.jobs.model import Job
    from vcd_studio.jobs.store import Store
    from vcd_studio.media.difference import Difference
    from vcd_studio.project.outputs import Clip
    from vcd_studio.project.project import Project

REPRODUCE = f"{EXAMPLE} vcd-studio reproduce my-film/outputs/rex-001"
COMPARE = f"{EXAMPLE} vcd-studio compare my-film/outputs/rex-001 my-film/outputs/rex-002 --out both.png"
FORK = f"{EXAMPLE} vcd-studio queue fork 3 --from face --set face_strength=0.6"
RERUN = f"{EXAMPLE} vcd-studio clips rerun my-film/outputs/rex-001 --stages tiled --set tiled_strength=0.3"
Changes = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A generation setting; may be repeated.")]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", min=0, help="Another seed for what is made anew.")]


def reproduce(clip: ClipName, project: Within = None, as_json: Json = False) -> None:
    """Make a clip again from its recipe alone, and say whether it came out the same; exit code 1 where it did not."""
    from vcd_studio.jobs import again
    from vcd_studio.jobs.store import Store
    from vcd_studio.media.difference import difference
    from vcd_studio.media.export import frames_of
    from vcd_studio.project.outputs import read_clip

    found = find_clip(clip, project)
    need_worker(False)
    with Store() as store:
        (job,) = finish(store, [again.reproduce(store, found, _project_of(found))], follow=True, no_worker=False)
    made = read_clip(Path(job.result["clip"]))
    apart = difference(frames_of(found), frames_of(made))
    told = {"clip": str(found.folder), "made": str(made.folder), "difference": _difference_object(apart)}
    answer(told, [str(made.folder), _verdict(apart, found, made)], as_json)
    if not apart.same:
        raise typer.Exit(WORK_FAILED)


def _verdict(apart: Difference, found: Clip, made: Clip) -> str:
    devices = {str(clip.sidecar.get("device")) for clip in (found, made)}
    why = f" {' and '.join(sorted(devices))} do not add up alike." if len(devices) > 1 and not apart.same else ""
    return f"{apart}{why}"


def compare(
    one: ClipName,
    other: Annotated[str, typer.Argument(metavar="CLIP", help="The other clip.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="SHEET.png", help="A picture of both; it must not be there yet.")] = None,
    project: Within = None,
    as_json: Json = False,
) -> None:
    """What two clips were told differently, and how far their frames lie apart."""
    from vcd_studio.media.difference import difference, side_by_side
    from vcd_studio.media.export import frames_of
    from vcd_studio.project import recipes

    clips = [find_clip(name, project) for name in (one, other)]
    if out is not None and (out.exists() or out.is_symlink()):
        raise InputError(f"{plain(str(out))} is there already and stays as it is; give another place with --out.")
    frames, others = (frames_of(clip) for clip in clips)
    apart = difference(frames, others)
    settings = recipes.apart([recipes.told(clip.sidecar) for clip in clips])
    if out is not None:
        side_by_side(frames, others).save(out, "PNG")
    lines = table(("setting", clips[0].id, clips[1].id), [(key, *values) for key, values in settings.items()], "They were told the same.")
    lines += ["", str(apart), *([str(out)] if out else [])]
    answer({"settings": settings, "difference": _difference_object(apart), "sheet": str(out) if out else None}, lines, as_json)


def _difference_object(apart: Difference) -> dict[str, Any]:
    return {**asdict(apart), "psnr": None if math.isinf(apart.psnr) else apart.psnr, "same": apart.same}


def rerun(
    clip: ClipName,
    stages: Annotated[str, typer.Option("--stages", metavar="face,tiled", help="What is made anew; stages before are taken over.")],
    changes: Changes = None,
    seed: Seed = None,
    project: Within = None,
    follow: Follow = False,
    no_worker: NoWorker = False,
    as_json: Json = False,
) -> None:
    """A new clip with some stages made anew, or for the first time; the old clip stays as it is."""
    wanted = [word.strip() for word in stages.split(",") if word.strip()]
    _rerun(find_clip(clip, project), wanted, changes, seed, follow, no_worker, as_json)


def fork(
    job_id: Annotated[int, typer.Argument(metavar="JOB", help="A clip's job, whatever has become of it.")],
    begin: Annotated[str | None, typer.Option("--from", metavar="STAGE", help="The first stage made anew, or for the first time.")] = None,
    changes: Changes = None,
    seed: Seed = None,
    follow: Follow = False,
    no_worker: NoWorker = False,
    as_json: Json = False,
) -> None:
    """A new clip from a job's, with other settings from a stage on; what the job made stays as it is."""
    from vcd_studio.jobs.forking import enqueue_fork, plan_fork
    from vcd_studio.jobs.needed import need_pack
    from vcd_studio.jobs.store import Store
    from vcd_studio.project.settings import override_from_text

    with Store() as store:
        planned = plan_fork(store, job_id, begin, dict(override_from_text(change) for change in changes or []), seed)
        need_worker(no_worker)
        if not no_worker:
            need_pack(str(planned.job.settings["pack"]))
        _made(store, enqueue_fork(store, planned), follow, no_worker, as_json)


def _rerun(
    clip: Clip, stages: list[str], changes: list[str] | None, seed: int | None, follow: bool, no_worker: bool, as_json: bool
) -> None:
    from vcd_studio.jobs import again
    from vcd_studio.jobs.needed import need_pack
    from vcd_studio.jobs.store import Store
    from vcd_studio.project.settings import override_from_text

    project = _project_of(clip)
    need_worker(no_worker)
    if not no_worker:
        need_pack(str(clip.sidecar.get("pack", project.pack)))
    with Store() as store:
        job = again.rerun(store, clip, project, stages, dict(override_from_text(change) for change in changes or []), seed)
        _made(store, job, follow, no_worker, as_json)


def _made(store: Store, job: Job, follow: bool, no_worker: bool, as_json: bool) -> None:
    (job,) = finish(store, [job], follow=follow, no_worker=no_worker)
    answer(job_object(job, store.stages(job.id)), [job.result["clip"]] if "clip" in job.result else [], as_json)


def _project_of(clip: Clip) -> Project:
    from vcd_studio.project.project import Project

    return Project.open(clip.folder.parent.parent)
