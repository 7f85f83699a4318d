"""Stages that take a millisecond and keep what they do in the same ways as the real ones: a checkpoint, whole files, frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vcd_studio.media.frames import load_frames, save_frames
from vcd_studio.project.outputs import write_sidecar
from vcd_studio.project.paths import make_numbered, write_atomic
from vcd_studio.worker.checkpoints import drop_checkpoint, load_checkpoint, save_checkpoint
from vcd_studio.worker.context import StageContext

STEPS = 6
RAN = "ran.txt"
"""One line for each time that a stage was begun: the job's id and the stage's name."""


def learn(context: StageContext) -> str:
    """Six steps, a checkpoint after every second; what is learnt is a number that depends on every step."""
    folder = _begin(context, "run")
    state = load_checkpoint(folder) or {"step": 0, "learnt": 1}
    for step in range(state["step"] + 1, STEPS + 1):
        state = {"step": step, "learnt": (state["learnt"] * 31 + step) % 1_000_003}
        if step % 2 == 0:
            save_checkpoint(folder, state)
        context.step(step, STEPS, message=f"step {step}")
    write_atomic(folder / "learnt.txt", str(state["learnt"]).encode())
    drop_checkpoint(folder)
    return str(folder)


def draw(context: StageContext) -> str:
    """Two frames out of the job's seed."""
    folder = _begin(context, "clip") / "stages" / "t2v"
    frames = np.random.default_rng(context.settings["seed"]).integers(0, 255, (2, 8, 8, 3), dtype=np.uint8)
    for step in (1, 2):
        context.step(step, 2, message=f"step {step}")
    save_frames(folder / "frames", list(frames))
    return str(folder)


def keep(context: StageContext) -> str:
    """The frames' sum, into the clip's sidecar."""
    folder, before = _begin(context, "clip"), context.artefact_before()
    assert before is not None
    write_sidecar(folder, {"sum": int(sum(int(frame.sum()) for frame in load_frames(before / "frames")))})
    context.report(kept=True)
    return str(folder)


QUICK_STAGES = {"train": learn, "t2v": draw, "save": keep}


def _begin(context: StageContext, what: str) -> Path:
    """The folder of this job's ``what``: the one an earlier attempt made, else a new one."""
    with (context.job.project / RAN).open("a", encoding="utf-8") as file:
        file.write(f"{context.job.id} {context.stage.name}\n")
    begun = context.result.get(what)
    if begun and Path(begun).is_dir():
        return Path(begun)
    parent = context.job.project / ("outputs" if what == "clip" else "identities/rex/trained")
    parent.mkdir(parents=True, exist_ok=True)
    folder = make_numbered(parent, what, "-001", "-{:03d}")
    context.note(**{what: str(folder)})
    return folder
