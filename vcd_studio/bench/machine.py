"""On what it was measured: figures without that say nothing."""

from __future__ import annotations

import os
import platform
import sys
from datetime import datetime
from pathlib import Path


def about(device: str) -> dict[str, str]:
    """When, processor or card, threads, and the versions of what did the numbers. A Python that keeps no bytecode is slower to start."""
    import diffusers
    import torch

    from vcd_studio import __version__

    card = {"card": torch.cuda.get_device_name(torch.device(device))} if device != "cpu" else {}
    return {
        "date": datetime.now().strftime("%Y-%m-%d %H:%M"),
        "processor": processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        **card,
        "python": platform.python_version() + (" that keeps no bytecode" if sys.dont_write_bytecode else ""),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "vcd-studio": __version__,
    }


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Its name, and the widest numbers that it reckons with at once."""
    try:
        fields = dict(line.partition(":")[::2] for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines())
    except OSError:
        return platform.processor() or platform.machine()
    said = {key.strip(): value.strip() for key, value in fields.items()}
    flags = said.get("flags", "").split()
    widest = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "")
    return " with ".join(filter(None, [said.get("model name", platform.machine()), widest]))
