"""``vcd-studio models list|check|pull|add``"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcd_studio.cli.answers import EXAMPLE, Json, answer, group, size, table
from vcd_studio.cli.telling import WORK_FAILED, tell
from vcd_studio.project.errors import InputError

if TYPE_CHECKING:
    from vcd_studio.catalog.shipped import ShippedFile

app = group("models", "Packs of models: what is here, what a file is, putting one together.", "vcd-studio models list")


@contextmanager
def _refusals() -> Iterator[None]:
    """What the catalog refuses is wrong input; what could not be fetched is work that failed."""
    from vcd_studio.catalog.headers import WeightsError
    from vcd_studio.catalog.pulling import PullFailed

    try:
        yield
    except PullFailed as error:
        tell(f"vcd-studio: {error}")
        raise typer.Exit(WORK_FAILED) from error
    except WeightsError as error:
        raise InputError(str(error)) from error


@app.command("list", epilog=f"{EXAMPLE} vcd-studio models list --json")
def list_models(as_json: Json = False) -> None:
    """The packs that projects can name, what is wrong with those that cannot be used, and those that can be fetched."""
    from vcd_studio.catalog.packs import packs_in
    from vcd_studio.catalog.shipped import shipped_names
    from vcd_studio.locations import packs_dir

    here = [_pack_object(name) for name in packs_in(packs_dir())]
    names = {pack["name"] for pack in here}
    found = here + [_shipped_object(name) for name in shipped_names() if name not in names]
    rows = [(p["name"], p["state"], size(p["size"]), p["problem"] or p["description"]) for p in found]
    lines = table(("pack", "state", "size", "about"), rows, "No packs.")
    if len(found) > len(here):
        lines += ["", "To fetch one: vcd-studio models pull NAME; with --dry-run it tells the files, their licences and what is here."]
    answer(found, lines, as_json)


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


@app.command("pull", epilog=f"{EXAMPLE} vcd-studio models pull realistic-vision-5.1 --small")
def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A pack that models list shows as one to fetch.")],
    motion: Annotated[str, typer.Option("--motion", metavar="NAME", help="v2 (the paper's), v1, v3, lcm or lightning (few steps).")] = "",
    small: Annotated[bool, typer.Option("--small", help="MobileSAM and Grounding DINO Swin-T: 3 GB less.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell the files, sizes and licences, and fetch nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Fetch a pack's files from the hub, or from its mirror (HF_ENDPOINT); broken off, it goes on where it ended."""
    from vcd_studio.catalog.discovery import usual_places
    from vcd_studio.catalog.pulling import Shelves, fetched, pull_pack
    from vcd_studio.catalog.shipped import shipped_pack
    from vcd_studio.cli.progress import Transfer
    from vcd_studio.jobs.pulls import Telling
    from vcd_studio.locations import packs_dir, weights_dir

    with _refusals():
        pack = shipped_pack(name, motion, small=small)
        if dry_run:
            here = {file: fetched(file, weights_dir()) for file in pack.files}
            rows = [(f.title, size(f.bytes), f.licence, f.purpose, here[f] or f"{f.repo}/{f.name}") for f in pack.files]
            first = [f"First the pack it trains on: {pack.trains_on}", ""] if pack.trains_on else []
            lines = table(("file", "about", "licence", "for", "where"), rows, "")
            left = sum(file.bytes for file, path in here.items() if path is None)
            answer(_shipped_object(name, motion, small), [*first, *lines, "", f"About {size(left)} to fetch."], as_json)
            return
        with Telling(pack.name, small=small) as telling, Transfer() as transfer:

            def on_progress(file: ShippedFile, done: int, total: int) -> None:
                telling.tell(file.title, done, total)
                transfer.show(file.title, done, total)

            made = pull_pack(name, motion, Shelves(packs_dir(), weights_dir(), usual_places()), on_progress, small=small)
    answer(_pack_object(made.name), [f"{made.name} is ready: vcd-studio project new PATH --pack {made.name}"], as_json)


@app.command("add", epilog=f"{EXAMPLE} vcd-studio models add realistic realistic.safetensors mm_sd_v15_v2.ckpt")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What projects will call the pack.")],
    places: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="A checkpoint, a motion module, and what else there is; folders of diffusers too.")
    ],
    description: Annotated[str, typer.Option("--description", metavar="TEXT", help="A line for the lists.")] = "",
    trains_on: Annotated[str, typer.Option("--trains-on", metavar="PACK", help="The pack whose base ID tokens are trained on.")] = "",
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A default of its clips; repeatable.")] = None,
    as_json: Json = False,
) -> None:
    """A pack of files that lie anywhere: each is told by its keys. Nothing is copied."""
    from vcd_studio.catalog.packs import add_pack, find_pack
    from vcd_studio.locations import packs_dir
    from vcd_studio.project.paths import check_name
    from vcd_studio.project.settings import GenerationSettings, override_from_text

    check_name(name, "a pack")
    defaults = dict(override_from_text(change) for change in changes or [])
    GenerationSettings().with_overrides(defaults)
    with _refusals():
        if trains_on:
            find_pack(trains_on, packs_dir())
        pack = add_pack(packs_dir(), name, places, description, trains_on=trains_on, defaults=defaults)
    lines = [f"Added {name}: {', '.join(f'{part} {place}' for part, place in pack.parts.items())}"]
    lines.append(f"Next: vcd-studio project new PATH --pack {name}")
    answer(_pack_object(name), lines, as_json)


def _pack_object(name: str) -> dict[str, Any]:
    from vcd_studio.catalog.headers import WeightsError
    from vcd_studio.catalog.packs import PARTS, find_pack
    from vcd_studio.locations import packs_dir

    about: dict[str, Any] = {"name": name, "state": "ready", "description": "", "parts": {}, "loras": [], "size": 0, "problem": ""}
    try:
        pack = find_pack(name, packs_dir())
    except WeightsError as error:
        return about | {"state": "broken", "problem": str(error)}
    parts = {part: place for part in PARTS if (place := pack.part(part)) is not None}
    size = sum(path.stat().st_size for path in pack.weights().values())
    return about | {"description": pack.description, "parts": parts, "loras": [path.stem for path in pack.brought], "size": size}


def _shipped_object(name: str, motion: str = "", small: bool = False) -> dict[str, Any]:
    from dataclasses import asdict

    from vcd_studio.catalog.shipped import shipped_pack

    pack = shipped_pack(name, motion, small=small)
    return {
        "name": pack.name, "state": "to fetch", "description": pack.description, "parts": {}, "loras": [], "size": pack.bytes,
        "problem": "", "trains_on": pack.trains_on, "files": [asdict(file) for file in pack.files],
    }  # fmt: skip
