"""A real worker process whose stages do nothing but what their job's settings say. Run as a script by the tests, never shipped.

settings["script"][stage] is a list of acts: ["step", n] does n steps; ["gate", fifo] says so in the log and waits until the FIFO is opened
for writing; ["fail-once", marker] and ["fail-input", marker] fail while the marker file is not there; ["record", file] adds the stage's
name to a file; ["die"] is a kill -9; ["full", marker] is out of memory in the process that makes the marker file.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from vcd_studio.project.errors import InputError
from vcd_studio.worker.context import StageContext
from vcd_studio.worker.loop import main


def act(context: StageContext) -> str:
    steps = 0
    for word, *values in context.settings["script"].get(context.stage.name, []):
        if word == "step":
            for _ in range(values[0]):
                steps += 1
                context.step(steps, 10)
        elif word == "gate":
            context.log("at the gate")
            Path(values[0]).open("rb").close()
            steps += 1
            context.step(steps, 10)
        elif word in ("fail-once", "fail-input") and not Path(values[0]).exists():
            Path(values[0]).touch()
            raise InputError("The photo is gone; put it back.") if word == "fail-input" else ZeroDivisionError("by zero")
        elif word == "record":
            with Path(values[0]).open("a", encoding="utf-8") as file:
                file.write(f"{context.stage.name}\n")
        elif word == "full":
            if not Path(values[0]).exists():
                Path(values[0]).write_text(str(os.getpid()))
            if Path(values[0]).read_text() == str(os.getpid()):
                raise MemoryError
        elif word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
    made = context.job.project / f"made by {context.stage.name}"
    made.touch()
    return str(made)


if __name__ == "__main__":
    sys.exit(main(stages={"t2v": act, "face": act, "save": act}))
