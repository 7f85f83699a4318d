"""What each saver gains on a clip of the pocket pack; what it costs is the study's to say (its sweep of the same names)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from io import BytesIO
from statistics import median
from typing import Any

import torch

from vcd_studio.bench import tasks
from vcd_studio.bench.figures import Figure, Measure, alternate, seconds
from vcd_studio.bench.parts import Options
from vcd_studio.evaluation.adapters import adapters
from vcd_studio.evaluation.plan import SAVERS
from vcd_studio.media.sheet import contact_sheet
from vcd_studio.method.conditioning import condition
from vcd_studio.method.finetuning import worn
from vcd_studio.method.preview import LatentPreview
from vcd_studio.method.protocols import Networks
from vcd_studio.method.sampling import Sampling
from vcd_studio.method.text_to_video import text_to_video
from vcd_studio.models import load_pack
from vcd_studio.project.settings import GenerationSettings
from vcd_studio.worker.stages.clips import PREVIEW_WIDTH


def measure(options: Options) -> Iterator[Figure]:
    """Text to video with each saver, all taking turns with the clip that has none; then what previews could save."""
    networks = load_pack(tasks.PACK, options.device)
    words = condition(networks, tasks.PROMPT, tasks.NEGATIVE)
    frames, steps = (2, {"steps": 3}) if options.small else (tasks.FRAMES, {})

    def clip(told: Mapping[str, Any]) -> float:
        sampling = Sampling.told({"guidance": tasks.GUIDANCE, **told, **steps}, tasks.SEED)
        wearing = worn(networks, adapters(told, tasks.PACK, networks))
        return seconds(lambda: text_to_video(wearing, words, sampling, frames=frames))

    clips: dict[str, Measure] = {name: partial(clip, told) for name, told in SAVERS.items()}
    took = alternate(clips, options.rounds)
    plain = took.pop("none")
    yield Figure(f"text to video, {Sampling().steps} steps", plain)
    for name, samples in took.items():
        yield Figure(name, samples, rival=plain, rival_name="without")
    between = GenerationSettings().preview_every
    looked_at = tuple(seconds(_preview(networks, frames)) for _ in range(options.rounds))
    most = 0.01 * between * median(plain) / Sampling().steps
    yield Figure("a preview", looked_at, wanted=most, note=f"made every {between} steps; wanted: a hundredth of those")


def _preview(networks: Networks, frames: int) -> Callable[[], None]:
    """As a worker makes it, of latents as they are while a clip is denoised."""
    preview, side = LatentPreview(networks), networks.size // networks.vae_scale
    latents = torch.randn(1, networks.latent_channels, frames, side, side, device=networks.device)
    return lambda: contact_sheet(list(preview.frames(latents)), 4, PREVIEW_WIDTH).save(BytesIO(), "PNG")
