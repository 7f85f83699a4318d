"""The graphics cards: how full, how busy and how warm each is, and who else is on it."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from rich.text import Text
from textual.widgets import Static

from vcd_studio.project.text import plain
from vcd_studio.tui.widgets.chrome.bars import bar

if TYPE_CHECKING:
    from vcd_studio.devices import Card, Memory, Reading

BAR = 10
GIB = 2**30
NEARLY_FULL = 0.9


class DeviceMeter(Static):
    """A line for each card; not there at all before the first reading that has one."""

    DEFAULT_CSS = """
    DeviceMeter { display: none; height: auto; max-height: 8; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    DeviceMeter.-there { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(markup=False)

    def show(self, reading: "Reading", ours: Collection[int]) -> None:
        """The cards as they were read; `ours`: the pids of living workers, which are no strangers."""
        self.set_class(bool(reading.cards), "-there")
        colours = self.app.theme_variables
        lines = [line(card, ours, colours.get("accent", ""), colours.get("warning", "")) for card in reading.cards]
        self.update(Text("\n", no_wrap=True, overflow="ellipsis").join(lines))


def line(card: "Card", ours: Collection[int], colour: str = "", warning: str = "") -> Text:
    """`0 H100 ━━━╸── 23.5 of 80.0 GiB  97 %  61 °C  · also pid 77 game 512 MiB`, as much of it as is told."""
    text = Text(f"{card.index} {plain(card.name)} ", no_wrap=True, overflow="ellipsis")
    if card.problem:
        return text.append(f"cannot be read: {plain(card.problem)}", warning)
    for memory in [part.memory for part in card.slices] if card.mig else [card.memory]:
        if memory is not None:
            text.append_text(_memory(memory, colour, warning)).append("  ")
    if card.load is not None:
        text.append(f"{card.load} %  ")
    if card.temperature is not None:
        text.append(f"{card.temperature} °C  ")
    foreign = card.foreign(ours)
    if foreign:
        text.append(f"· also {', '.join(plain(str(process)) for process in foreign)}", warning)
    text.rstrip()
    return text


def _memory(memory: "Memory", colour: str, warning: str) -> Text:
    used = memory.total - memory.free
    share = used / memory.total if memory.total else 0.0
    return bar(share, BAR, warning if share > NEARLY_FULL else colour).append(f" {used / GIB:.1f} of {memory.total / GIB:.1f} GiB")
