"""Tiled VCD: twice the size, detail denoised back in."""

from __future__ import annotations

from vcd_studio.method.tiled import tiled
from vcd_studio.worker.context import StageContext
from vcd_studio.worker.stages.clips import ClipStage


def run(context: StageContext) -> str | None:
    stage = ClipStage(context)
    generation = stage.generation
    clip = stage.clip_before()
    conditioning = stage.conditioning(frames=len(clip))
    stage.works_on(len(clip), 2 * clip.shape[1], 2 * clip.shape[2])
    context.step(0, max(1, int(generation["steps"] * generation["tiled_strength"])), message="upscaling")
    frames, report = tiled(
        stage.networks,
        clip,
        conditioning,
        stage.sampling,
        strength=generation["tiled_strength"],
        overlap=generation["tile_overlap"],
        control_scale=generation["control_scale"],
        on_step=stage.on_step(),
    )
    height, width = report.size
    context.log(f"{report.tiles} tiles, {width} × {height}, seam score {report.seam_score:.3f}")
    context.report(seam_score=report.seam_score, tiles=report.tiles, controlled=report.controlled)
    return stage.keep(frames)
