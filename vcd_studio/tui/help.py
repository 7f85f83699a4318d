"""Help belongs to the focused thing: what it is, and every key that works now with what it does."""

from typing import TYPE_CHECKING

from rich.text import Text

from vcd_studio.tui.screens.dialogs.dialogs import Page

if TYPE_CHECKING:
    from vcd_studio.tui.screens.base import StudioScreen

KEY_WIDTH = 14


def help_page(screen: "StudioScreen") -> Page:
    """The page that `?` shows."""
    text = Text()
    for words in screen.help_parts():
        text.append(words + "\n\n")
    seen: set[tuple[str, str]] = set()
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        if not binding.description or (binding.action, binding.description) in seen or not (binding.id or binding.tooltip):
            continue
        seen.add((binding.action, binding.description))
        keys = _keys(screen, binding.action)
        place = "Everywhere" if active.node is screen.app else "Here"
        groups.setdefault(place, []).append((keys, binding.description, binding.tooltip))
    for place, rows in groups.items():
        text.append(f"{place}\n", "bold")
        for keys, description, tooltip in rows:
            text.append(f"  {keys:<{KEY_WIDTH}}", "bold")
            text.append(f"{tooltip or description}\n")
        text.append("\n")
    text.append("Keys can be changed in settings.toml: [keymap], an action's id and its new key.", "dim")
    return Page("Help", text)


def _keys(screen: "StudioScreen", action: str) -> str:
    """All keys of one action, as they are shown."""
    keys = [screen.app.get_key_display(active.binding) for active in screen.active_bindings.values() if active.binding.action == action]
    return " ".join(dict.fromkeys(keys))
