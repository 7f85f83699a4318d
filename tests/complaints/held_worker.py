"""A real worker whose stages do ten steps, wait after each as long as a file ``held`` lies in the project, and keep what they did.

A job that says {"deadly": true} kills the worker. Run by the tests, never shipped.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from vcd_studio.worker.context import StageContext
from vcd_studio.worker.loop import main

STEPS = 10


def run(context: StageContext) -> str:
    if context.settings.get("deadly"):
        os.kill(os.getpid(), signal.SIGKILL)
    kept, held, pulse = context.job.project / f"{context.job.id}.steps", context.job.project / "held", threading.Event()
    done = kept.read_text().split() if kept.is_file() else []
    for step in range(len(done) + 1, STEPS + 1):
        with kept.open("a", encoding="utf-8") as file:
            file.write(f"{step}\n")
        context.step(step, STEPS, message=f"step {step}")
        if step == context.settings.get("hold_after"):
            held.touch()
        while held.exists():
            context.check()
            pulse.wait(0.01)
    return str(kept)


if __name__ == "__main__":
    sys.exit(main(stages={"t2v": run, "save": lambda context: str(Path(context.job.project))}))
