"""A list to choose from."""

from textual.widgets import OptionList


class Options(OptionList):
    """textual's own, but that a page turned where it has no room moves nothing, instead of looking for a line that is not there."""

    def action_page_up(self) -> None:
        """A page up."""
        if self.scrollable_content_region:
            super().action_page_up()  # type: ignore[no-untyped-call]

    def action_page_down(self) -> None:
        """A page down."""
        if self.scrollable_content_region:
            super().action_page_down()  # type: ignore[no-untyped-call]
