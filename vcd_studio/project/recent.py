"""Where projects are: those opened lately. Light, for the list of them is what the screens begin with."""

from __future__ import annotations

from pathlib import Path

import tomli

from vcd_studio import locations
from vcd_studio.project.errors import InputError
from vcd_studio.project.paths import reason, write_atomic
from vcd_studio.project.text import plain

PROJECT_FILE = "project.toml"
MOST_RECENT = 50


def remember_project(path: Path) -> None:
    """Put a project at the top of the recent ones."""
    folder = str(Path(path).expanduser().absolute())
    if "\n" in folder:
        return
    file = locations.recent_projects_path()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {plain(str(file.parent))} cannot be made ({reason(error)}); make it, or set VCD_HOME.") from error
    lines = [folder, *(line for line in _recent_lines() if line != folder)][:MOST_RECENT]
    write_atomic(file, ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape"))


def recent_projects() -> list[Path]:
    """The projects opened last that are still there, newest first."""
    return [Path(line) for line in _recent_lines() if (Path(line) / PROJECT_FILE).is_file()]


def _recent_lines() -> list[str]:
    try:
        text = locations.recent_projects_path().read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return []
    except OSError as error:
        file = plain(str(locations.recent_projects_path()))
        raise InputError(f"The list of recent projects {file} cannot be read ({reason(error)}); check its permissions.") from error
    return [line for line in text.splitlines() if line.strip() and "\0" not in line]


def name_of(project: Path) -> str:
    """What a project calls itself, at a glance; its folder's name where that cannot be read, for whoever opens it will be told why."""
    try:
        name = tomli.loads((project / PROJECT_FILE).read_text(encoding="utf-8")).get("name")
    except (OSError, ValueError):
        return project.name
    return name if isinstance(name, str) and name else project.name
