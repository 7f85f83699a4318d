"""The app: its screens, one open project, one look at the queue. The work is done by workers; the store says how far they are."""

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.app import App, SuspendNotSupported, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from vcd_studio.project.text import plain
from vcd_studio.terminal import Terminal, copy_through_tmux, look
from vcd_studio.tui.messages import QueueChanged, Snapshot
from vcd_studio.tui.themes import DEFAULT_THEME, Stamp, load_themes, stamp
from vcd_studio.tui.watch import Queue, watch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.theme import Theme

    from vcd_studio.project.project import Project
    from vcd_studio.settings import Settings
    from vcd_studio.tui.screens.base import StudioScreen
    from vcd_studio.tui.screens.prompts import PromptsScreen


THEMES_EVERY = 1.0  # seconds between two looks at the theme files
TERMINAL_EVERY = 1.0  # and at the terminal


def _screen(mode: str) -> Callable[[], Screen[Any]]:
    """Screens are imported when first shown."""

    def make() -> Screen[Any]:
        from importlib import import_module

        made: Screen[Any] = getattr(import_module(f"vcd_studio.tui.screens.{mode}"), f"{mode.capitalize()}Screen")()
        return made

    return make


def _commands() -> Any:
    from vcd_studio.tui.commands import StudioCommands

    return StudioCommands


