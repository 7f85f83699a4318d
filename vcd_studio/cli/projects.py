"""``vcd-studio project new|list|check``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vcd_studio.cli.answers import EXAMPLE, Json, answer, group, table
from vcd_studio.cli.telling import WORK_FAILED
from vcd_studio.project.errors import InputError
from vcd_studio.project.text import plain

app = group("project", "Project folders: make one, list them, look for mistakes.", "vcd-studio project new my-film")


@app.command("new", epilog=f"{EXAMPLE} vcd-studio project new my-film --pack pocket")
def new(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A new or empty folder; its name becomes the project's.")],
    pack: Annotated[str, typer.Option("--pack", metavar="P", help="Which models; pocket needs no download.")] = "pocket",
    as_json: Json = False,
) -> None:
    """Make a project."""
    from vcd_studio.project.project import Project
    from vcd_studio.project.recent import remember_project

    project = Project.create(path, pack=pack)
    remember_project(project.path)
    answer(project_object(project.path), [f"Made {project.path}", f"Next: vcd-studio identity add {path} NAME --noun N PHOTOS…"], as_json)


@app.command("list", epilog=f"{EXAMPLE} vcd-studio project list --json")
def list_projects(as_json: Json = False) -> None:
    """The projects opened last, those in your projects folder, and the examples."""
    from vcd_studio import locations
    from vcd_studio.project.recent import PROJECT_FILE, recent_projects

    paths = [*recent_projects()]
    for place in (locations.default_projects_dir(), locations.shipped_projects()):
        if place.is_dir():
            paths.extend(sorted(entry for entry in place.iterdir() if (entry / PROJECT_FILE).is_file()))
    found = [project_object(path) for path in dict.fromkeys(paths)]
    rows = [(p["name"], p["pack"], ", ".join(p["identities"]), p["clips"], p["problem"] or p["path"]) for p in found]
    empty = "No projects yet; make one: vcd-studio project new PATH"
    answer(found, table(("name", "pack", "identities", "clips", "path"), rows, empty), as_json)


@app.command("check", epilog=f"{EXAMPLE} vcd-studio project check my-film")
def check(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The project's folder.")],
    as_json: Json = False,
) -> None:
    """Every problem in the folder, with file and line; exit code 1 if there is any."""
    folder = path.expanduser().absolute()
    if not folder.is_dir():
        raise InputError(f"There is no folder {plain(str(folder))}; check the path.")
    from vcd_studio.project.project import Project, ProjectFile

    problems = Project(folder, ProjectFile(name=folder.name or "/")).check()  # not opened: a broken project.toml is one of the findings
    found = {
        "path": folder,
        "problems": [{"file": str(problem.file), "line": problem.line, "message": problem.message} for problem in problems],
    }
    answer(found, [str(problem) for problem in problems] or [f"{folder}: no problems."], as_json)
    if problems:
        raise typer.Exit(WORK_FAILED)


def project_object(path: Path) -> dict[str, Any]:
    """One project for an answer; ``problem`` says why it cannot be opened."""
    from vcd_studio.project.errors import ProjectError
    from vcd_studio.project.outputs import clip_names
    from vcd_studio.project.project import Project

    try:
        project = Project.open(path)
        identities, clips = project.identity_names(), len(clip_names(project.outputs_dir))
    except ProjectError as error:
        return {"path": str(path), "name": path.name, "pack": "", "identities": [], "clips": 0, "problem": str(error)}
    return {
        "path": str(project.path),
        "name": project.name,
        "pack": project.pack,
        "identities": identities,
        "clips": clips,
        "problem": None,
    }
