"""Projects: those opened lately and those in the user's own folder, with a poster and counts; new, open, and the example."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from vcd_studio.project.errors import InputError
from vcd_studio.project.recent import name_of
from vcd_studio.project.text import plain
from vcd_studio.tui.screens.base import StudioScreen
from vcd_studio.tui.screens.dialogs.form import Field, Form, Values
from vcd_studio.tui.widgets.chrome.options import Options
from vcd_studio.tui.widgets.pictures.picture import Picture
from vcd_studio.tui.widgets.pictures.source import Source

if TYPE_CHECKING:
    from vcd_studio.project.project import Project

EXAMPLE = "pocket-park"
GREETING = """Welcome to VCD Studio.

It makes short clips of exactly one person, pet or thing from a handful of photos and a line of text.

  e   copies the example project to your folder and opens it: two invented animals, eight prompts, and models small enough for any computer
  n   begins a project of your own
  o   opens a project folder you have

Everything you enqueue is done by a worker of its own: you can leave at any time and come back."""


@dataclass(frozen=True)
class Entry:
    """One line of the list; `problem` says why a folder cannot be opened. Without `pack` and `problem` it has not been read yet."""

    path: Path
    name: str
    pack: str = ""
    identities: int = 0
    clips: int = 0
    poster: Path | None = None
    problem: str = ""


def places() -> list[Path]:
    """Recent projects first, then the others in the user's own folder. Reads files: call it on a thread."""
    from vcd_studio.locations import default_projects_dir
    from vcd_studio.project.recent import PROJECT_FILE, recent_projects

    own = default_projects_dir()
    found = [path for path in recent_projects() if path.is_dir()]
    if own.is_dir():
        found += sorted(folder for folder in own.iterdir() if (folder / PROJECT_FILE).is_file())
    return list(dict.fromkeys(path.resolve() for path in found))


def entry(path: Path) -> Entry:
    """Read one project's counts, and no recipe of its clips, be they thousands; a broken one becomes an entry with its problem."""
    from vcd_studio.project.outputs import Clip, clip_names
    from vcd_studio.project.project import Project

    try:
        project = Project.open(path)
        names = clip_names(project.outputs_dir)
        identities = project.identities()
    except (InputError, OSError) as error:
        return Entry(path, path.name, problem=str(error))
    clips = (Clip(project.outputs_dir / name) for name in names)
    poster = next((clip.poster for clip in clips if clip.has_poster), None)
    if poster is None:
        poster = next((photo.path for identity in identities for photo in identity.photos()), None)
    return Entry(path, project.name, project.pack, len(identities), len(names), poster)


