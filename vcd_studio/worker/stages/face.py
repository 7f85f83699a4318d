"""Face VCD: faces that are only a few latent cells wide, denoised again large."""

from __future__ import annotations

from vcd_studio.method.face import FaceReport, face
from vcd_studio.method.protocols import UnknownNoun
from vcd_studio.worker.context import StageContext
from vcd_studio.worker.stages.clips import ClipStage


def run(context: StageContext) -> str | None:
    stage = ClipStage(context)
    generation = stage.generation
    clip = stage.clip_before()
    conditioning = stage.conditioning(generation["face_prompt"], len(clip))
    stage.works_on(len(clip), stage.networks.size, stage.networks.size)
    context.step(0, max(1, int(generation["steps"] * generation["face_strength"])), message="looking for faces")
    try:
        frames, report = face(
            stage.networks,
            clip,
            stage.noun,
            conditioning,
            stage.sampling,
            strength=generation["face_strength"],
            margin=generation["face_margin"],
            on_step=stage.on_step(),
        )
    except UnknownNoun as error:  # a detector that never learnt the noun finds none: the clip is worth keeping
        frames, report = clip, FaceReport(0, (), f"{error} The clip passed unchanged.")
    context.log(report.message)
    context.report(detections=report.detections, tracks=len(report.tracks), message=report.message)
    return stage.keep(frames)
