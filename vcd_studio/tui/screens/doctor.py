"""Doctor: what this machine lacks for the studio to work well, with the remedy on a key."""

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import get_current_worker

from vcd_studio.project.text import plain
from vcd_studio.tui.screens.base import StudioScreen
from vcd_studio.tui.screens.dialogs.dialogs import Page
from vcd_studio.tui.widgets.chrome.options import Options

if TYPE_CHECKING:
    from vcd_studio.doctor.finding import Finding
    from vcd_studio.doctor.terminal import TerminalReading

MARKS = {"ok": ("✓", "success"), "warning": ("!", "warning"), "fix": ("✗", "error")}
"""The mark of each state, and the theme's colour for it."""
NAME_WIDTH = 18


class DoctorScreen(StudioScreen):
    """The findings, each as soon as it is known; the one under the cursor in full below."""

    MODE = "doctor"
    HELP = """What on this machine keeps the studio from working well. ✓ is in order, ! works worse than it could, ✗ must be mended first.
Enter shows all of a finding, y copies its remedy (over SSH too), r looks again."""
    DEFAULT_CSS = """
    DoctorScreen #body { layout: vertical; }
    DoctorScreen OptionList { height: 1fr; border: none; background: $background; padding: 0; }
    DoctorScreen OptionList { text-wrap: nowrap; text-overflow: ellipsis; scrollbar-gutter: stable; }
    DoctorScreen OptionList:focus { border: none; }
    DoctorScreen #title { height: 1; background: $surface; padding: 0 1; text-style: bold; }
    DoctorScreen #finding { height: 6; background: $surface; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "again", "Look again", id="doctor.again", tooltip="Run all checks again"),
        Binding("y", "copy", "Copy remedy", id="doctor.copy", tooltip="Copy the remedy to the clipboard (OSC 52, works over SSH)"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.findings: list[Finding] = []
        self.awaited = ""  # the check that is being made; "" when all are done

    def body(self) -> ComposeResult:
        with Vertical(id="body"):
            yield Options(id="list", markup=False)
            yield Static(markup=False, id="title")
            yield Static(markup=False, id="finding")

    def on_mount(self) -> None:
        """The list has the keys, and the checks begin."""
        super().on_mount()
        self.query_one(OptionList).focus()
        self.action_again()

    # ── looking ──

    def action_again(self) -> None:
        """Run all checks again; those that are still under way are given up."""
        project = self.project.path if self.project else None
        size = self.app.size

        def terminal() -> "TerminalReading":
            from vcd_studio.doctor.terminal import read_terminal

            return read_terminal(self.studio.terminal, size.width, size.height)

        def look() -> None:
            from vcd_studio.doctor.checks import checks

            worker = get_current_worker()

            def tell(found: "list[Finding]", awaited: str) -> None:
                if not worker.is_cancelled and self.app.is_running:
                    self.app.call_from_thread(self._found, found, awaited)

            for check in checks(terminal, project, lambda: worker.is_cancelled):
                if worker.is_cancelled:
                    return
                tell([], check.name)
                tell(check.findings(), check.name)
            tell([], "")

        self.findings = []
        self.query_one(OptionList).clear_options()
        self.attempt(look, group="doctor", exclusive=True)

    def _found(self, found: "list[Finding]", awaited: str) -> None:
        """More lines, and which check comes next."""
        options = self.query_one(OptionList)
        for finding in found:
            options.add_option(Option(self._line(finding), id=str(len(self.findings))))
            self.findings.append(finding)
        if options.highlighted is None and self.findings:
            options.highlighted = 0
        self.awaited = awaited
        self.query_one("#title", Static).update(self._summary())

    def _line(self, finding: "Finding") -> Text:
        mark, colour = MARKS[finding.state]
        line = Text()
        line.append(f"{mark} ", f"bold {self.app.theme_variables.get(colour, '')}")
        line.append(f"{plain(finding.check):<{NAME_WIDTH}} ", "bold")
        return line.append(plain(finding.found))

    def _summary(self) -> str:
        counts = [
            f"{count} {words}"
            for state, words in (("fix", "to be mended"), ("warning", "could be better"), ("ok", "in order"))
            if (count := sum(finding.state == state for finding in self.findings))
        ]
        return ", ".join([*counts, *([f"looking at {self.awaited} …"] if self.awaited else [])])

    # ── the finding under the cursor ──

    @property
    def current(self) -> "Finding | None":
        """The finding under the cursor."""
        at = self.query_one(OptionList).highlighted
        return self.findings[at] if at is not None and at < len(self.findings) else None

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """In full below."""
        finding = self.current
        self.query_one("#finding", Static).update(_whole(finding) if finding else "")
        self.refresh_bindings()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """All of it, on a page that scrolls and can be copied."""
        finding = self.current
        if finding is not None:
            self.app.push_screen(Page(f"{finding.check}: {finding.state}", _whole(finding)))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is something to copy only where there is a remedy."""
        if action == "copy":
            return bool(self.query(OptionList)) and self.current is not None and bool(self.current.remedy)
        return True

    def action_copy(self) -> None:
        """The remedy to the clipboard."""
        finding = self.current
        if finding is not None and finding.remedy:
            self.app.copy_to_clipboard(plain(finding.remedy))  # a line break in a name must not end a command where this is pasted
            self.say("The remedy is in the clipboard, if your terminal lets programs write there.")


def _whole(finding: "Finding") -> Text:
    text = Text(plain(finding.found))
    if finding.remedy:
        text.append("\n→ ", "bold").append(plain(finding.remedy), "bold")
    return text
