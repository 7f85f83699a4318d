"""The networks in memory: loaded once, kept for the next job that wants the same, let go of before others are loaded."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from vcd_studio.catalog.digests import hashes
from vcd_studio.catalog.packs import find_pack
from vcd_studio.locations import cache_dir, packs_dir
from vcd_studio.project.errors import InputError
from vcd_studio.worker.ladder import Relief

if TYPE_CHECKING:
    import torch

    from vcd_studio.method.preview import LatentPreview
    from vcd_studio.method.protocols import Networks
    from vcd_studio.models.memory import Placement

Log = Callable[[str], None]


PRECISIONS = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}
USUAL_CLIP = (16, 64, 64)
"""Frames of a context window and latent cells that the place for denoising is reckoned for: 512² at SD 1.5's size."""
LOADING = 1.25
"""Times its weights that a pack takes of the machine's memory while it is loaded: 4.6 GB were measured for 3.8 GB of weights."""


class NetworkKeeper:
    """One device's networks: at most one pack at a time; ``precision`` as in the user's settings."""

    def __init__(self, device: str, precision: str = "auto") -> None:
        self.device = device
        self.precision = precision
        self.relief = Relief()
        """What the job in hand has given up so far, so as to need less memory."""
        self._key: tuple[object, ...] | None = None
        self._networks: Networks | None = None
        self._preview: LatentPreview | None = None
        self._hashes: dict[str, dict[str, str]] = {}

    def get(self, pack: str, log: Log, *, precise: bool = False, frozen: bool = False, wearing: bool = False) -> Networks:
        """The pack's networks. ``precise``: in 32 bits on a card too; ``frozen``: something learns through them, but not they; ``wearing``:
        a clip's weights will be put on them.

        MethodError when they are not there, or find no room.
        """
        precision = PRECISIONS["fp32" if precise else self.for_learning if frozen else self.for_clips]
        changed = precise or frozen or wearing
        coarse = frozen and precision != "float32"  # then the text encoder is made fine for learning, and no clip is to be made with that
        key = (pack, precision, coarse, self.relief.in_turn, self.relief.in_turn and changed)
        if self._networks is not None and self._key == key:
            return self._networks
        import torch

        from vcd_studio.method.fused.layers import refusal
        from vcd_studio.models import load_pack

        self.release()
        log(f"loading the pack {pack}")
        set_up_device(self.device)
        dtype: torch.dtype = getattr(torch, precision)
        self._networks = load_pack(pack, self.device, dtype, packs_dir(), self._placement(pack, dtype, changed, log))
        self._key = key
        if self.device != "cpu" and (reason := refusal(torch.device(self.device))):
            log(f"steps take about twice as long as they could, because this card is without the studio's kernels: {reason}")
        return self._networks

    @property
    def loaded(self) -> str | None:
        """What the networks in memory are in: fp16, bf16 or fp32."""
        dtypes = {dtype: precision for precision, dtype in PRECISIONS.items()}
        return None if self._networks is None else dtypes[str(self._networks.dtype).removeprefix("torch.")]

    @property
    def for_clips(self) -> str:
        """What clips are made in: fp16, bf16 or fp32."""
        return {"auto": "fp32" if self.device == "cpu" else "fp16"}.get(self.precision, self.precision)

    @property
    def for_learning(self) -> str:
        """What frozen networks are in while something learns through them: fp16's range is too small for gradients, bf16's is fp32's."""
        import torch

        able = self.device != "cpu" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if able and self.for_clips != "fp32" else "fp32"

    def _placement(self, name: str, dtype: torch.dtype, changed: bool, log: Log) -> Placement | None:
        """Looked at before anything is loaded: is there room in the machine's memory, and what goes where on the card?"""
        from vcd_studio.models.memory import CHANGED, Placement, check_room, denoising_bytes, in_turn, plan, weights_of

        sizes = weights_of(find_pack(name, packs_dir()), dtype)
        check_room(name, int(sum(sizes.values()) * LOADING), free_memory())
        if self.device == "cpu":
            return None
        if self.relief.in_turn:
            return Placement(in_turn(sizes, CHANGED if changed else ()))
        placement = plan(sizes, self.room(), denoising_bytes(*USUAL_CLIP, dtype))
        log(placement.sentence)
        return placement

    def room(self) -> int:
        """Bytes of the card that are free."""
        import torch

        free, _ = torch.cuda.mem_get_info(torch.device(self.device))
        return int(free)

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
            self._hashes[pack] = hashes(find_pack(pack, packs_dir()), cache_dir())
        return self._hashes[pack]

    def release(self) -> None:
        """Give the memory back."""
        if self._networks is None:
            return
        self._networks = self._preview = self._key = None
        gc.collect()
        give_back_freed_memory()
        if self.device != "cpu":
            import torch

            torch.cuda.empty_cache()

    def after_failure(self, error: Exception) -> None:
        """Networks that ran out of memory, or broke in an unknown way, are not used again."""
        if not isinstance(error, InputError):
            error.__traceback__ = None  # its frames hold tensors
            self.release()


def free_memory() -> int:
    """Bytes that this process may still take of the machine's memory."""
    import psutil

    return int(psutil.virtual_memory().available)


def set_up_device(device: str) -> None:
    """One thread per physical core on the CPU (unless OMP_NUM_THREADS says otherwise). InputError for a card that torch does not see.

    For a card, Triton keeps the kernels that it makes in the user's cache folder (unless TRITON_CACHE_DIR names another): later processes
    find them.
    """
    import torch

    if device == "cpu":
        keep_freed_memory()
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(physical_cores())
        return
    os.environ.setdefault("TRITON_CACHE_DIR", str(cache_dir() / "kernels"))  # read when the first is made
    if not torch.cuda.is_available():
        raise InputError(f"torch sees no NVIDIA card, so {device} cannot be used; go on with --device cpu.")
    try:
        torch.cuda.set_device(torch.device(device))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise InputError(f"There is no device {device} here (torch sees {torch.cuda.device_count()} cards).") from error


MALLOPT = {"M_MMAP_THRESHOLD": (-3, 32 << 20), "M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_TOP_PAD": (-2, 64 << 20)}
"""glibc's mallopt(3): the number of each parameter and what it is set to, in bytes; 32 MiB is the most it takes for the first."""


def keep_freed_memory() -> None:
    """Let this process keep the memory that tensors free, for the next ones, where the C library is glibc.

    Otherwise every large tensor is fetched from the kernel page by page and given back: 50 000 page faults in each pass of the pocket UNet,
    none so. ``release`` gives it back.
    """
    with suppress(OSError, AttributeError):  # another C library has no such thing
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        for parameter, value in MALLOPT.values():
            mallopt(parameter, value)


def give_back_freed_memory() -> None:
    """All that is kept and not in use, to the system."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


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
