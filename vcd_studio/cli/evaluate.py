"""``vcd-studio evaluate``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vcd_studio.cli.answers import EXAMPLE, Follow, Json, NoWorker, answer
from vcd_studio.cli.following import finish, job_object, need_worker
from vcd_studio.project.errors import InputError
from vcd_studio.project.text import quoted

EPILOG = f"{EXAMPLE} vcd-studio evaluate --quick --follow"
QUICK: dict[str, Any] = {
    "subjects": 2, "seeds": 1, "picture_seeds": 1, "steps": 8, "following": 4, "sweeps": ["gamma"], "stages": False,
}  # fmt: skip
"""Minutes on two cores: to see that everything works, not to learn from."""


def evaluate(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The study's folder; one that was begun goes on.")] = Path(
        "vcd-studio-study"
    ),
    subjects: Annotated[int | None, typer.Option("--subjects", min=1, max=64, help="How many held-out identities.")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, max=16, help="How many seeds for each prompt.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, max=500, help="Denoising steps of each clip.")] = None,
    only: Annotated[str | None, typer.Option("--only", metavar="ARM,ARM", help="Only these arms, for example vcd,lora.")] = None,
    clip: Annotated[str | None, typer.Option("--clip", metavar="DIR|NAME", help="A CLIP to measure with, not the pack's own.")] = None,
    dino: Annotated[str | None, typer.Option("--dino", metavar="DIR|NAME", help="A DINO to measure with, not the pack's own.")] = None,
    half: Annotated[bool, typer.Option("--half", help="Learn and sample in bf16: quicker where the processor has it.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="A few minutes' worth, to see it work.")] = False,
    follow: Follow = False,
    no_worker: NoWorker = False,
    as_json: Json = False,
) -> None:
    """The paper's tables in the pocket world: identities × prompts × seeds, by VCD, its rivals and its ablations; then a report."""
    from vcd_studio.evaluation.plan import Plan  # plain data: no torch comes with it
    from vcd_studio.jobs.store import Store
    from vcd_studio.jobs.studies import enqueue_study

    plan = dict(QUICK) if quick else {}
    encoders = {"clip": clip, "dino": dino}
    given: dict[str, int | str | None] = {"subjects": subjects, "seeds": seeds, "steps": steps}
    given |= {part: str(Path(place).absolute()) if place and Path(place).exists() else place for part, place in encoders.items()}
    plan |= {key: value for key, value in given.items() if value is not None}
    if half:
        plan["half"] = True
    if only is not None:
        plan["only"] = [word.strip() for word in only.split(",") if word.strip()]
        if unknown := Plan.read(plan).unknown:
            known = ", ".join(arm.slug for arm in Plan().arms)
            raise InputError(f"The study has no arm {quoted(unknown[0])}; choose from {known}.")
    need_worker(no_worker)
    with Store() as store:
        (job,) = finish(store, [enqueue_study(store, out, plan)], follow=follow, no_worker=no_worker)
        lines = [job.result["report"]] if "report" in job.result else []
        answer(job_object(job, store.stages(job.id)), lines, as_json)
