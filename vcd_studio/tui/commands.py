"""The palette: every action of every screen by name, made from the screens' own bindings, so that none is forgotten."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from textual import on
from textual.binding import Binding
from textual.command import CommandList, CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.widgets import Input, OptionList

from vcd_studio.tui.widgets.chrome.lines import PLACES

if TYPE_CHECKING:
    from vcd_studio.tui.app import StudioApp


@dataclass(frozen=True)
class Command:
    """One named action: where it lives ("" for everywhere), what it is called, what it does and its key."""

    mode: str
    title: str
    help: str
    action: str
    key: str
    id: str


def all_commands(app: "StudioApp") -> Iterator[Command]:
    """The present screen's actions first, then those of the whole studio, then the other screens'; over an editor, its own alone."""
    top = app.studio_screen
    if len(app.screen_stack) > 1 and top is not None and top is not app.screen_stack[0]:
        yield from _commands("Mask", top.MODE, type(top))
        return
    titles = {mode: title for _, mode, title in PLACES}
    modes = sorted(titles, key=lambda mode: mode != app.current_mode)
    yield from _commands(titles[modes[0]], modes[0], _screen_class(modes[0]))
    yield from _commands("Studio", "", type(app))
    yield Command("", "Studio: change theme", "The dark theme or the light one", "theme", "", "app.theme")
    for mode in modes[1:]:
        yield from _commands(titles[mode], mode, _screen_class(mode))


def _screen_class(mode: str) -> type[Any]:
    made: type[Any] = getattr(import_module(f"vcd_studio.tui.screens.{mode}"), f"{mode.capitalize()}Screen")
    return made


def _commands(title: str, mode: str, owner: type[Any]) -> Iterator[Command]:
    for binding in owner.BINDINGS:
        if isinstance(binding, Binding) and binding.id and binding.description and binding.id != "app.palette":
            yield Command(mode, f"{title}: {binding.description.lower()}", binding.tooltip, binding.action, binding.key, binding.id)


class Palette(CommandPalette):
    """textual's own, but for moments at which it breaks: when a page is turned in a list that is empty or has no room, when it has closed
    while providers were still answering, and when something is chosen once more as it closes (textual 8.2.8; found by random use)."""

    @on(Input.Submitted)
    @on(OptionList.OptionSelected)
    def _only_once(self, event: Input.Submitted | OptionList.OptionSelected) -> None:
        if not self.is_active:
            event.stop()
            event.prevent_default()

    def _action_command_list(self, action: str) -> None:
        if any(command_list.option_count and command_list.scrollable_content_region for command_list in self.query(CommandList)):
            super()._action_command_list(action)

    def _watch__list_visible(self) -> None:
        if self.query(CommandList):
            super()._watch__list_visible()


class StudioCommands(Provider):
    """Feeds textual's command palette."""

    async def discover(self) -> Hits:
        """Everything, before a letter is typed."""
        for command in all_commands(self._studio):
            yield DiscoveryHit(command.title, partial(self._run, command), help=_help(command))

    async def search(self, query: str) -> Hits:
        """What matches the letters."""
        matcher = self.matcher(query)
        for command in all_commands(self._studio):
            score = max(matcher.match(command.title), matcher.match(f"{command.title} {command.help}") * 0.8)
            if score > 0:
                yield Hit(score, matcher.highlight(command.title), partial(self._run, command), help=_help(command))

    @property
    def _studio(self) -> "StudioApp":
        app: StudioApp = self.app  # type: ignore[assignment]
        return app

    async def _run(self, command: Command) -> None:
        """Go to the action's screen, then do it there."""
        app = self._studio
        if command.mode and command.mode != app.current_mode:
            await app.switch_mode(command.mode)
        target = app.studio_screen if command.mode else app
        await app.run_action(command.action, default_namespace=target)


def _help(command: Command) -> str:
    key = command.key.split(",")[0].replace("question_mark", "?")
    return f"{command.help} ({key})" if key else command.help
