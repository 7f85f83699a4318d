"""What the stages of a clip share: where it lies, what it is conditioned on, how its frames are kept and previewed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vcd_studio.catalog.packs import find_pack
from vcd_studio.jobs.enqueue import file_hash
from vcd_studio.locations import packs_dir, state_dir
from vcd_studio.media.frames import load_frames, save_frames
from vcd_studio.media.sheet import contact_sheet
from vcd_studio.media.video import read_video, write_video
from vcd_studio.method.conditioning import Conditioning, condition
from vcd_studio.method.finetuning.weights import NetworkWeights, worn
from vcd_studio.method.id_tokens import IdTokens, expand
from vcd_studio.method.protocols import Frames, Networks
from vcd_studio.method.sampling import Sampling
from vcd_studio.models.loras import load_lora
from vcd_studio.project.errors import InputError
from vcd_studio.project.loras import ADAPTER
from vcd_studio.project.stage_settings import seed_of, settings_of
from vcd_studio.worker.context import StageContext
from vcd_studio.worker.ladder import Shape

PREVIEWS_KEPT = 2
PREVIEW_WIDTH = 384
PREVIEWED = 16
"""Frames of a clip, spread over it."""


class ClipStage:
    """One stage of one clip, with everything read off the job's snapshot."""

    def __init__(self, context: StageContext) -> None:
        self.context = context
        self.settings = context.settings
        self.seed = seed_of(context.settings, context.stage.name)
        self.generation = context.networks.relief.applied(settings_of(context.settings, context.stage.name))

    @cached_property
    def folder(self) -> Path:
        """outputs/<clip>/: made by the job's first stage, found again by later attempts."""
        begun = self.context.result.get("clip")
        if begun and Path(begun).is_dir():
            return Path(begun)
        folder = self.context.project.new_clip(self.settings.get("name") or self.settings["prompt"])
        self.context.note(clip=str(folder))
        return folder

    @property
    def stage_folder(self) -> Path:
        return self.folder / "stages" / self.context.stage.name

    @cached_property
    def networks(self) -> Networks:
        """The pack's, wearing the weights of the clip's identities for as long as this stage lives; the pack's own stay as they are."""
        weights, pack = self.weights, find_pack(self.settings["pack"], packs_dir())
        wearing = bool(weights or pack.loras or self.settings.get("loras"))
        networks = self.context.networks.get(self.settings["pack"], self.context.log, wearing=wearing)
        loras = self._loras(networks)
        names = [i["name"] for i in self.settings["identities"] if i.get("weights")] if weights else []
        names += [Path(lora["file"]).name for lora in self.settings.get("loras", [])]
        if names:
            self.context.log(f"wears the weights of {', '.join(names)}")
        at_once = self.context.networks.relief.pixels_at_once or networks.pixels_at_once
        return worn(replace(networks, pixels_at_once=at_once), [*weights, *loras])

    def _loras(self, networks: Networks) -> list[NetworkWeights]:
        """The pack's own LoRA, then those that the clip asks for, each at its strength. InputError when one of these has changed."""
        pack = find_pack(self.settings["pack"], packs_dir())
        worn = [_lora(each.file, each.strength, networks) for each in pack.loras]
        for chosen in self.settings.get("loras", []):
            path = Path(chosen["file"])
            _unchanged("weights", str(path / ADAPTER if path.is_dir() else path), chosen["sha256"])
            worn.append(_lora(path, chosen["strength"], networks))
        return worn

    @cached_property
    def tokens(self) -> list[IdTokens]:
        """The tokens of the snapshot's runs, where they have some. InputError when a file is no longer what it was."""
        loaded = []
        for identity in self.settings["identities"]:
            if identity["tokens"]:
                path = _unchanged("tokens", identity["tokens"], identity["sha256"])
                loaded.append(IdTokens.load(path, identity["token"], identity["noun"]))
        return loaded

    @property
    def weights(self) -> list[NetworkWeights]:
        """The weights of the snapshot's runs, where they have some, at the clip's strength. InputError when a file has changed."""
        strength = self.generation.get("weights_strength", 1.0)
        wearing = [identity for identity in self.settings["identities"] if identity.get("weights")] if strength else []
        return [
            NetworkWeights.load(_unchanged("weights", identity["weights"], identity["weights_sha256"])).at(strength) for identity in wearing
        ]

    @property
    def noun(self) -> str:
        """What a face detector looks for: the first identity's noun."""
        identities = self.settings["identities"]
        return str(identities[0]["noun"]) if identities else "person"

    def conditioning(self, prompt: str = "", frames: int | None = None) -> Conditioning:
        """The clip's prompt (or another one) and its negative; a travel gives every frame its own mixture of two prompts."""
        negative = self.generation["negative"]
        travel: dict[str, str] = self.settings.get("travel") or {}
        if prompt or not travel:
            return condition(self.networks, self._readable(prompt or self.settings["prompt"]), negative, self.tokens)
        keys = {int(frame): condition(self.networks, self._readable(words), negative, self.tokens) for frame, words in travel.items()}
        positive = mix_travel({frame: each.positive for frame, each in keys.items()}, frames or self.generation["frames"])
        return Conditioning(positive, next(iter(keys.values())).negative)

    def _readable(self, prompt: str) -> str:
        """Identities that have weights but no token of their own are called by their noun."""
        for identity in self.settings["identities"]:
            if not identity["tokens"]:
                named = expand(prompt, [IdTokens(identity["token"], identity["noun"], torch.empty(1, 0))])
                prompt = re.sub(re.escape(identity["token"]) + r"\s+", "", named)
        return prompt

    def works_on(self, frames: int, height: int, width: int, *, larger_tiles: bool = False) -> None:
        """What the VAE and the UNet will see, in pixels: said before they begin, for when there is not enough memory for it."""
        window = min(frames, self.generation["context_frames"], self.networks.motion_range)
        self.context.shape = Shape(frames, height * width, self.networks.pixels_at_once, window, larger_tiles)

    @property
    def sampling(self) -> Sampling:
        return Sampling.told(self.generation, self.seed)

    def clip_before(self) -> Frames:
        """The frames this stage starts from: the stage before it, or the person's own video."""
        before = self.context.artefact_before() or self._taken_over()
        if before is not None:
            return np.stack(load_frames(before / "frames"))
        video = self.settings.get("input")
        if not video:
            raise InputError(f"Stage {self.context.stage.name} has no clip to start from; choose t2v too, or give a video.")
        return np.stack(read_video(Path(video))[0])

    def _taken_over(self) -> Path | None:
        """The last of the stages that this clip takes over from another; each is copied, so that the other may go."""
        parent = self.settings.get("parent")
        if not parent:
            return None
        for name in parent["stages"]:
            target = self.folder / "stages" / name
            if target.is_dir():
                continue
            source, part = Path(parent["clip"]) / "stages" / name, target.with_name(f"{name}.part")
            if not (source / "frames").is_dir():
                raise InputError(f"The clip {parent['clip']} has no frames of {name} any more; put it back, or make {name} anew.")
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(source, part)
            part.rename(target)
        return self.folder / "stages" / str(parent["stages"][-1])

    def keep(self, frames: Frames) -> str:
        """Frames as PNG and a film of them; the folder is the hand-on point."""
        save_frames(self.stage_folder / "frames", list(frames))
        made = recipe(self.settings, self.generation, self.seed, frames)
        write_video(self.stage_folder / "clip.mp4", list(frames), self.generation["fps"], made)
        count, height, width = frames.shape[:3]
        self.context.log(f"{count} frames of {width} × {height} kept in {self.stage_folder}")
        return str(self.stage_folder)

    def on_step(self) -> Callable[[int, int, Tensor], None]:
        """Progress, previews and the chance to stop, after every step."""
        every = int(self.generation["preview_every"])

        def tell(step: int, steps: int, latents: Tensor) -> None:
            preview = self._preview(step, latents) if every and (step % every == 0 or step == 1) else None
            self.context.step(step, steps, message=f"step {step} of {steps}", preview=preview)

        return tell

    def _preview(self, step: int, latents: Tensor) -> str:
        folder = state_dir() / "previews" / str(self.context.job.id)
        folder.mkdir(parents=True, exist_ok=True)
        count = latents.shape[2]
        some = torch.linspace(0, count - 1, min(count, PREVIEWED)).round().long().to(latents.device)
        frames = self.context.networks.preview().frames(latents.detach()[:, :, some])
        path = folder / f"{self.context.stage.name}-{step:04d}.png"
        part = path.with_suffix(".part")
        contact_sheet(list(frames), columns=4, width=PREVIEW_WIDTH).save(part, "PNG")
        part.replace(path)
        for old in sorted(folder.glob(f"{self.context.stage.name}-*.png"))[:-PREVIEWS_KEPT]:
            old.unlink(missing_ok=True)
        return str(path)


