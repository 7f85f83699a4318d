"""What a job will need of its pack, looked at before it is enqueued: better a sentence now than a failed night.

Only where a worker of this machine shall do it: another's may have other packs.
"""

from __future__ import annotations

from vcd_studio.catalog.headers import WeightsError
from vcd_studio.catalog.packs import Pack, find_pack
from vcd_studio.jobs.enqueue import Plan
from vcd_studio.locations import packs_dir
from vcd_studio.project.errors import InputError
from vcd_studio.project.identity import is_human
from vcd_studio.project.project import Project


def need_pack(name: str, *, training: bool = False) -> Pack:
    """The pack. InputError where it is not whole on this machine; for ``training``, the one that it trains on as well."""
    try:
        pack = find_pack(name, packs_dir())
        if training and pack.trains_on:
            find_pack(pack.trains_on, packs_dir())
    except WeightsError as error:
        raise InputError(str(error)) from error
    return pack


def need_for(plan: Plan, project: Project) -> None:
    """InputError where the project's pack cannot make these clips: it is not there, or cannot find the faces they ask for."""
    pack = need_pack(project.pack)
    detector, grounding = pack.part("faces"), pack.part("grounding")
    if detector is not None and detector.is_dir():
        return  # of its own kind, for people and for pets
    first = {item.identities[0] if item.identities else "" for item in plan.items if "face" in item.stages}
    for noun in sorted(project.identity(name).noun if name else "person" for name in first):
        lacks = "face detector (YuNet)" if is_human(noun) else "grounding to find heads by"
        if (detector if is_human(noun) else grounding) is None:
            remedy = "leave it out (stages t2v and tiled)"
            raise InputError(f"The pack {pack.name} has no {lacks}, so the stage face cannot run for a {noun}; {remedy}.")
