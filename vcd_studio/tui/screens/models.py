"""Models: the packs that are here, what is wrong with them, and those that can be fetched or put together."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from vcd_studio.project.errors import InputError
from vcd_studio.project.text import plain
from vcd_studio.tui.screens.base import StudioScreen
from vcd_studio.tui.screens.dialogs.dialogs import Page
from vcd_studio.tui.screens.dialogs.form import Field, Form, Values
from vcd_studio.tui.widgets.chrome.bars import amount, bar, clock
from vcd_studio.tui.widgets.chrome.options import Options

if TYPE_CHECKING:
    from vcd_studio.catalog.discovery import Found
    from vcd_studio.jobs.pulls import Pull
    from vcd_studio.project.project import Project

MARKS = {
    "ready": ("✓", "success"), "broken": ("✗", "error"), "fetching": ("↓", "accent"), "stopped": ("!", "warning"), "to fetch": ("·", ""),
}  # fmt: skip
"""The mark of each state, and the theme's colour for it."""
LOOK_EVERY = 1.0
"""Seconds between two looks at what is being fetched."""
NAME_WIDTH, BAR_WIDTH = 24, 8
SIZES = ("paper's", "small")


@dataclass(frozen=True)
class Entry:
    """One pack in the list; ``lines`` tell its files, ``share`` (0..1) how much of the present file is fetched, ``small`` whether the
    small ones were asked for."""

    name: str
    state: str
    about: str
    size: int = 0
    lines: tuple[str, ...] = field(default=())
    share: float = 0.0
    small: bool = False


def entries() -> list[Entry]:
    """What is here, then what is being fetched, then what could be; on a thread."""
    from vcd_studio.catalog.packs import packs_in
    from vcd_studio.catalog.shipped import shipped_names
    from vcd_studio.jobs.pulls import pulls
    from vcd_studio.locations import packs_dir

    here = packs_in(packs_dir())
    under_way = {pull.pack: pull for pull in pulls() if pull.pack not in here}
    to_fetch = [name for name in shipped_names() if name not in here and name not in under_way]
    return [*map(_present, here), *map(_fetching, under_way.values()), *map(_shipped, to_fetch)]


def _present(name: str) -> Entry:
    from vcd_studio.catalog.headers import WeightsError
    from vcd_studio.catalog.packs import PARTS, find_pack
    from vcd_studio.locations import packs_dir

    try:
        pack = find_pack(name, packs_dir())
    except WeightsError as error:
        return Entry(name, "broken", str(error))
    size = sum(path.stat().st_size for path in pack.weights().values())
    lines = [f"LoRA that clips may name: {', '.join(path.stem for path in pack.brought)}"] if pack.brought else []
    lines += [f"{part}: {place}" for part in PARTS if (place := pack.part(part)) is not None]
    lines += [f"LoRA at {lora.strength:g}: {lora.file}" for lora in pack.loras]
    lines += [f"trains on: {pack.trains_on}"] if pack.trains_on else []
    lines += [f"its clips begin with {', '.join(f'{key} = {value}' for key, value in pack.defaults.items())}"] if pack.defaults else []
    return Entry(name, "ready", pack.description, size, tuple(lines))


def _fetching(pull: "Pull") -> Entry:
    share = pull.done / pull.total if pull.total else 0.0
    if pull.state in ("running", "done"):
        left = f", {amount(pull.rate)}/s, {clock((pull.total - pull.done) / pull.rate)} left" if pull.rate >= 1 else ""
        return Entry(pull.pack, "fetching", f"{pull.file or 'asking the hub'}{left}", pull.total, share=share)
    why = pull.problem or "it ended without a word"
    return Entry(pull.pack, "stopped", why, pull.total, ("f goes on where it ended",), share, pull.small)


def _shipped(name: str) -> Entry:
    from vcd_studio.catalog.shipped import shipped_pack

    pack = shipped_pack(name)
    lines = [f"{file.title}, about {amount(file.bytes)}, {file.licence}: {file.purpose}" for file in pack.files]
    lines += [f"trains on: {pack.trains_on}, which comes with it"] if pack.trains_on else []
    return Entry(name, "to fetch", pack.description, pack.bytes, tuple(lines))