def _lora(path: Path, strength: float, networks: Networks) -> NetworkWeights:
    lora = load_lora(path, networks)
    return NetworkWeights(lora.unet, text_changes=lora.text_encoder).at(strength)


def _unchanged(what: str, name: str, sha256: str) -> Path:
    path = Path(name)
    if file_hash(path) != sha256:
        raise InputError(f"The {what} {path} have changed since this job was enqueued; enqueue the prompt again.")
    return path


def mix_travel(keys: dict[int, Tensor], frames: int) -> Tensor:
    """Embeds (1, length, width) at some frames to (frames, length, width): straight lines between them, level outside."""
    marks = sorted(keys)
    rows = []
    for frame in range(frames):
        left = max((mark for mark in marks if mark <= frame), default=marks[0])
        right = min((mark for mark in marks if mark > frame), default=left)
        share = (frame - left) / (right - left) if right > left else 0.0
        rows.append(torch.lerp(keys[left], keys[right], share))
    return torch.cat(rows)


def recipe(settings: dict[str, Any], generation: dict[str, Any], seed: int, frames: Frames) -> dict[str, Any]:
    """What travels inside the files: enough to tell how the clip was made."""
    return {
        "prompt": settings["prompt"],
        "negative": generation["negative"],
        "steps": generation["steps"],
        "scheduler": generation["scheduler"],
        "guidance": generation["guidance"],
        "seed": seed,
        "width": frames.shape[2],
        "height": frames.shape[1],
        "frames": len(frames),
        "fps": generation["fps"],
        "gamma": generation["gamma"],
        **Sampling.told(generation, seed).savers.on,
        "stages": list(generation["stages"]),
        "pack": settings["pack"],
        "identities": [_told(identity, generation.get("weights_strength", 1.0)) for identity in settings["identities"]],
        "loras": [f"{Path(x['file']).name} {x['sha256'][:12]} at {x['strength']:g}" for x in settings.get("loras", [])],
        "version": settings["code_version"],
    }


def _told(identity: dict[str, Any], strength: float) -> str:
    told = f"{identity['token']} {identity['run']} {identity['sha256'][:12]}"
    return f"{told} weights {identity['weights_sha256'][:12]} at {strength:g}" if identity.get("weights") else told


def save_picture(image: Image.Image, path: Path, **options: Any) -> None:
    """A PNG that is there whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    image.save(part, "PNG", **options)
    part.replace(path)
