"""Small questions and answers over a screen: a complaint, a yes or no, a page of text. All close with Escape."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from vcd_studio.project.text import plain
from vcd_studio.tui.screens.dialogs.modal import Modal

BOX_CSS = """
{name} {{ align: center middle; background: $background 60%; }}
{name} > #box {{ width: 72; max-width: 100%; height: auto; max-height: 100%; background: $surface; border: round $primary; padding: 1 2; }}
{name} .keys {{ color: $text-muted; margin-top: 1; height: auto; }}
"""


class Complaint(Modal[None]):
    """What went wrong, in one sentence; `t` shows the traceback where there is one."""

    DEFAULT_CSS = (
        BOX_CSS.format(name="Complaint")
        + """
    Complaint > #box { border: round $error; }
    Complaint #trace { height: auto; max-height: 12; display: none; margin-top: 1; color: $text-muted; }
    Complaint #trace.-shown { display: block; }
    """
    )
    HELP = "Something could not be done; nothing was lost. Enter or Escape closes this."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,space", "close", "Close", id="complaint.close", tooltip="Close this message"),
        Binding("t", "trace", "Traceback", id="complaint.trace", tooltip="Show or hide the traceback"),
        Binding("y", "copy", "Copy", id="complaint.copy", tooltip="Copy the message and its traceback (OSC 52, works over SSH)"),
    ]

    def __init__(self, sentence: str, trace: str = "") -> None:
        super().__init__()
        self.sentence, self.trace = sentence, trace

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(Text(plain(self.sentence)), markup=False, id="sentence")
            with VerticalScroll(id="trace"):
                yield Static(Text("\n".join(plain(line) for line in self.trace.splitlines())), markup=False)
            yield Static("Enter closes · y copies" + (" · t traceback" if self.trace else ""), markup=False, classes="keys")

    def action_close(self) -> None:
        """Back to the screen below."""
        self.dismiss()

    def action_copy(self) -> None:
        """Copy the message, its cause below it."""
        self.app.copy_to_clipboard(plain(f"{self.sentence}\n\n{self.trace}".strip(), lines=True))

    def action_trace(self) -> None:
        """Show or hide the traceback."""
        if self.trace:
            self.query_one("#trace").toggle_class("-shown")


class Confirm(Modal[bool]):
    """A question with its figures; `y` or Enter says yes, `n` or Escape no."""

    DEFAULT_CSS = BOX_CSS.format(name="Confirm")
    HELP = "A question: y or Enter says yes, n or Escape says no and changes nothing."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "answer(True)", "Yes", id="confirm.yes", tooltip="Yes, do it"),
        Binding("n,escape", "answer(False)", "No", id="confirm.no", tooltip="No, change nothing"),
    ]

    def __init__(self, question: str, lines: list[str] | None = None, yes: str = "Yes") -> None:
        super().__init__()
        self.question, self.lines, self.yes = question, lines or [], yes

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(Text(plain(self.question), "bold"), markup=False)
            yield Static(Text("\n".join(plain(line) for line in self.lines)), markup=False)
            yield Static(f"y {self.yes} · n No", markup=False, classes="keys")

    def action_answer(self, yes: bool) -> None:
        """Close with the answer."""
        self.dismiss(yes)


class Page(Modal[None]):
    """A page of text to read: help, a recipe, a sidecar."""

    DEFAULT_CSS = (
        BOX_CSS.format(name="Page")
        + """
    Page > #box { width: 78; padding: 0 1; }
    Page #text { height: auto; max-height: 100h; }
    """
    )
    HELP = "A page to read. The arrow keys scroll, Escape closes."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q,question_mark,i", "close", "Close", id="page.close", tooltip="Close this page"),
        Binding("y", "copy", "Copy", id="page.copy", tooltip="Copy the page to the clipboard (OSC 52, works over SSH)"),
    ]

    def __init__(self, title: str, text: Text) -> None:
        super().__init__()
        self.page_title, self.text = title, text

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="box") as box:
            box.border_title = Text(plain(self.page_title)).markup
            box.border_subtitle = "Esc closes · y copies"
            yield Static(self.text, markup=False, id="text")

    def on_mount(self) -> None:
        """The arrow keys scroll."""
        self.query_one("#box").focus()

    def action_close(self) -> None:
        """Back to the screen below."""
        self.dismiss()

    def action_copy(self) -> None:
        """Copy the text."""
        self.app.copy_to_clipboard(self.text.plain)