class ModelsScreen(StudioScreen):
    """The packs, and the one under the cursor in full below."""

    MODE = "models"
    HELP = """The packs of networks that projects can name. ✓ is ready, ✗ cannot be used, ↓ is being fetched, · can be fetched.
Enter shows all of a pack, f fetches the one under the cursor in the background (it goes on when you leave), w looks for weights that
are on this machine already and makes a pack of those you choose, n begins a project with the pack under the cursor."""
    DEFAULT_CSS = """
    ModelsScreen #body { layout: vertical; }
    ModelsScreen OptionList { height: 1fr; border: none; background: $background; padding: 0; text-wrap: nowrap; text-overflow: ellipsis; }
    ModelsScreen OptionList:focus { border: none; }
    ModelsScreen #title { height: 1; background: $surface; padding: 0 1; text-style: bold; }
    ModelsScreen #about { height: 11; background: $surface; padding: 0 1; }
    ModelsScreen #lines { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "fetch", "Fetch", id="models.fetch", tooltip="Fetch this pack's files from the hub, or go on with it"),
        Binding("w", "weights", "Weights here", id="models.weights", tooltip="Find weights on this machine and make a pack of them"),
        Binding("n", "new_project", "New project", id="models.new_project", tooltip="Begin a project with this pack"),
        Binding("y", "copy", "Copy", id="models.copy", tooltip="Copy what is said of this pack (OSC 52, works over SSH)"),
        Binding("r", "again", "Look again", show=False, id="models.again", tooltip="Read the packs again"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []

    def body(self) -> ComposeResult:
        with Vertical(id="body"):
            yield Options(id="list", markup=False)
            yield Static(markup=False, id="title")
            with VerticalScroll(id="about", can_focus=False):
                yield Static(markup=False, id="lines")

    def on_mount(self) -> None:
        """The list has the keys."""
        super().on_mount()
        self.query_one(OptionList).focus()
        self.set_interval(LOOK_EVERY, self._look_on)

    def project_changed(self) -> None:
        """Read the packs."""
        self.action_again()

    def action_again(self) -> None:
        """Read the packs again."""
        self.attempt(entries, self._show, group="packs", exclusive=True)

    def _look_on(self) -> None:
        if self.is_active and any(entry.state == "fetching" for entry in self.entries):
            self.action_again()

    def _show(self, found: list[Entry]) -> None:
        if found == self.entries:
            return
        options = self.query_one(OptionList)
        name = self.current.name if self.current else ""
        self.entries = found
        options.set_options([Option(self._line(entry), id=str(at)) for at, entry in enumerate(found)])
        options.highlighted = next((at for at, entry in enumerate(found) if entry.name == name), 0)
        self._tell()

    def _line(self, entry: Entry) -> Text:
        mark, colour = MARKS[entry.state]
        line = Text()
        line.append(f"{mark} ", f"bold {self.app.theme_variables.get(colour, '')}")
        line.append(f"{plain(entry.name):<{NAME_WIDTH}} ", "bold")
        if entry.state in ("fetching", "stopped") and entry.size:
            line.append(bar(entry.share, BAR_WIDTH, self.app.theme_variables.get(colour, ""))).append(f" {entry.share:4.0%} of ", "dim")
        else:
            line.append(" " * (BAR_WIDTH + 9))
        line.append(f"{amount(entry.size) if entry.size else '':>7}  ", "dim")
        return line.append(plain(entry.about))

    # ── the pack under the cursor ──

    @property
    def current(self) -> Entry | None:
        """The pack under the cursor."""
        at = self.query_one(OptionList).highlighted
        return self.entries[at] if at is not None and at < len(self.entries) else None

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """In full below."""
        self._tell()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """All of it, on a page that scrolls and can be copied."""
        if (entry := self.current) is not None:
            self.app.push_screen(Page(f"{entry.name}: {entry.state}", _whole(entry)))

    def _tell(self) -> None:
        entry = self.current
        self.query_one("#title", Static).update(Text(f"{plain(entry.name)}: {plain(entry.about)}" if entry else ""))
        self.query_one("#lines", Static).update(Text("\n".join(plain(line) for line in entry.lines) if entry else ""))
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What is here needs no fetching, and what is not cannot be used yet."""
        state = self.current.state if self.query(OptionList) and self.current else ""
        if action == "fetch":
            return state in ("to fetch", "stopped")
        return state == "ready" if action == "new_project" else True

    def action_copy(self) -> None:
        """Everything said of the pack to the clipboard."""
        if (entry := self.current) is not None:
            self.app.copy_to_clipboard(_whole(entry).plain)
            self.say("It is in the clipboard, if your terminal lets programs write there.")

    # ── fetching ──

    def action_fetch(self) -> None:
        """Ask how, then begin in the background."""
        from vcd_studio.catalog.shipped import motions, shipped_names

        entry = self.current
        if entry is None:
            return
        name = next((name for name in shipped_names() if entry.name in (name, *(f"{name}-{motion}" for motion in motions()))), "")
        motion = entry.name.removeprefix(name).removeprefix("-")
        fields = [
            Field("motion", "Motion", motion or motions()[0], choices=tuple(motions())),
            Field("size", "Grounding and masks: the paper's, or small ones for 3 GB less", SIZES[entry.small], choices=SIZES),
        ]

        def begin(values: Values) -> str:
            from vcd_studio.jobs.pulls import start_pull

            start_pull(name, "" if values["motion"] == motions()[0] else values["motion"], small=values["size"] == SIZES[1])
            return name

        note = "Files come from the Hugging Face hub, or the mirror that HF_ENDPOINT names; their licences stand below the list."
        self.app.push_screen(Form(f"Fetch {name}", fields, begin, "begins", note), self._begun)

    def _begun(self, name: str | None) -> None:
        if name:
            self.say(f"{name} is being fetched in the background.")
            self.set_timer(LOOK_EVERY / 2, self.action_again)

    # ── weights that are here ──

    def action_weights(self) -> None:
        """Ask where to look, then show what was found."""

        def look(values: Values) -> "list[Found]":
            from vcd_studio.catalog.discovery import discover, usual_places
            from vcd_studio.catalog.packs import ADDED

            place = Path(values["folder"]).expanduser() if values["folder"] else None
            if place is not None and not place.is_dir():
                raise InputError(f"There is no folder {place}; check the path.")
            found = [one for one in discover([place] if place else usual_places()) if one.what is not None and one.what.part in ADDED]
            if not found:
                where = str(place) if place else "the usual places (the Hugging Face cache, ComfyUI, stable-diffusion-webui)"
                raise InputError(f"No weights that a pack could use lie in {where}; write a folder where they do.")
            return found

        folder = Field("folder", "Folder (empty: the usual places)", hint="~/ComfyUI/models", path=True)
        self.app.push_screen(Form("Weights on this machine", [folder], look, "looks"), self._found)

    def _found(self, found: "list[Found] | None") -> None:
        from vcd_studio.tui.screens.dialogs.choose_weights import ChooseWeights

        if found:
            self.app.push_screen(ChooseWeights(found), self._chosen)

    def _chosen(self, places: list[Path] | None) -> None:
        if not places:
            return

        def make(values: Values) -> str:
            from vcd_studio.catalog.packs import add_pack
            from vcd_studio.locations import packs_dir
            from vcd_studio.project.paths import check_name

            return add_pack(packs_dir(), check_name(values["name"], "a pack"), places, values["description"]).name

        fields = [Field("name", "Name", hint="realistic"), Field("description", "A line for the list")]
        self.app.push_screen(Form("New pack", fields, make, "makes it", f"{len(places)} files; nothing is copied."), self._made)

    def _made(self, name: str | None) -> None:
        if name:
            self.say(f"{name} is ready; n begins a project with it.")
            self.action_again()

    # ── and then ──

    def action_new_project(self) -> None:
        """A project with this pack."""
        from vcd_studio.tui.screens.projects import new_project, new_project_fields

        if (entry := self.current) is not None:
            self.app.push_screen(Form("New project", new_project_fields(entry.name), new_project, "makes it"), self._opened)

    def _opened(self, project: "Project | None") -> None:
        if project is not None:
            self.studio.use_project(project)


def _whole(entry: Entry) -> Text:
    return Text("\n".join(plain(line) for line in (entry.about, "", *entry.lines)))
