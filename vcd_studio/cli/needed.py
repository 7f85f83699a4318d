"""What a job will need of its pack, looked at before it is enqueued: better a sentence now than a failed night."""

from __future__ import annotations

from collections.abc import Iterable

from vcd_studio.project.errors import InputError


def need_pack(name: str, no_worker: bool, faces_of: Iterable[str] = (), *, training: bool = False) -> None:
    """InputError where the pack (for ``training``, the one that it trains on) is not on this machine, or cannot find the faces of one
    of these nouns.

    Nothing is asked where no worker is wanted: another machine's may have other packs.
    """
    from vcd_studio.catalog.headers import WeightsError
    from vcd_studio.catalog.packs import find_pack
    from vcd_studio.locations import packs_dir
    from vcd_studio.project.identity import is_human

    if no_worker:
        return
    try:
        pack = find_pack(name, packs_dir())
        if training and pack.trains_on:
            find_pack(pack.trains_on, packs_dir())
    except WeightsError as error:
        raise InputError(str(error)) from error
    detector, grounding = pack.part("faces"), pack.part("grounding")
    if detector is not None and detector.is_dir():
        return  # of its own kind, for people and for pets
    for noun in faces_of:
        lacks = "face detector (YuNet)" if is_human(noun) else "grounding to find heads by"
        if (detector if is_human(noun) else grounding) is None:
            remedy = "leave it out: --stages t2v,tiled"
            raise InputError(f"The pack {name} has no {lacks}, so the stage face cannot run for a {noun}; {remedy}.")
