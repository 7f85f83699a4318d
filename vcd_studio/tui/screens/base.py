"""What all screens share: the lines around them, work on threads with its complaints, and pictures kept up to date."""

import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual.app import ComposeResult
from textual.screen import Screen
from textual.worker import get_current_worker

from vcd_studio.tui.messages import FilesChanged, Snapshot
from vcd_studio.tui.widgets.chrome.lines import KeysLine, StatusLine, TopLine
from vcd_studio.tui.widgets.pictures.picture import Picture
from vcd_studio.tui.widgets.pictures.source import Source, Stamp

if TYPE_CHECKING:
    from vcd_studio.project.project import Project
    from vcd_studio.settings import DescriberSettings
    from vcd_studio.tui.app import StudioApp

T = TypeVar("T")
LOOK_EVERY = 1.0  # seconds between two looks at the files of the pictures shown


class StudioScreen(Screen[None]):
    """One of the studio's screens. Subclasses give `MODE`, `HELP`, `body()` and take part in `project_changed` and `queue_changed`."""

    MODE: ClassVar[str] = ""
    HELP: ClassVar[str] = ""
    _status: StatusLine | None = None
    DEFAULT_CSS = """
    StudioScreen > #body { height: 1fr; }
    StudioScreen.-narrow TopLine > Place { padding: 0 1 0 0; }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # the names of all screens leave a narrow one little for the project's

    @property
    def studio(self) -> "StudioApp":
        """The app, by its own type."""
        app: StudioApp = self.app  # type: ignore[assignment]
        return app

    @property
    def project(self) -> "Project | None":
        """The open project."""
        return self.studio.project

    def compose(self) -> ComposeResult:
        self._status = StatusLine()
        yield TopLine(self.MODE)
        yield from self.body()
        yield self._status
        yield KeysLine()

    def body(self) -> ComposeResult:
        """The screen's own part; its outermost widget has the id `body`."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Begin to look at the files of the pictures shown."""
        self.set_interval(LOOK_EVERY, self._look_at_files)

    def on_screen_resume(self) -> None:
        """The screen is seen (again): catch up, and draw the pictures a modal had put away."""
        for picture in self.query(Picture):
            picture.refresh()
        self.query_one(TopLine).say(self.project.name if self.project else "no project open")
        self.tell(self.studio.snapshot)
        self.project_changed()
        self.studio.dialog_closed()

    def on_screen_suspend(self) -> None:
        """Another screen lies over this one: pictures draw blanks now."""
        for picture in self.query(Picture):
            picture.refresh()

    def tell(self, snapshot: Snapshot) -> None:
        """A new snapshot, for the status line and for the screen; one that is not built yet, or goes, needs none."""
        if self.is_mounted and self._status is not None and self._status.is_attached:
            self._status.tell(snapshot)
            self.queue_changed(snapshot)

    def project_changed(self) -> None:
        """Read what this screen shows of the project again."""

    def queue_changed(self, snapshot: Snapshot) -> None:
        """Show the queue as it is now."""

    def to_copy(self) -> str:
        """What `y` copies: the path or text under the cursor."""
        return ""

    def say(self, words: str) -> None:
        """A message on the status line, until the next key; keys can come before the screen is built, and while it goes."""
        if self._status is not None and self._status.is_attached:
            self._status.say(words)

    def on_key(self) -> None:
        """A key was pressed: the message has been read."""
        self.say("")

    def attempt(
        self, work: Callable[[], T], then: Callable[[T], object] | None = None, *, group: str = "attempt", exclusive: bool = False
    ) -> None:
        """Do `work` on a thread, then `then` with its result on the UI thread; what it complains of is shown."""
        self.run_worker(lambda: self._attempt(work, then), thread=True, group=group, exclusive=exclusive, exit_on_error=False)

    def _attempt(self, work: Callable[[], T], then: Callable[[T], object] | None) -> None:
        worker = get_current_worker()
        try:
            result = work()
        except Exception as error:  # every failure ends as a sentence on the screen, with its traceback one key away
            sentence, trace = str(error) or type(error).__name__, traceback.format_exc()
            if not worker.is_cancelled and self.app.is_running:
                self.app.call_from_thread(self.studio.complain, sentence, trace)
            return
        if then is not None and not worker.is_cancelled and self.is_attached and self.app.is_running:
            self.app.call_from_thread(then, result)

    @property
    def describer(self) -> "DescriberSettings | None":
        """The describer's settings; None, with a complaint that says how to switch it on, where it is off."""
        settings = self.studio.settings
        if settings is not None and settings.describer.url:
            return settings.describer
        from vcd_studio.describer.client import DescriberOff

        self.studio.complain(str(DescriberOff()))
        return None

    def enqueued(self, words: str, devices: Iterable[str | None] = (None,)) -> None:
        """Say what was put into the queue, and see to it that a worker is there for it; `devices`: those that must do it, None for any."""
        self.say(words)
        usual = self.studio.settings.device if self.studio.settings else "auto"
        wanted = {device or usual for device in devices}
        self.attempt(lambda: [self.studio.queue.workers.ensure_running(device) for device in wanted], group="worker")

    def _look_at_files(self) -> None:
        if not self.is_active or self.studio.terminal.graphics == "off":
            return
        shown = {id(picture): (picture.source, picture.stamp) for picture in self.query(Picture) if picture.source and picture.ready}
        if shown:
            self.run_worker(lambda: self._compare(shown), thread=True, group="look", exclusive=True, exit_on_error=False)

    def _compare(self, shown: dict[int, tuple[Source, Stamp]]) -> None:
        """On a thread: which of these files are not what was drawn?"""
        stale = frozenset(key for key, (source, stamp) in shown.items() if source.stamp() != stamp)
        if stale:
            self.post_message(FilesChanged(stale))

    def on_files_changed(self, message: FilesChanged) -> None:
        """Draw rewritten files again."""
        for picture in self.query(Picture):
            if id(picture) in message.stale:
                picture.reload()

    def help_parts(self) -> Iterator[str]:
        """The help of the focused thing and of what holds it, nearest first."""
        node = self.focused or self
        for ancestor in node.ancestors_with_self:
            words = getattr(ancestor, "HELP", None)
            if isinstance(words, str) and words:
                yield words
