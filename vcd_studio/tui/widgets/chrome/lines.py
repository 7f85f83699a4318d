"""The lines around every screen: where one is (top), how things stand (status), and what the focused thing's keys are (keys)."""

from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from vcd_studio.project.text import plain
from vcd_studio.tui.messages import Snapshot

if TYPE_CHECKING:
    from vcd_studio.tui.app import StudioApp

SAID_FOR = 15.0  # seconds that a message stands in place of the state, unless a key is pressed before

PLACES = (
    ("1", "projects", "Projects"),
    ("2", "identity", "Identity"),
    ("3", "prompts", "Prompts"),
    ("4", "queue", "Queue"),
    ("5", "clips", "Clips"),
    ("6", "models", "Models"),
    ("7", "doctor", "Doctor"),
)
"""The key of each screen, its mode and its name."""


class Place(Static):
    """One name of the top line; a click goes there."""

    ALLOW_SELECT = False

    def __init__(self, mode: str, label: str, here: bool) -> None:
        super().__init__(label, markup=False, classes="-here" if here else "")
        self.mode = mode

    async def on_click(self) -> None:
        """Go to that screen."""
        await self.app.run_action(f"go('{self.mode}')")


class TopLine(Horizontal):
    """`1 Projects  2 Identity …` and the open project's name."""

    DEFAULT_CSS = """
    TopLine { height: 1; background: $panel; }
    TopLine > Place { width: auto; padding: 0 1; color: $text-muted; }
    TopLine > Place.-here { background: $primary; color: $background; text-style: bold; }
    TopLine > #where { width: 1fr; text-align: right; padding: 0 1; color: $text; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def compose(self) -> ComposeResult:
        for key, mode, title in PLACES:
            yield Place(mode, f"{key} {title}", mode == self.mode)
        yield Static(markup=False, id="where")

    def say(self, project: str) -> None:
        """The open project's name, right."""
        self.query_one("#where", Static).update(Text(plain(project), no_wrap=True, overflow="ellipsis", justify="right"))


class StatusLine(Static):
    """Device, worker and queue, or for a while the last message."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    StatusLine { height: 1; background: $panel; color: $text; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._state: Text = Text("…")
        self._words = ""
        self._timer: Timer | None = None

    def tell(self, snapshot: Snapshot) -> None:
        """Show how the queue and the workers stand."""
        self._state = describe(snapshot)
        self._draw()

    def say(self, words: str) -> None:
        """A message, in place of the state, until the next one, until `say("")`, or for a while."""
        if not words and not self._words:
            return
        self._words = words
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(SAID_FOR, lambda: self.say("")) if words else None
        self._draw()

    def _draw(self) -> None:
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append_text(Text(plain(self._words), "bold") if self._words else self._state)
        self.update(line, layout=False)  # one line, whatever it says: laying the screen out again would cost every key


def describe(snapshot: Snapshot) -> Text:
    """`cpu running │ 1 running, 2 queued, ETA 4:10 │ t2v 14/25 · a dog in the snow`, as much of it as there is."""
    if snapshot.error:
        return Text(plain(snapshot.error), "bold")
    parts = [f"{worker.device} {worker.state}" for worker in snapshot.workers] or ["no worker"]
    states = Counter(job.state for job in snapshot.jobs)
    queued, failed, running = states["queued"], states["failed"] + states["set-aside"], snapshot.running()
    counts = [f"{count} {word}" for count, word in ((len(running), "running"), (queued, "queued"), (failed, "failed")) if count]
    if snapshot.left is not None and (running or queued):
        counts.append(snapshot.left.words())
    text = Text(", ".join(parts) + " │ " + (", ".join(counts) or "queue empty"))
    for job in running[:1]:
        stage = next((stage for stage in snapshot.stages.get(job.id, ()) if stage.state == "running"), None)
        step = f"{stage.name} {stage.step}/{stage.steps} · " if stage else ""  # before the title, which may be cut
        text.append(f" │ {step}{plain(job.title)}")
    return text


class KeysLine(Widget):
    """The keys that work now, the focused thing's first."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "KeysLine { height: 1; background: $surface; color: $text-muted; padding: 0 1; }"

    def on_mount(self) -> None:
        """Follow the focus."""
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.refresh())

    def keys(self) -> list[tuple[str, str]]:
        """(key as shown, what it does), in the order of nearness to the focus."""
        app: StudioApp = self.app  # type: ignore[assignment]
        shown: dict[str, tuple[str, str]] = {}
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if binding.show and binding.description and active.enabled:
                shown.setdefault(binding.action, (app.get_key_display(binding), binding.description))
        return list(shown.values())

    def render(self) -> Text:
        """As many keys as fit; help and palette always do."""
        accent = self.app.theme_variables.get("footer-key-foreground", "")
        tail = Text.assemble(("?", f"bold {accent}"), " help ", ("^p", f"bold {accent}"), " all ", ("q", f"bold {accent}"), " leave")
        line = Text(no_wrap=True, overflow="crop")
        for key, words in self.keys():
            if words in ("Help", "All actions", "Leave"):
                continue
            entry = Text.assemble((key, f"bold {accent}"), f" {words}  ")
            if line.cell_len + entry.cell_len + tail.cell_len > self.size.width - 2:
                break
            line.append_text(entry)
        line.append(" " * max(0, self.size.width - 2 - line.cell_len - tail.cell_len))
        return line + tail
