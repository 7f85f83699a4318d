"""T2V: the prompt's clip from pure noise."""

from __future__ import annotations

from vcd_studio.method.text_to_video import text_to_video
from vcd_studio.worker.context import StageContext
from vcd_studio.worker.stages.clips import ClipStage


def run(context: StageContext) -> str | None:
    stage = ClipStage(context)
    generation = stage.generation
    context.step(0, generation["steps"], message="loading networks")
    networks, conditioning = stage.networks, stage.conditioning()
    stage.works_on(generation["frames"], generation["height"] or networks.size, generation["width"] or networks.size)
    context.step(0, generation["steps"], message="denoising")
    frames = text_to_video(
        networks,
        conditioning,
        stage.sampling,
        frames=generation["frames"],
        height=generation["height"],
        width=generation["width"],
        on_step=stage.on_step(),
    )
    return stage.keep(frames)
