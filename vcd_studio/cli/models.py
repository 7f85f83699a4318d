"""``vcd-studio models list|check|add``"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from vcd_studio.cli.answers import EXAMPLE, WORK_FAILED, Json, answer, group, size, table
from vcd_studio.project.errors import InputError

app = group("models", "Packs of models: what is here, what a file is, putting one together.", "vcd-studio models list")


@contextmanager
def _refusals() -> Iterator[None]:
    """What the catalog refuses is wrong input."""
    from vcd_studio.catalog.headers import WeightsError

    try:
        yield
    except WeightsError as error:
        raise InputError(str(error)) from error


@app.command("list", epilog=f"{EXAMPLE} vcd-studio models list --json")
def list_models(as_json: Json = False) -> None:
    """The packs that projects can name, and what is wrong with those that cannot be used."""
    from vcd_studio.catalog.packs import packs_in
    from vcd_studio.locations import packs_dir

    found = [_pack_object(name) for name in packs_in(packs_dir())]
    rows = [(p["name"], size(p["size"]), ", ".join(p["parts"]), p["problem"] or p["description"]) for p in found]
    answer(found, table(("pack", "size", "parts", "about"), rows, "No packs."), as_json)


@app.command("check", epilog=f"{EXAMPLE} vcd-studio models check ~/ComfyUI/models")
def check(
    places: Annotated[
        list[Path] | None, typer.Argument(metavar="[PLACE]…", help="Files and folders; without any, the usual places of this machine.")
    ] = None,
    as_json: Json = False,
) -> None:
    """What every file of weights is, told by its keys; exit code 1 where one cannot be read."""
    from vcd_studio.catalog.discovery import discover, told, usual_places

    asked = [place.expanduser() for place in places or ()]
    if missing := [place for place in asked if not place.exists()]:
        raise InputError(f"There is no {missing[0]}; check the path.")
    folders = asked if places else usual_places()
    found = [entry for place in folders for entry in (discover([place]) if place.is_dir() else [told(place)])]
    objects = [
        {
            "path": entry.path,
            "size": entry.size,
            "part": entry.what.part if entry.what else "",
            "what": entry.what.title if entry.what else "",
            "layout": entry.what.layout if entry.what else "",
            "facts": dict(entry.what.facts) if entry.what else {},
            "problem": entry.problem,
        }
        for entry in found
    ]
    rows = [(o["problem"] or o["what"] or "of no known layout", o["part"] or "–", size(entry.size), entry.path)
            for o, entry in zip(objects, found, strict=True)]  # fmt: skip
    where = ", ".join(str(place) for place in folders) or "the usual places (the Hugging Face cache, ComfyUI, stable-diffusion-webui)"
    answer(objects, table(("what it is", "part", "size", "path"), rows, f"No weights in {where}."), as_json)
    if any(entry.problem for entry in found):
        raise typer.Exit(WORK_FAILED)


@app.command("add", epilog=f"{EXAMPLE} vcd-studio models add realistic realistic.safetensors mm_sd_v15_v2.ckpt")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What projects will call the pack.")],
    places: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="A checkpoint, a motion module, and what else there is; folders of diffusers too.")
    ],
    description: Annotated[str, typer.Option("--description", metavar="TEXT", help="A line for the lists.")] = "",
    as_json: Json = False,
) -> None:
    """A pack of files that lie anywhere: each is told by its keys. Nothing is copied."""
    from vcd_studio.catalog.packs import add_pack
    from vcd_studio.locations import packs_dir
    from vcd_studio.project.paths import check_name

    check_name(name, "a pack")
    with _refusals():
        pack = add_pack(packs_dir(), name, places, description)
    lines = [f"Added {name}: {', '.join(f'{part} {place}' for part, place in pack.parts.items())}"]
    lines.append(f"Next: vcd-studio project new PATH --pack {name}")
    answer(_pack_object(name), lines, as_json)


def _pack_object(name: str) -> dict[str, Any]:
    from vcd_studio.catalog.headers import WeightsError
    from vcd_studio.catalog.packs import PARTS, find_pack
    from vcd_studio.locations import packs_dir

    about: dict[str, Any] = {"name": name, "description": "", "parts": {}, "size": 0, "problem": ""}
    try:
        pack = find_pack(name, packs_dir())
    except WeightsError as error:
        return about | {"problem": str(error)}
    parts = {part: place for part in PARTS if (place := pack.part(part)) is not None}
    return about | {
        "description": pack.description, "parts": parts, "size": sum(path.stat().st_size for path in pack.weights().values()),
    }  # fmt: skip
