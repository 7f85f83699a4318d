"""A study: its clips one by one, each kept as a file, then the report. Broken off, it goes on with the next clip."""

from __future__ import annotations

from pathlib import Path

from vcd_studio.catalog.digests import digest
from vcd_studio.catalog.packs import find_pack
from vcd_studio.evaluation.judges import load_judges
from vcd_studio.evaluation.plan import Plan
from vcd_studio.evaluation.report import write_report
from vcd_studio.evaluation.study import Study
from vcd_studio.locations import packs_dir
from vcd_studio.worker.context import StageContext

REPORT_EVERY = 100
"""Clips between two reports, so that there is something to look at in the morning."""


def run(context: StageContext) -> str | None:
    settings = context.settings
    plan = Plan.read(settings["plan"])
    networks = context.networks.get(settings["pack"], context.log, precise=True)
    pack, folder = find_pack(settings["pack"], packs_dir()), context.job.project
    oracle, encoders = load_judges(pack, networks.device, plan.clip, plan.dino)
    study = Study(folder, plan, networks, oracle, encoders, weights=digest(context.networks.hashes(settings["pack"])))
    pending = len(study.pending())
    context.log(f"{pending} of {len(study.units())} clips are to be made, into {folder}")

    def on_unit(done: int, total: int, text: str) -> None:
        context.step(done, total, message=text)
        if done and done % REPORT_EVERY == 0:
            write_report(study, folder / "report")

    study.run(on_unit, context.check)
    report: Path = write_report(study, folder / "report")
    context.note(report=str(report))
    context.log(f"the report is {report}")
    return str(report)
