"""``vcd-studio generate``"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcd_studio.cli.answers import (
    EXAMPLE,
    Follow,
    Json,
    NoWorker,
    On,
    Priority,
    ProjectPath,
    answer,
    duration,
    seeds_of,
    size,
    table,
    words_of,
)
from vcd_studio.cli.following import finish, job_object, need_worker
from vcd_studio.cli.telling import WORK_FAILED, tell
from vcd_studio.project.errors import InputError

if TYPE_CHECKING:
    from vcd_studio.jobs.enqueue import Plan

MUCH_TIME = 600.0
"""Seconds, and"""
MUCH_DISK = 10**9
"""bytes, above which even one clip is asked about first."""
EPILOG = f"{EXAMPLE} vcd-studio generate my-film --prompt 'a <rex> dog in the {{snow|rain}}' --seeds 1,2 --follow"


def generate(
    project: ProjectPath,
    prompt: Annotated[str | None, typer.Option("--prompt", metavar="TEXT", help="This prompt instead of the project's list.")] = None,
    identity: Annotated[str | None, typer.Option("--identity", metavar="NAME", help="Whom V* stands for.")] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", metavar="1,2", help="One clip for each seed.")] = None,
    stages: Annotated[str | None, typer.Option("--stages", metavar="t2v,face,tiled", help="Only these stages.")] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", metavar="NAME", help="ours, paper, released, draft (to look) or few-steps (a pack's adapter).")
    ] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A generation setting; may be repeated.")] = None,
    video: Annotated[Path | None, typer.Option("--input", metavar="VIDEO", help="Start from this video (stages face and tiled).")] = None,
    device: Annotated[str | None, typer.Option("--device", metavar="D", help="Only on this device: cpu or cuda:N; else any.")] = None,
    on: On = None,
    priority: Priority = 0,
    follow: Follow = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be made, and enqueue nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Enqueue without asking; only a terminal is asked.")] = False,
    no_worker: NoWorker = False,
    as_json: Json = False,
) -> None:
    """Enqueue clips: the project's prompts, or one given here, times the seeds."""
    from vcd_studio.jobs.enqueue import enqueue_plan, plan_generate
    from vcd_studio.jobs.needed import need_for
    from vcd_studio.jobs.store import Store
    from vcd_studio.jobs.workers import resolve_device
    from vcd_studio.project.identity import check_agreed
    from vcd_studio.project.project import Project
    from vcd_studio.project.recent import remember_project
    from vcd_studio.project.settings import override_from_text

    if on is not None and device is not None:
        raise InputError("Give --on or --device: the nodes of a cluster choose their devices themselves.")
    need_worker(no_worker or dry_run, on)
    only = on if on is not None else None if device in (None, "auto") else resolve_device(device)
    opened = Project.open(project)
    plan = plan_generate(
        opened,
        text=prompt,
        identity=identity,
        seeds=seeds_of(seeds) if seeds is not None else None,
        stages=words_of(stages) if stages is not None else ["face", "tiled"] if video is not None else None,
        overrides=dict(override_from_text(change) for change in changes or []),
        preset=preset,
        input_video=video,
    )
    named = dict.fromkeys(name for item in plan.items for name in item.identities)
    for warning in check_agreed(opened.identity(name) for name in named):
        tell(warning)
    if not no_worker:
        need_for(plan, opened)
    if dry_run:
        answer(plan_object(plan), _plan_lines(plan), as_json)
        return
    if not yes:
        _ask(plan)
    remember_project(opened.path)
    with Store() as store:
        jobs = finish(store, enqueue_plan(store, opened, plan, only, priority), follow=follow, no_worker=no_worker)
        stages_of = store.all_stages([job.id for job in jobs])
        made = {**plan_object(plan), "jobs": [job_object(job, stages_of[job.id]) for job in jobs]}
        answer(made, [job.result["clip"] for job in jobs if "clip" in job.result], as_json)


def plan_object(plan: Plan) -> dict[str, Any]:
    """A plan for an answer: count, estimated seconds (null before there is experience) and bytes, and each clip."""
    return {
        "count": plan.count,
        "seconds": plan.seconds,
        "bytes": plan.bytes,
        "clips": [
            {
                "text": item.text,
                "expanded": item.expanded,
                "seed": item.seed,
                "identities": list(item.identities),
                "stages": item.stages,
                "settings": item.settings["generation"],
            }
            for item in plan.items
        ],
    }


def _ask(plan: Plan) -> None:
    """Before much is enqueued the person at the terminal says yes; a script is not asked. Ends the command on a no."""
    much = plan.count > 1 or (plan.seconds or 0) > MUCH_TIME or plan.bytes > MUCH_DISK
    if much and sys.stdin.isatty() and not typer.confirm(f"{_cost(plan)}: enqueue?", err=True):
        tell("Nothing was enqueued.")
        raise typer.Exit(WORK_FAILED)


def _plan_lines(plan: Plan) -> list[str]:
    rows = [(item.expanded, item.seed, ", ".join(item.stages)) for item in plan.items]
    return [*table(("prompt", "seed", "stages"), rows, "nothing"), "", _cost(plan)]


def _cost(plan: Plan) -> str:
    time = f"about {duration(plan.seconds)}" if plan.seconds is not None else "time not known before the first clip"
    return f"{plan.count} clip{'s' if plan.count != 1 else ''}, {time}, about {size(plan.bytes)} of disk"
