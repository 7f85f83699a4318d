"""What every dialog is: a screen over another, which is left once."""

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, ScreenResultType


class Modal(ModalScreen[ScreenResultType]):
    """textual's own pops whatever screen is on top when one that has gone is left once more, as a second Enter does."""

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Leave with a result; nothing where it has been left already, or another dialog stands over it."""
        return super().dismiss(result) if self.is_active else AwaitComplete()
