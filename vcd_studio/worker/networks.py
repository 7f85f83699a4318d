"""The networks in memory: loaded once, kept for the next job that wants the same, let go of before others are loaded."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vcd_studio.catalog.packs import find_pack, hashes
from vcd_studio.locations import packs_dir
from vcd_studio.project.errors import InputError

if TYPE_CHECKING:
    from vcd_studio.method.preview import LatentPreview
    from vcd_studio.method.protocols import Networks

Log = Callable[[str], None]


class NetworkKeeper:
    """One device's networks: at most one pack at a time, on the CPU always in 32 bits."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._key: tuple[str, bool] | None = None
        self._networks: Networks | None = None
        self._preview: LatentPreview | None = None
        self._hashes: dict[str, dict[str, str]] = {}

    def get(self, pack: str, log: Log, *, precise: bool = False) -> Networks:
        """The pack's networks. ``precise`` wants 32 bits on a card too (learning). MethodError when it is not there."""
        key = (pack, precise or self.device == "cpu")
        if self._networks is not None and self._key == key:
            return self._networks
        import torch

        from vcd_studio.models import load_pack

        self.release()
        log(f"loading the pack {pack}")
        set_up_device(self.device)
        self._networks = load_pack(pack, self.device, torch.float32 if key[1] else torch.float16, packs_dir())
        self._key = key
        return self._networks

    def preview(self) -> LatentPreview:
        """Latents to small pictures, fitted once per loaded pack."""
        from vcd_studio.method.preview import LatentPreview

        if self._networks is None:
            raise RuntimeError("no pack is loaded")
        if self._preview is None:
            self._preview = LatentPreview(self._networks)
        return self._preview

    def hashes(self, pack: str) -> dict[str, str]:
        """SHA-256 of every file of the pack, read once per worker."""
        if pack not in self._hashes:
            self._hashes[pack] = hashes(find_pack(pack, packs_dir()))
        return self._hashes[pack]

    def release(self) -> None:
        """Give the memory back."""
        if self._networks is None:
            return
        self._networks = self._preview = self._key = None
        gc.collect()
        if self.device != "cpu":
            import torch

            torch.cuda.empty_cache()

    def after_failure(self, error: Exception) -> None:
        """Networks that ran out of memory, or broke in an unknown way, are not used again."""
        if not isinstance(error, InputError):
            error.__traceback__ = None  # its frames hold tensors
            self.release()


def set_up_device(device: str) -> None:
    """One thread per physical core on the CPU (unless OMP_NUM_THREADS says otherwise). InputError for a card that torch does not see."""
    import torch

    if device == "cpu":
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(physical_cores())
        return
    if not torch.cuda.is_available():
        raise InputError(f"torch sees no NVIDIA card, so {device} cannot be used; start the worker with --device cpu.")
    try:
        torch.cuda.set_device(torch.device(device))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise InputError(f"There is no device {device} here (torch sees {torch.cuda.device_count()} cards).") from error


def physical_cores(cpuinfo: Path = Path("/proc/cpuinfo")) -> int:
    """Cores without their second threads, and no more than this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        blocks = cpuinfo.read_text(encoding="ascii", errors="replace").split("\n\n")
    except OSError:
        return allowed
    cores = set()
    for block in blocks:
        fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
        if "core id" in fields:
            cores.add((fields.get("physical id", "0"), fields["core id"]))
    return min(len(cores), allowed) if cores else allowed