class StudioApp(App[int]):
    """VCD Studio. `project` opens at once; `terminal` is what the terminal can draw; `queue` and `settings` default to the user's own."""

    TITLE = "VCD Studio"
    ENABLE_COMMAND_PALETTE = True
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        mode: _screen(mode) for mode in ("projects", "identity", "prompts", "queue", "clips", "models", "doctor")
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "go('projects')", "Projects", show=False, id="app.projects", tooltip="The list of projects"),
        Binding("2", "go('identity')", "Identity", show=False, id="app.identity", tooltip="Photos, masks and training"),
        Binding("3", "go('prompts')", "Prompts", show=False, id="app.prompts", tooltip="Write prompts and enqueue clips"),
        Binding("4", "go('queue')", "Queue", show=False, id="app.queue", tooltip="Jobs, their stages and log"),
        Binding("5", "go('clips')", "Clips", show=False, id="app.clips", tooltip="Look at what was made"),
        Binding("6", "go('models')", "Models", show=False, id="app.models", tooltip="Packs of networks: what is here, what is missing"),
        Binding("7", "go('doctor')", "Doctor", show=False, id="app.doctor", tooltip="What this machine lacks, and what to do"),
        Binding("question_mark,f1", "help", "Help", id="app.help", tooltip="What the focused thing is and what its keys do"),
        Binding("y", "copy", "Copy", show=False, id="app.copy", tooltip="Copy the path or text under the cursor (OSC 52, works over SSH)"),
        Binding("ctrl+g", "graphics", "Pictures", show=False, id="app.graphics", tooltip="Ask the terminal again how it draws pictures"),
        Binding("ctrl+p", "command_palette", "All actions", id="app.palette", tooltip="Every action of the studio, by name", priority=True),
        Binding("q,ctrl+q", "leave", "Leave", id="app.leave", tooltip="Leave the studio; the worker works on"),
    ]
    CSS = """
    Screen { background: $background; color: $foreground; }
    ToastRack { display: none; }
    CommandPalette { background: $background 60%; }
    """
    COMMANDS = {_commands}

    def __init__(
        self, project: Path | None = None, terminal: Terminal | None = None, queue: Queue | None = None, settings: "Settings | None" = None
    ) -> None:
        super().__init__()
        self.terminal = terminal or Terminal("halfcell")
        self.queue = queue or Queue()
        self.settings = settings
        self.snapshot = Snapshot()
        self.project: Project | None = None
        self.identity_name = ""
        self.editor: PromptsScreen | None = None
        self.our_themes: list[str] = []
        self.theme_problems: list[str] = []
        self._theme_folders: tuple[Path, ...] = ()
        self._theme_stamp: Stamp = ()
        self._themes_read: dict[Path, Theme] = {}
        self._first = project
        self._wanted = ""
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=watch, args=(self.queue, self._tell, self._stop), name="queue watch", daemon=True)

    # ── begin and end ──

    def on_mount(self) -> None:
        """Themes and keys, the first screen, and the watch over the queue."""
        self._dress()
        self.switch_mode("projects")
        self.set_interval(THEMES_EVERY, self._look_at_themes)
        if not self.is_headless:
            self.set_interval(TERMINAL_EVERY, self._look_at_terminal)
        self._watcher.start()
        if self._first is not None:
            self.open_project(self._first)

    def _dress(self) -> None:
        from vcd_studio.locations import config_dir, shipped_themes

        self._theme_folders = shipped_themes(), config_dir() / "themes"
        self._read_themes()
        wanted = (self.settings.theme if self.settings else "") or DEFAULT_THEME
        if wanted not in self.available_themes:
            self.theme_problems.append(f"There is no theme {wanted!r}; there are {', '.join(sorted(self.available_themes))}.")
            wanted = DEFAULT_THEME if DEFAULT_THEME in self.available_themes else "textual-dark"
        self.theme = wanted
        if self.settings and self.settings.keymap:
            self.set_keymap(self.settings.keymap)

    def _read_themes(self) -> None:
        self._theme_stamp = stamp(*self._theme_folders)
        themes, self.theme_problems = load_themes(*self._theme_folders, before=self._themes_read)
        for theme in themes:
            self.register_theme(theme)
        self.our_themes = [theme.name for theme in themes]

    def _look_at_themes(self) -> None:
        """Put a theme file on that was written meanwhile; a broken one is told, and what was on stays on."""
        if self.theme_problems and self.studio_screen is not None:
            self.complain(self.theme_problems.pop(0))
        if stamp(*self._theme_folders) != self._theme_stamp:
            self._read_themes()
            self.mutate_reactive(App.theme)

    def _look_at_terminal(self) -> None:
        """Leave when the terminal is gone and no signal said so (under nohup, or setsid): reading from nothing would take a whole core."""
        if sys.__stdin__ is not None and not sys.__stdin__.isatty():
            self.exit(return_code=1)

    def _tell(self, snapshot: Snapshot) -> None:
        """From the watching thread; nothing is told any more once the app goes."""
        if self.is_running and not self._stop.is_set():
            self.post_message(QueueChanged(snapshot))

    def on_queue_changed(self, message: QueueChanged) -> None:
        """Keep the newest snapshot, and tell the screen that is seen."""
        self.snapshot = message.snapshot
        if (screen := self.studio_screen) is not None:
            screen.tell(message.snapshot)

    @property
    def studio_screen(self) -> "StudioScreen | None":
        """The uppermost screen of ours: that of the present mode, or an editor over it; be there a modal over it or not."""
        from vcd_studio.tui.screens.base import StudioScreen

        return next((screen for screen in reversed(self.screen_stack) if isinstance(screen, StudioScreen)), None)

    def action_leave(self) -> None:
        """Leave; workers are processes of their own and go on."""
        if self.editor is None or not self.editor.leaving_loses:
            self.exit(0)
            return
        self.action_go("prompts")
        self.call_after_refresh(self.editor.save_and_leave)

    def on_unmount(self) -> None:
        """Stop looking."""
        self._stop.set()

    def on_resize(self, event: events.Resize) -> None:
        """Some terminals tell their size in pixels with a resize: then a cell's size may have changed too."""
        if event.pixel_size is not None and event.size.width and event.size.height:
            width, height = event.pixel_size.width // event.size.width, event.pixel_size.height // event.size.height
            if width and height:
                self.terminal = replace(self.terminal, cell_width=width, cell_height=height)

    # ── getting about ──

    def action_go(self, mode: str) -> None:
        """Show one of the screens."""
        if len(self.screen_stack) == 1 and mode != self.current_mode:
            self.switch_mode(mode)
        elif len(self.screen_stack) > 1 and self.screen is self.studio_screen:
            self.studio_screen.say("Escape closes this editor first.")

    def show(self, mode: str) -> None:
        """Show a screen that nobody pressed a key for; while a dialog stands over the present one, once that has closed."""
        if len(self.screen_stack) > 1:
            self._wanted = mode
            return
        self._wanted = ""
        if mode != self.current_mode:
            self.switch_mode(mode)

    def dialog_closed(self) -> None:
        """The screen has the keys again: show what was waiting for that."""
        if self._wanted:
            self.call_after_refresh(self.show, self._wanted)

    def action_command_palette(self) -> None:
        """Every action by name, unless something is open already."""
        from vcd_studio.tui.commands import Palette

        if len(self.screen_stack) == 1:
            self.push_screen(Palette(id="--command-palette"))

    def action_help(self) -> None:
        """Help for the focused thing."""
        from vcd_studio.tui.help import help_page

        if self.studio_screen is not None and self.screen is self.studio_screen:
            self.push_screen(help_page(self.studio_screen))

    def action_copy(self) -> None:
        """Copy what the screen has under its cursor."""
        if (screen := self.studio_screen) is not None and self.screen is screen:
            words = plain(screen.to_copy())  # a line break in a name must not end a command where this is pasted
            if words:
                self.copy_to_clipboard(words)
            screen.say(f"Copied: {words}" if words else "There is nothing to copy here.")

    def copy_to_clipboard(self, text: str) -> None:
        """To the terminal (OSC 52); inside tmux through tmux as well, which by itself keeps that from the terminal."""
        super().copy_to_clipboard(text)
        if os.environ.get("TMUX"):
            threading.Thread(target=copy_through_tmux, args=(text,), name="copy through tmux", daemon=True).start()

    def action_graphics(self) -> None:
        """Ask the terminal again, as after attaching tmux elsewhere, and draw all pictures anew."""
        if (screen := self.studio_screen) is None or self.screen is not screen:
            return
        try:
            with self.suspend():
                found = look()
        except SuspendNotSupported:
            screen.say("This terminal cannot be asked while the studio runs; start it again, with --graphics where that is wrong.")
            return
        if found.graphics == "kitty":
            from vcd_studio.tui.widgets.pictures.encode import ready_kitty

            ready_kitty()
        self.use_terminal(found)

    def use_terminal(self, terminal: Terminal) -> None:
        """Pictures are drawn for this terminal from now on."""
        from vcd_studio.tui.widgets.pictures.picture import Picture

        self.terminal = terminal
        for screen in self.screen_stack:
            for picture in screen.query(Picture):
                picture.reload()
        if self.studio_screen is not None:
            size = f"{terminal.cell_width} × {terminal.cell_height} pixels a cell"
            self.studio_screen.say(f"Pictures are drawn as {terminal.graphics}, {size}.")

    def action_theme(self) -> None:
        """The other theme."""
        if self.our_themes:
            at = self.our_themes.index(self.theme) + 1 if self.theme in self.our_themes else 0
            self.theme = self.our_themes[at % len(self.our_themes)]

    def get_system_commands(self, screen: Screen[Any]) -> "Iterable[SystemCommand]":
        """None of textual's own: ours are all in `commands`."""
        return ()

    # ── the open project ──

    def open_project(self, path: Path, then: str = "identity") -> None:
        """Open the project folder on a thread, then show its screen `then`, unless another screen was chosen meanwhile."""
        screen = self.studio_screen
        if screen is None:
            self.call_after_refresh(self.open_project, path, then)
            return

        def read() -> "Project":
            from vcd_studio.project.project import Project
            from vcd_studio.project.recent import remember_project

            project = Project.open(path)
            remember_project(project.path)
            project.identities()
            return project

        def show(project: "Project") -> None:
            self.use_project(project, then if self.current_mode == asked_in else "")

        asked_in = self.current_mode
        screen.attempt(read, show, group="open", exclusive=True)

    def use_project(self, project: "Project", then: str = "identity") -> None:
        """This project is the open one now."""
        self.project = project
        self.identity_name = ""
        if then and then != self.current_mode:
            self.show(then)
        elif (screen := self.studio_screen) is not None:
            screen.on_screen_resume()

    def complain(self, sentence: str, trace: str = "") -> None:
        """Show what went wrong, unless the very same complaint is on the screen already."""
        from vcd_studio.tui.screens.dialogs.dialogs import Complaint

        top = self.screen
        if not (isinstance(top, Complaint) and top.sentence == sentence):
            self.push_screen(Complaint(sentence, trace))


def _settings() -> "Settings | None":
    """The user's settings; None where there are none, for reading them costs a quarter of the time to the first paint."""
    from vcd_studio.locations import settings_path

    variables = any(name.startswith("VCD_") and name != "VCD_HOME" for name in os.environ)
    if not settings_path().exists() and not variables:
        return None
    from vcd_studio.settings import load_settings

    return load_settings()


def open_studio(project: Path | None, graphics: str | None) -> int:
    """Ask the terminal, then run the app; the exit code. Raises SettingsError for settings that cannot be read."""
    settings = _settings()
    terminal = look(graphics or (settings.graphics if settings else "auto"))
    if terminal.graphics == "kitty":
        from vcd_studio.tui.widgets.pictures.encode import ready_kitty

        ready_kitty()
    queue = Queue()
    try:
        app = StudioApp(project, terminal, queue, settings)
        code = app.run()
        return app.return_code or 0 if code is None else code
    finally:
        queue.close()
