"""The ladder: what a stage that runs out of memory gives up, one rung after the other, to be begun again until it fits or fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from vcd_studio.worker.interrupts import FreshProcess

if TYPE_CHECKING:
    from vcd_studio.worker.context import StageContext

SMALLEST_WINDOW = 2
"""Frames of a context window: in one frame alone nothing moves."""
RUNGS: Mapping[str, str] = MappingProxyType(
    {
        "pixels_at_once": "the VAE sees at most {} pixels at a time: the same result but for rounding",
        "usual_tiles": "tiles of the network's own size, of which there are more: as good a clip as with larger ones, but another",
        "context_frames": "context windows of {} frames: not the same clip as with longer ones",
        "in_turn": "the networks take turns on the card: the same result, more slowly",
        "fresh_process": "a fresh process, whose memory nothing else has been in: the same result",
    }
)
"""The fields of :class:`Relief` in the order in which they are tried, and what each does to the result."""
SIGNS = ("out of memory", "alloc_failed", "defaultcpuallocator")
"""In the messages of RuntimeErrors by which CUDA, cuBLAS, cuDNN and torch's CPU allocator say it."""


@dataclass(frozen=True)
class Relief:
    """What is given up: at first nothing. The pixels that the VAE sees at a time, tiles larger than a network's own size, a window's
    frames, networks being all on the card, and at last the process, with whatever earlier work has left in its memory."""

    pixels_at_once: int | None = None
    usual_tiles: bool = False
    context_frames: int | None = None
    in_turn: bool = False
    fresh_process: bool = False

    @property
    def sentences(self) -> list[str]:
        """One for each thing given up."""
        return [RUNGS[name].format(value) for name, value in asdict(self).items() if value]

    def applied(self, generation: dict[str, Any]) -> dict[str, Any]:
        """A clip's settings as they are under this relief; neighbouring windows share half of their frames at most."""
        if self.usual_tiles:
            generation = {**generation, "tile_larger": 0.0}
        if self.context_frames is None:
            return generation
        overlap = min(generation["context_overlap"], self.context_frames // 2)
        return {**generation, "context_frames": self.context_frames, "context_overlap": overlap}


@dataclass(frozen=True)
class Shape:
    """The clip that a stage is working on: ``frames``, the ``pixels`` of each, and how much of it is in hand at a time."""

    frames: int
    pixels: int
    pixels_at_once: int
    window: int
    larger_tiles: bool = False
    """Whether it is cut into tiles larger than the network's own size."""


def next_rung(relief: Relief, shape: Shape | None, device: str, replaceable: bool = False) -> Relief | None:
    """What to give up next; None at the ladder's end. Without a ``shape`` there is nothing to do in smaller parts (learning, loading).

    ``replaceable``: this process has done other work, and a fresh one can be had.
    """
    if shape is not None:
        together = min(shape.frames, shape.pixels_at_once // shape.pixels)
        if together > 1:
            return replace(relief, pixels_at_once=together // 2 * shape.pixels)
        if shape.larger_tiles:
            return replace(relief, usual_tiles=True)
        if shape.window > SMALLEST_WINDOW:
            return replace(relief, context_frames=max(SMALLEST_WINDOW, shape.window // 2))
    if not relief.in_turn and device != "cpu":
        return replace(relief, in_turn=True)
    return replace(relief, fresh_process=True) if replaceable and not relief.fresh_process else None


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether that is what went wrong, or what an error was raised from."""
    while error is not None:
        said = isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in SIGNS)
        if said or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        error = error.__cause__
    return False


def run(stage: Callable[[StageContext], str | None], context: StageContext) -> str | None:
    """The stage's artefact. What leaves the result as it is stays given up for the job's later stages; the last error comes through.

    Raises FreshProcess, once in a job, where another process shall go on with what is given up.
    """
    keeper = context.networks
    keeper.relief = _handed_on(context) or replace(keeper.relief, usual_tiles=False, context_frames=None)
    while True:
        _remember(context, keeper.relief)
        context.shape = None
        try:
            return stage(context)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            relief = next_rung(keeper.relief, context.shape, context.device, context.replaceable)
            if relief is None:
                raise
        keeper.release()  # only here, where the error and the tensors in its frames are gone
        sentence = next(said for said in relief.sentences if said not in keeper.relief.sentences)
        context.log(f"not enough memory; once more: {sentence}", "warning")
        if relief.fresh_process and not keeper.relief.fresh_process:
            context.check()  # what a person has asked meanwhile comes first
            context.note(handed_on={"stage": context.stage.name, "relief": asdict(relief)})
            raise FreshProcess
        keeper.relief = relief


def _handed_on(context: StageContext) -> Relief | None:
    """What the process before this one gave up in this stage; told once, so that a retry begins with nothing given up."""
    handed_on = context.result.get("handed_on")
    if not handed_on or handed_on["stage"] != context.stage.name:
        return None
    context.note(handed_on=None)
    return Relief(**handed_on["relief"])


def _remember(context: StageContext, relief: Relief) -> None:
    """Into the job's result, by the stage's name; what an earlier attempt at the stage gave up is forgotten."""
    before = context.result.get("relief", {})
    others = {name: given_up for name, given_up in before.items() if name != context.stage.name}
    now = others if relief == Relief() else {**others, context.stage.name: asdict(relief)}
    if now != before:
        context.note(relief=now)
