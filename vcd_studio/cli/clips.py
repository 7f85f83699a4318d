"""``vcd-studio clips list|show|export``"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcd_studio.cli.answers import EXAMPLE, Json, answer, duration, group, table
from vcd_studio.project.clip_filter import HOW, facts_of, order_named, parse_filter
from vcd_studio.project.errors import InputError
from vcd_studio.project.text import quoted

if TYPE_CHECKING:
    from vcd_studio.project.outputs import Clip

app = group("clips", "What was made: list, look up, export.", "vcd-studio clips list my-film")
ClipName = Annotated[str, typer.Argument(metavar="CLIP", help="A clip's folder, or its id.")]
Within = Annotated[Path | None, typer.Option("--project", metavar="PATH", help="Where the id is looked up; else in recent projects.")]


@app.command("list", epilog=f"{EXAMPLE} vcd-studio clips list my-film --filter 'snow rating:>=3' --sort best")
def list_clips(
    project: Annotated[Path | None, typer.Argument(metavar="[PROJECT]", help="Its folder; without it, all recent projects.")] = None,
    chosen: Annotated[str, typer.Option("--filter", metavar="WORDS", help=f"Words of the name, prompt or identity; {HOW}.")] = "",
    order: Annotated[str, typer.Option("--sort", metavar="ORDER", help="newest, oldest, best, prompt or seed.")] = "newest",
    as_json: Json = False,
) -> None:
    """Finished clips, newest first."""
    wanted, key = parse_filter(chosen), order_named(order)
    clips = [(facts_of(clip), clip) for opened in _projects(project) for clip in opened.clips()]
    found = [clip_object(clip) for facts, clip in sorted(clips, key=lambda pair: key(pair[0])) if wanted(facts)]
    rows = [(c["id"], c["prompt"], c["seed"], f"{c['frames']} × {c['width']}×{c['height']}", c["rating"] or "", c["folder"]) for c in found]
    none = "No clip is like that." if chosen else "No clips yet."
    answer(found, table(("id", "prompt", "seed", "size", "rating", "folder"), rows, none), as_json)


@app.command("show", epilog=f"{EXAMPLE} vcd-studio clips show my-film/outputs/rex-001")
def show(clip: ClipName, project: Within = None, as_json: Json = False) -> None:
    """One clip with its whole recipe."""
    found = find_clip(clip, project)
    shown = {**clip_object(found), "recipe": found.sidecar}
    rows = [(name, stage["frames"], stage["video"] or "") for name, stage in shown["stages"].items()]
    seconds = {name: stage.get("seconds") for name, stage in found.sidecar.get("stages", {}).items()}
    lines = [f"{shown['prompt']} · seed {shown['seed']}", str(found.folder), ""]
    timed = [(name, frames, duration(seconds.get(name)), video) for name, frames, video in rows]
    lines += table(("stage", "frames", "time", "film"), timed, "no stages were kept")
    if found.problem:
        lines += ["", found.problem]
    answer(shown, lines, as_json)


@app.command("export", epilog=f"{EXAMPLE} vcd-studio clips export my-film/outputs/rex-001 --to gif --out rex.gif")
def export(
    clip: ClipName,
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="mp4, gif, webp or frames (a folder of PNG).")],
    out: Annotated[Path | None, typer.Option("--out", metavar="PATH", help="Where to; it must not be there yet.")] = None,
    stage: Annotated[str | None, typer.Option("--stage", metavar="S", help="What this stage made, instead of the finished clip.")] = None,
    project: Within = None,
    as_json: Json = False,
) -> None:
    """Write a clip as mp4, gif, webp or frames; each file says how it was made. Nothing is overwritten."""
    from vcd_studio.media.export import export_clip

    found = find_clip(clip, project)
    target = (out or Path(f"{found.id}{f'-{stage}' if stage else ''}{'-frames' if to == 'frames' else '.' + to}")).expanduser().absolute()
    export_clip(found, stage, to, target)
    answer({"clip": found.id, "format": to, "stage": stage, "path": str(target)}, [str(target)], as_json)


def clip_object(clip: Clip) -> dict[str, Any]:
    """One clip for an answer; what its recipe does not say is null."""
    recipe = clip.sidecar
    made = datetime.fromtimestamp(clip.made, UTC)
    return {
        "id": clip.id,
        "folder": str(clip.folder),
        **{key: recipe.get(key) for key in ("written", "prompt", "seed", "frames", "width", "height", "fps", "pack", "job")},
        "identities": [identity.get("name") for identity in recipe.get("identities", []) if isinstance(identity, dict)],
        "made": made,
        "rating": clip.rating,
        "video": str(clip.video) if clip.video.is_file() else None,
        "poster": str(clip.poster) if clip.poster.is_file() else None,
        "stages": {
            name: {"frames": len(stage.frames), "video": str(stage.video) if stage.video.is_file() else None}
            for name, stage in clip.stages().items()
        },
        "problem": clip.problem,
    }


def _projects(project: Path | None) -> list[Any]:
    from vcd_studio.cli.answers import tell
    from vcd_studio.project.errors import ProjectError
    from vcd_studio.project.project import Project, recent_projects

    if project is not None:
        return [Project.open(project)]
    opened = []
    for path in recent_projects():
        try:
            opened.append(Project.open(path))
        except ProjectError as error:  # one broken project hides no other
            tell(f"left out: {error}")
    return opened


def find_clip(name: str, project: Path | None) -> Clip:
    """By folder (or a file in it), else by id."""
    from vcd_studio.project.outputs import SIDECAR, read_clip

    path = Path(name).expanduser().absolute()
    for folder in (path, path.parent):
        if project is None and (folder / SIDECAR).is_file():
            return read_clip(folder)
    found: list[Clip] = [clip for opened in _projects(project) for clip in opened.clips() if clip.id == name]
    if not found:
        where = "that project" if project is not None else "the recent projects"
        raise InputError(f"There is no clip {quoted(name)} in {where}; vcd-studio clips list shows those there are.")
    if len(found) > 1:
        raise InputError(f"{len(found)} recent projects have a clip {quoted(name)}; give its folder, or --project.")
    return found[0]
