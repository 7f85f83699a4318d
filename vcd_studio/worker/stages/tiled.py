"""Tiled VCD: twice the size, detail denoised back in."""

from __future__ import annotations

from vcd_studio.method.tiled import tile_of, tiled
from vcd_studio.method.views import LARGER
from vcd_studio.worker.context import StageContext
from vcd_studio.worker.stages.clips import ClipStage


def run(context: StageContext) -> str | None:
    stage = ClipStage(context)
    generation = stage.generation
    clip = stage.clip_before()
    conditioning = stage.conditioning(frames=len(clip))
    height, width = 2 * clip.shape[1], 2 * clip.shape[2]
    overlap, larger = generation["tile_overlap"], generation.get("tile_larger", LARGER)
    usual = stage.networks.size // stage.networks.vae_scale
    stage.works_on(len(clip), height, width, larger_tiles=tile_of(stage.networks, height, width, overlap, larger) > usual)
    context.step(0, max(1, int(generation["steps"] * generation["tiled_strength"])), message="upscaling")
    frames, report = tiled(
        stage.networks,
        clip,
        conditioning,
        stage.sampling,
        strength=generation["tiled_strength"],
        overlap=overlap,
        larger=larger,
        control_scale=generation["control_scale"],
        on_step=stage.on_step(),
    )
    context.log(f"{report.tiles} tiles, {width} × {height}, seam score {report.seam_score:.3f}")
    context.report(seam_score=report.seam_score, tiles=report.tiles, controlled=report.controlled)
    return stage.keep(frames)