def copy_example() -> Path:
    """The shipped example, copied to the user's folder unless it is there; where it is now."""
    from vcd_studio.locations import default_projects_dir, shipped_projects

    source, target = shipped_projects() / EXAMPLE, default_projects_dir() / EXAMPLE
    if not (source / "project.toml").is_file():
        raise InputError(f"The example project is not at {source}; reinstall VCD Studio to have it back.")
    if not target.exists():
        part = target.with_name(f".{EXAMPLE}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, part)
        part.rename(target)
    return target


def new_project_fields(pack: str = "pocket") -> list[Field]:
    """What a new project is asked for."""
    return [
        Field("name", "Name", hint="My film"),
        Field("folder", "Folder (empty: your projects folder)", hint="~/films/my-film", path=True),
        Field("pack", "Models", pack, hint="pocket"),
    ]


def new_project(values: Values) -> "Project":
    """Make a project from the form's values."""
    from vcd_studio.locations import default_projects_dir
    from vcd_studio.project.project import Project
    from vcd_studio.project.recent import remember_project
    from vcd_studio.project.text import slug

    name = values["name"]
    if not name:
        raise InputError("A project needs a name: write one, for example My film.")
    folder = Path(values["folder"]).expanduser() if values["folder"] else default_projects_dir() / slug(name, otherwise="project")
    project = Project.create(folder, name=name, pack=values["pack"] or "pocket")
    remember_project(project.path)
    return project


class ProjectsScreen(StudioScreen):
    """The list of projects, with the one under the cursor at its side."""

    MODE = "projects"
    HELP = "Your projects. Enter opens the one under the cursor, n begins a new one, o opens a folder, e copies and opens the example."
    DEFAULT_CSS = """
    ProjectsScreen #body { layout: horizontal; }
    ProjectsScreen OptionList { width: 1fr; height: 1fr; border: none; background: $background; padding: 0; }
    ProjectsScreen OptionList:focus { border: none; }
    ProjectsScreen #greeting { width: 1fr; height: 1fr; padding: 1 3; display: none; }
    ProjectsScreen #side { width: 40; height: 1fr; padding: 0 1; background: $surface; }
    ProjectsScreen #poster { width: 38; height: 12; }
    ProjectsScreen #facts { height: auto; padding-top: 1; }
    ProjectsScreen.-empty OptionList, ProjectsScreen.-empty #side { display: none; }
    ProjectsScreen.-empty #greeting { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New", id="projects.new", tooltip="Begin a new project"),
        Binding("o", "open_folder", "Open folder", id="projects.open_folder", tooltip="Open a project by its folder"),
        Binding("e", "example", "Example", id="projects.example", tooltip="Copy the example project to your folder and open it"),
        Binding("r", "again", "Read again", show=False, id="projects.again", tooltip="Read the list again"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []
        self._read_once = False

    def body(self) -> ComposeResult:
        with Horizontal(id="body"):
            yield Options(id="list", markup=False)
            yield Static(Text(GREETING), markup=False, id="greeting")
            with Vertical(id="side"):
                yield Picture(id="poster")
                yield Static(markup=False, id="facts")

    def project_changed(self) -> None:
        """Read the list; the first time names come first, for reading all there is to know takes longer than anybody should wait."""
        self.attempt(self._read, self._show, group="list", exclusive=True)

    def _read(self) -> list[Entry]:
        found = places()
        if found and not self._read_once:
            self.call_later(self._show_names, [Entry(path, name_of(path)) for path in found])
        return [entry(path) for path in found]

    def _show_names(self, found: list[Entry]) -> None:
        if not self._read_once:  # all that there is to know may have come before
            self._show(found)

    def _show(self, found: list[Entry]) -> None:
        options = self.query_one(OptionList)
        chosen = options.highlighted or 0
        self.entries = found
        options.set_options([Option(_line(one, self.project), id=str(at)) for at, one in enumerate(found)])
        self.set_class(not found, "-empty")
        if found:
            options.highlighted = min(chosen, len(found) - 1)
            if not self._read_once:
                options.focus()
        self._read_once = True

    @property
    def current(self) -> Entry | None:
        """The entry under the cursor."""
        at = self.query_one(OptionList).highlighted
        return self.entries[at] if at is not None and at < len(self.entries) else None

    def to_copy(self) -> str:
        """The path of the project under the cursor."""
        return str(self.current.path) if self.current else ""

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Show it at the side."""
        one = self.current
        if one is None:
            return
        self.query_one("#poster", Picture).show(Source(one.poster) if one.poster else None, "no pictures yet")
        facts = Text()
        facts.append(plain(one.name) + "\n", "bold")
        if one.problem:
            facts.append(plain(one.problem))
        elif one.pack:
            facts.append(f"{_count(one.identities, 'identity', 'identities')} · {_count(one.clips, 'clip')}\nmodels: {plain(one.pack)}\n")
        facts.append(f"\n{plain(str(one.path))}", "dim")
        self.query_one("#facts", Static).update(facts)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Open it."""
        one = self.current
        if one is not None:
            self.studio.open_project(one.path)

    def action_again(self) -> None:
        """Read the list again."""
        self.project_changed()

    def action_example(self) -> None:
        """Copy the example and open it."""
        self.attempt(copy_example, self.studio.open_project, group="example", exclusive=True)

    def action_new(self) -> None:
        """Ask for a name and a folder."""
        self.app.push_screen(Form("New project", new_project_fields(), new_project, "makes it"), self._made)

    def _made(self, project: "Project | None") -> None:
        if project is not None:
            self.studio.use_project(project)

    def action_open_folder(self) -> None:
        """Ask for a folder and open it."""
        from vcd_studio.project.project import Project
        from vcd_studio.project.recent import remember_project

        def work(values: Values) -> "Project":
            if not values["folder"]:
                raise InputError("Write the folder of a project: the one with project.toml in it.")
            project = Project.open(Path(values["folder"]).expanduser())
            remember_project(project.path)
            return project

        self.app.push_screen(
            Form("Open a project", [Field("folder", "Folder", hint="~/films/my-film", path=True)], work, "opens it"), self._made
        )


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _line(one: Entry, project: "Project | None") -> Text:
    here = project is not None and project.path == one.path
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{'●' if here else ' '} {plain(one.name)}\n", "bold")
    if one.problem:
        text.append("  cannot be opened", "dim")
    elif not one.pack:
        text.append("  …", "dim")
    else:
        text.append(f"  {plain(one.pack)} · {_count(one.identities, 'identity', 'identities')} · {_count(one.clips, 'clip')}", "dim")
    return text
