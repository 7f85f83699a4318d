"""Help belongs to the focused thing: what it is, and every key that works now with what it does."""

from typing import TYPE_CHECKING

from rich.text import Text

from vcd_studio.tui.screens.dialogs.dialogs import Page

if TYPE_CHECKING:
    from vcd_studio.tui.screens.base import StudioScreen

KEY_WIDTH = 14
LINE_WIDTH = 68  # of keys, words and name together, on a screen of 80 columns


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
        groups.setdefault(place, []).append((keys, binding.tooltip or binding.description, binding.id or ""))
    for place, rows in groups.items():
        text.append(f"{place}\n", "bold")
        for keys, words, name in rows:
            text.append(f"  {keys:<{KEY_WIDTH}}", "bold")
            fits = KEY_WIDTH + len(words) + len(name) < LINE_WIDTH
            text.append(words).append(f"  {name}\n" if fits else f"\n  {'':<{KEY_WIDTH}}{name}\n", "dim")
        text.append("\n")
    text.append("Keys can be changed in settings.toml: below [keymap], the dim name of an action and its new key, as in\n", "dim")
    text.append('  "app.queue" = "f4"', "dim")
    return Page("Help", text)


def _keys(screen: "StudioScreen", action: str) -> str:
    """All keys of one action, as they are shown."""
    keys = [screen.app.get_key_display(active.binding) for active in screen.active_bindings.values() if active.binding.action == action]
    return " ".join(dict.fromkeys(keys))
