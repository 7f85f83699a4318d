"""``vcd-studio clips list|show|export|trash|restore``"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcd_studio.cli.answers import EXAMPLE, Json, answer, group, table
from vcd_studio.project.clip_filter import HOW, facts_of, order_named, parse_filter
from vcd_studio.project.errors import InputError
from vcd_studio.project.recipes import measured, once_more
from vcd_studio.project.text import quoted

if TYPE_CHECKING:
    from vcd_studio.project.outputs import Clip
    from vcd_studio.project.project import Project

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
    """Finished clips, newest first; with the word failed in the filter, those too that never became one."""
    wanted, key = parse_filter(chosen), order_named(order)
    projects = _projects(project)
    every = [clip for opened in projects for clip in opened.clips()]
    if "failed" in chosen.casefold().split():
        every += [clip for opened in projects for clip in _unfinished(opened)]
    clips = [(facts_of(clip), clip) for clip in every]
    found = [clip_object(clip) for facts, clip in sorted(clips, key=lambda pair: key(pair[0])) if wanted(facts)]
    rows = [(c["id"], c["problem"] or c["prompt"], c["seed"], _size(c), c["rating"] or "", c["folder"]) for c in found]
    none = "No clip is like that." if chosen else "No clips yet."
    answer(found, table(("id", "prompt", "seed", "size", "rating", "folder"), rows, none), as_json)


@app.command("show", epilog=f"{EXAMPLE} vcd-studio clips show my-film/outputs/rex-001")
def show(clip: ClipName, project: Within = None, as_json: Json = False) -> None:
    """One clip with its whole recipe."""
    found = find_clip(clip, project)
    shown = {**clip_object(found), "recipe": found.sidecar}
    kept = [(name, stage["frames"], stage["video"] or "") for name, stage in shown["stages"].items()]
    lines = [f"{shown['prompt']} · seed {shown['seed']}", str(found.folder), ""]
    lines += table(("stage", "frames", "film"), kept, "no stages were kept")
    if rows := measured(found.sidecar):
        lines += ["", *table(("stage", "measured", ""), rows, "")]
    if again := once_more(found.sidecar):
        lines += ["", f"{again[0]} once more: {again[1]}"]
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


@app.command("trash", epilog=f"{EXAMPLE} vcd-studio clips trash rex-001 --project my-film")
def trash(
    clip: Annotated[str | None, typer.Argument(metavar="[CLIP]", help="A clip's folder, or its id; without it, what is there.")] = None,
    project: Within = None,
    as_json: Json = False,
) -> None:
    """Put a clip into its project's trash, or list what is there, the one that went last first."""
    from vcd_studio.project.outputs import discard, name_before

    if clip is not None:
        thrown = [discard(find_clip(clip, project))]
    else:
        thrown = _in_trash(project)
    found = [{"id": name_before(folder), "folder": str(folder)} for folder in thrown]
    answer(found, table(("id", "folder"), [(each["id"], each["folder"]) for each in found], "The trash is empty."), as_json)


@app.command("restore", epilog=f"{EXAMPLE} vcd-studio clips restore rex-001 --project my-film")
def restore(
    clip: Annotated[str | None, typer.Argument(metavar="[CLIP]", help="Its id or its folder's name there; without it, the last.")] = None,
    project: Within = None,
    as_json: Json = False,
) -> None:
    """Take a clip out of the trash again."""
    from vcd_studio.project import outputs

    thrown = _in_trash(project)
    wanted = next((folder for folder in thrown if clip in (None, folder.name, outputs.name_before(folder))), None)
    if wanted is None:
        raise InputError(f"The trash has no clip {quoted(clip)}; vcd-studio clips trash lists it." if clip else "The trash is empty.")
    folder = outputs.restore(wanted)
    answer({"id": folder.name, "folder": str(folder)}, [str(folder)], as_json)


def _size(clip: dict[str, Any]) -> str:
    return f"{clip['frames']} × {clip['width']}×{clip['height']}" if clip["frames"] else ""


def _unfinished(project: Project) -> list[Clip]:
    from vcd_studio.jobs.store import Store
    from vcd_studio.jobs.unfinished import unfinished_clips

    with Store() as store:
        return [clip for clip, _ in unfinished_clips(project.outputs_dir, store.jobs())]


def _in_trash(project: Path | None) -> list[Path]:
    from vcd_studio.project.outputs import discarded

    return [folder for opened in _projects(project) for folder in discarded(opened.outputs_dir)]


def clip_object(clip: Clip) -> dict[str, Any]:
    """One clip for an answer; what its recipe does not say is null."""
    recipe, facts = clip.recipe, facts_of(clip)
    return {
        "id": clip.id,
        "folder": str(clip.folder),
        **{key: recipe.get(key) for key in ("written", "prompt", "seed", "frames", "width", "height", "fps", "pack", "job")},
        "identities": list(facts.identities),
        "made": datetime.fromtimestamp(facts.made, UTC),
        "rating": facts.rating,
        "video": str(clip.video) if clip.has_video else None,
        "poster": str(clip.poster) if clip.has_poster else None,
        "stages": {
            name: {"frames": len(stage.frames), "video": str(stage.video) if stage.video.is_file() else None}
            for name, stage in clip.stages().items()
        },
        "problem": clip.problem,
    }


def _projects(project: Path | None) -> list[Project]:
    from vcd_studio.cli.telling import tell
    from vcd_studio.project.errors import ProjectError
    from vcd_studio.project.project import Project
    from vcd_studio.project.recent import recent_projects

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
    from vcd_studio.project.outputs import SIDECAR, clip_names, read_clip

    path = Path(name).expanduser().absolute()
    for folder in (path, path.parent):
        if project is None and (folder / SIDECAR).is_file():
            return read_clip(folder)
    projects = _projects(project)
    found = [read_clip(opened.outputs_dir / name) for opened in projects if name in clip_names(opened.outputs_dir)]
    found = found or [clip for opened in projects for clip in _unfinished(opened) if clip.id == name]
    if not found:
        where = "that project" if project is not None else "the recent projects"
        raise InputError(f"There is no clip {quoted(name)} in {where}; vcd-studio clips list shows those there are.")
    if len(found) > 1:
        raise InputError(f"{len(found)} recent projects have a clip {quoted(name)}; give its folder, or --project.")
    return found[0]
