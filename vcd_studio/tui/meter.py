"""Reading the graphics cards from a thread, once a second, so that no screen ever waits for a driver."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vcd_studio.devices import Reading

EVERY = 1.0  # seconds between two readings


def read_on(tell: "Callable[[Reading], object]", stop: threading.Event, nvml: Any = None) -> None:
    """Until `stop` is set: tell every reading. Ends at once, and tells nothing, where there is no driver or no card."""
    from vcd_studio.devices import management, read_cards

    if not read_cards(nvml).cards:
        return
    with management(nvml) as held:
        while not stop.is_set():
            tell(read_cards(held))
            stop.wait(EVERY)
