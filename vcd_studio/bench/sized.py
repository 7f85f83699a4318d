"""One clip of a size, in a process of its own, so that nothing else is in its peak of memory.

``python -m vcd_studio.bench.sized t2v 64`` prints what a clip of 64 frames took, ``tiled 9`` what 3 × 3 tiles did, as JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from vcd_studio.bench import tasks
from vcd_studio.bench.peak import Peak, measurable
from vcd_studio.jobs.processes import last_line
from vcd_studio.method.conditioning import condition
from vcd_studio.method.protocols import Frames, Networks
from vcd_studio.method.sampling import Sampling
from vcd_studio.method.text_to_video import text_to_video
from vcd_studio.method.tiled import tiled
from vcd_studio.models import load_pack
from vcd_studio.worker.networks import set_up_device

STEPS = 3
"""The first one warms up, and the quicker of the others counts."""
TILED_FRAMES = 4
TILE_OVERLAP = 0.5
LEAST = 1.0
"""MB: less than that is what a process does anyhow."""


@dataclass(frozen=True)
class Cost:
    """``step``: seconds of a denoising step. In MB, what a step takes beside what the clip holds meanwhile, and what the whole clip takes
    beside the loaded networks; None where the system does not tell."""

    step: float
    step_memory: float | None
    clip_memory: float | None


def cost_of(kind: str, count: int, device: str) -> Cost:
    """Of a clip in a process of its own. RuntimeError with its last words where it ends before it is done."""
    command = [sys.executable, "-m", __name__, kind, str(count), "--device", device]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("w") as file:
            ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=file, text=True, check=False)
        if ended.returncode:
            raise RuntimeError(f"a clip of {kind} {count} has ended with exit code {ended.returncode}: {last_line(log)}")
    return Cost(**json.loads(ended.stdout))


class Meter:
    """Looks on while a clip is made: ``on_step`` goes into it."""

    def __init__(self, device: str) -> None:
        self._peak = Peak(device) if measurable(device) else None
        self._loaded = self._peak.held if self._peak else 0
        self._begun, self._steps = 0.0, list[float]()
        self._before = self._step = 0

    def on_step(self, step: int, steps: int, clean: Tensor) -> None:
        if step > 1:
            self._steps.append(time.perf_counter() - self._begun)
        if self._peak and step == 1:
            self._before = self._peak.most
            self._peak.begin()
        if self._peak and step == steps:
            self._step = self._peak.most - self._peak.held
        self._begun = time.perf_counter()

    def cost(self) -> Cost:
        """Once the clip is made."""
        seconds = min(self._steps)
        if self._peak is None:
            return Cost(seconds, None, None)
        whole = max(self._before, self._peak.most) - self._loaded
        return Cost(seconds, max(LEAST, self._step / 1e6), max(LEAST, whole / 1e6))


def side_of(tiles: int, size: int) -> int:
    """Pixels of the square that ``tiles`` (a square number) of ``size`` pixels cover."""
    return size + round((math.isqrt(tiles) - 1) * size * (1 - TILE_OVERLAP))


def make(kind: str, count: int, networks: Networks, meter: Meter) -> Frames:
    """The clip: ``count`` frames from a prompt, or so many tiles of another one."""
    sampling, conditioning = Sampling(steps=STEPS, seed=tasks.SEED), condition(networks, tasks.PROMPT, tasks.NEGATIVE)
    if kind == "t2v":
        return text_to_video(networks, conditioning, sampling, frames=count, on_step=meter.on_step)
    side = side_of(count, networks.size) // 2
    clip = np.stack([np.asarray(Image.fromarray(frame).resize((side, side))) for frame in tasks.clip()[:TILED_FRAMES]])
    frames, report = tiled(networks, clip, conditioning, sampling, strength=1.0, overlap=TILE_OVERLAP, larger=0, on_step=meter.on_step)
    assert report.tiles == count, f"{report.tiles} tiles"
    return frames


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=f"python -m {__name__}")
    parser.add_argument("kind", choices=("t2v", "tiled"))
    parser.add_argument("count", type=int)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(arguments)
    set_up_device(given.device)
    networks = load_pack(tasks.PACK, given.device)
    meter = Meter(given.device)
    make(given.kind, given.count, networks, meter)
    print(json.dumps(asdict(meter.cost())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
