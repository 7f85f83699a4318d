"""The boxes that grounding found in one photo: a cursor over them, and marks on those that a mask shall be made of."""

from typing import TYPE_CHECKING

from rich.text import Text

from vcd_studio.project.text import plain
from vcd_studio.tui.widgets.pictures.source import ShownBox

if TYPE_CHECKING:
    from vcd_studio.project.found_boxes import FoundBoxes

TAKEN, MARKED, OTHER = (90, 220, 120), (0, 230, 255), (255, 210, 0)


class BoxPicking:
    """`cursor` is the box that keys are about, None before the first was gone to; `marked` are the boxes marked."""

    def __init__(self) -> None:
        self.cursor: int | None = None
        self.marked: set[int] = set()

    def forget(self) -> None:
        """Another photo: nothing is picked of it yet."""
        self.cursor, self.marked = None, set()

    def next(self, found: "FoundBoxes") -> None:
        """The next box, round and round."""
        self.cursor = 0 if self.cursor is None else (self.cursor + 1) % len(found.box)

    def mark(self) -> None:
        """This box is one of those that the mask will be made of, or is no longer."""
        if self.cursor is not None:
            self.marked ^= {self.cursor}

    @property
    def picked(self) -> list[int]:
        """The marked boxes, or the one under the cursor."""
        return sorted(self.marked) or ([self.cursor] if self.cursor is not None else [])

    def shown(self, found: "FoundBoxes | None") -> tuple[ShownBox, ...]:
        """The boxes as they are drawn over the photo, the one under the cursor last."""
        shown = []
        for at, box in enumerate(found.box if found is not None else ()):
            colour = MARKED if at in self.marked else TAKEN if found is not None and at in found.chosen else OTHER
            words = f"{at + 1}  {box.score:.2f}"
            shown.append(ShownBox(box.left, box.top, box.right, box.bottom, words, colour, strong=at == self.cursor))
        return tuple(sorted(shown, key=lambda box: box.strong))

    def words(self, found: "FoundBoxes") -> Text:
        """The boxes with their scores, then the warnings, each on a line of its own."""
        words = Text("\n").append("boxes", "dim")
        for at, box in enumerate(found.box):
            mark = "+" if at in self.marked else "✓" if at in found.chosen else " "
            words.append(f" {mark}{at + 1} {plain(box.label)} {box.score:.2f}", "reverse" if at == self.cursor else "")
        if self.cursor is not None:
            words.append(" · Space marks, B makes the mask", "dim")
        elif len(found.box) > 1:
            words.append(" · b", "dim")
        for warning in found.warnings:
            words.append(f"\n! {plain(warning)}")
        return words
