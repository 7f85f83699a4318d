"""Let the describer draft prompts: asks for whom and how many, and ends with the list's text, the drafts at its end."""

from typing import TYPE_CHECKING

from textual.worker import get_current_worker

from vcd_studio.project.errors import InputError
from vcd_studio.project.text import quoted
from vcd_studio.tui.screens.dialogs.form import Field, Form, Values
from vcd_studio.tui.widgets.prompts.reading import with_prompts

if TYPE_CHECKING:
    from vcd_studio.project.project import Project
    from vcd_studio.settings import DescriberSettings

MOST = 100
NOTE = "Places, actions and outfits for a subject, written by the describer. They go to the end of the text, unsaved."


class DraftPrompts(Form):
    """Nothing is written: `text`, the list as it stands in the editor, comes back with what was drafted."""

    HELP = "Prompts by the describer. ← → choose the identity, Enter in the last line asks, Escape gives up."

    def __init__(self, project: "Project", describer: "DescriberSettings", text: str, names: list[str], chosen: str) -> None:
        fields = [Field("identity", "For whom or what", chosen, choices=tuple(names)), Field("count", "How many", "25")]
        super().__init__("Draft prompts", fields, self._draft, "asks the describer", NOTE)
        self.project, self.describer, self.text = project, describer, text

    def _draft(self, values: Values) -> str:
        """On a thread: ask. InputError or DescriberError leaves the form open with what is wrong."""
        from vcd_studio.describer.questions import draft_prompts

        name, worker = self.project.prompts_path.name, get_current_worker()
        with_prompts(self.text, name, [])  # a text that nothing can be added to is told before anybody is asked
        count = _count(values["count"])
        identity = self.project.identity(values["identity"])
        return with_prompts(self.text, name, draft_prompts(self.describer, identity, count, lambda: worker.is_cancelled))


def _count(text: str) -> int:
    """How many prompts are wanted; InputError for what is no number from 1 to `MOST`."""
    if not (text.isdecimal() and len(text) < 4 and 1 <= int(text) <= MOST):
        raise InputError(f"{quoted(text)} is no number of prompts; write one from 1 to {MOST}.")
    return int(text)
