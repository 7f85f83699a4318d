"""How much memory a process has taken at most: of the machine's, or of its card's."""

from __future__ import annotations

import gc
from pathlib import Path

import torch

from vcd_studio.worker.networks import give_back_freed_memory

STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak:
    """This process's, on ``device``, from ``begin`` on."""

    def __init__(self, device: str) -> None:
        self._card = None if device == "cpu" else torch.device(device)
        self.begin()

    def begin(self) -> None:
        """Forget what was before; memory that is kept but not in use goes back first, so that it hides nothing."""
        gc.collect()
        if self._card is not None:
            torch.cuda.reset_peak_memory_stats(self._card)
            self._held = torch.cuda.memory_allocated(self._card)
            return
        give_back_freed_memory()
        REFERENCES.write_text("5", encoding="ascii")  # proc(5): the highest resident size becomes the present one
        self._held = _resident("VmRSS")

    @property
    def held(self) -> int:
        """Bytes in use when it began."""
        return self._held

    @property
    def most(self) -> int:
        """Bytes in use at most since then."""
        return torch.cuda.max_memory_allocated(self._card) if self._card is not None else _resident("VmHWM")


def measurable(device: str) -> bool:
    """Whether this system tells: on the CPU, Linux alone."""
    return device != "cpu" or REFERENCES.exists()


def _resident(field: str) -> int:
    """Bytes, from a field of /proc/self/status."""
    line = next(line for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024
