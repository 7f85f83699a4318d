"""Weights that lie on this machine, to choose those of a new pack from."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import SelectionList, Static
from textual.widgets.selection_list import Selection

from vcd_studio.project.text import plain
from vcd_studio.tui.screens.dialogs.dialogs import BOX_CSS
from vcd_studio.tui.screens.dialogs.modal import Modal

if TYPE_CHECKING:
    from vcd_studio.catalog.discovery import Found

WHAT_WIDTH = 28


class ChooseWeights(Modal[list[Path] | None]):
    """Space marks a file, Enter takes the marked ones; at most one of a part makes a pack, which the making checks."""

    DEFAULT_CSS = (
        BOX_CSS.format(name="ChooseWeights")
        + """
    ChooseWeights > #box { width: 120; }
    ChooseWeights SelectionList { height: auto; max-height: 16; border: none; background: $surface; padding: 0; }
    ChooseWeights SelectionList:focus { border: none; }
    ChooseWeights SelectionList { text-wrap: nowrap; text-overflow: ellipsis; }
    """
    )
    HELP = "What lies on this machine, told by its keys. Space marks what the pack shall be made of, Enter goes on, Escape gives up."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "give_up", "Give up", id="choose_weights.give_up", tooltip="Make no pack"),
        Binding("enter", "take", "Go on", id="choose_weights.take", tooltip="Make a pack of the marked files", priority=True),
    ]

    def __init__(self, found: "list[Found]") -> None:
        super().__init__()
        self.found = sorted(found, key=lambda one: (one.what.part if one.what else "", one.path))

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as box:
            box.border_title = Text("Weights on this machine").markup
            yield SelectionList[int](*(Selection(_line(one), at) for at, one in enumerate(self.found)))
            yield Static("A checkpoint and a motion module at least.", markup=False, id="problem")
            yield Static("Space marks · Enter goes on · Esc gives up", markup=False, classes="keys")

    def action_take(self) -> None:
        """The marked files; none is too few."""
        chosen = [self.found[at].path for at in sorted(self.query_one(SelectionList).selected)]
        if chosen:
            self.dismiss(chosen)
        else:
            self.query_one("#problem", Static).update("Nothing is marked: Space marks the file under the cursor.")

    def action_give_up(self) -> None:
        """Make no pack."""
        self.dismiss(None)


def _line(one: "Found") -> Text:
    line = Text(no_wrap=True)
    line.append(f"{plain(one.what.title if one.what else ''):<{WHAT_WIDTH}} ", "bold")
    return line.append(f"{one.size / 1e9:6.2f} GB  {plain(str(one.path))}")
