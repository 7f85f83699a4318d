"""A study, unit by unit: every training, clip and measurement is a file of its own, so that one broken off goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vcd_studio.evaluation.adapters import adapters
from vcd_studio.evaluation.following import Asked, judge, prompts
from vcd_studio.evaluation.metrics import Encoders, mean_cosine, measure_clip
from vcd_studio.evaluation.plan import FAR_PROMPTS, PROMPTS, STAGE_SWEEPS, STAGE_USUAL, STILL, Arm, Learning, Plan, StudyPrompt, slug_of
from vcd_studio.evaluation.reading import read_identity, recognised
from vcd_studio.evaluation.subjects import Subject, pocket_subjects
from vcd_studio.method.conditioning import Conditioning, condition
from vcd_studio.method.face import face
from vcd_studio.method.finetuning import NetworkWeights, begin_training, worn
from vcd_studio.method.id_tokens import IdTokens
from vcd_studio.method.pictures import to_frames
from vcd_studio.method.protocols import Frames, MethodError, Networks
from vcd_studio.method.sampling import Sampling
from vcd_studio.method.text_to_video import text_to_pictures, text_to_video
from vcd_studio.method.tiled import tiled, upscale
from vcd_studio.models.oracle import Oracle
from vcd_studio.project.paths import write_atomic

BASIS = ("pack", "steps", "guidance", "half", "picture_seeds", "clip", "dino")
"""What of a plan every row of a folder shares; identities, seeds and arms may be added later."""

OnStep = Callable[[], None]
"""Called between two steps of anything: may raise, to stop there."""


@dataclass(frozen=True)
class Unit:
    """One clip, or one prompt's pictures (of all seeds at once), to be made and measured."""

    arm: Arm
    subject: Subject
    prompt: int
    seed: int

    @property
    def path(self) -> str:
        return f"{self.arm.slug}/{self.subject.name}-p{self.prompt}-s{self.seed}"

    @property
    def asked(self) -> StudyPrompt:
        return (FAR_PROMPTS if self.arm.stages else PROMPTS)[self.prompt]

    @property
    def action(self) -> str:
        return self.subject.still_action if self.asked.action == STILL else self.asked.action

    @property
    def text(self) -> str:
        """As the pack is asked: "a <cat1> cat running in the snow"; the base is asked for "a cat"."""
        named = f"a {self.subject.noun}" if self.arm.learning.method == "none" else f"a {self.subject.token} {self.subject.noun}"
        return self.asked.text.format(named, still=self.action)

    @property
    def label(self) -> str:
        return f"{self.arm.name}: {self.text}, seed {self.seed}"

    @property
    def plain(self) -> str:
        """The prompt as CLIP-T reads it."""
        return self.asked.text.format(f"a {self.subject.noun}", still=self.action)


@dataclass(frozen=True)
class Following:
    """One caption of nobody in particular: does the pack draw it?"""

    index: int
    asked: Asked

    @property
    def path(self) -> str:
        return f"following/{self.index:04}"

    @property
    def label(self) -> str:
        return f"following: {self.asked.prompt}"


@dataclass(frozen=True)
class Learnt:
    """What a training left: tokens, weights for the UNet, or both; neither for the base."""

    tokens: IdTokens | None = None
    weights: NetworkWeights | None = None


@dataclass(frozen=True)
class Staged:
    """A clip after Face or Tiled; ``axis`` and ``value``: of the setting that was changed for it."""

    slug: str
    frames: Frames
    seam: float | None = None
    axis: str = ""
    value: float | str = ""


class Study:
    """``folder`` holds everything: study.json (what all its rows share), trained/, clips/, rows/. The networks are the plan's pack, in
    32 bits; ``weights`` names their files, as a hash does."""

    def __init__(self, folder: Path, plan: Plan, networks: Networks, oracle: Oracle, encoders: Encoders, weights: str = "") -> None:
        self.folder, self.plan, self.networks, self.oracle, self.encoders = folder, plan, networks, oracle, encoders
        self.basis = {"weights": weights} | {name: getattr(plan, name) for name in BASIS}
        self._learnt: dict[tuple[str, str], Learnt] = {}

    @cached_property
    def subjects(self) -> list[Subject]:
        return list(pocket_subjects(self.plan.subjects))

    def units(self) -> list[Unit | Following]:
        """Everything the plan asks for, subject by subject within an arm, so that a training is used while it is at hand."""
        units: list[Unit | Following] = [Following(index, asked) for index, asked in enumerate(prompts(self.plan.following))]
        for arm in self.plan.arms:
            asked = len(FAR_PROMPTS) if arm.stages else len(PROMPTS)
            seeds = 1 if arm.stages or arm.pictures else self.plan.seeds
            about = self.subjects[: self.plan.subjects_of(arm)]
            units += [Unit(arm, subject, p, s) for subject in about for p in range(asked) for s in range(seeds)]
        return units

    def pending(self) -> list[Unit | Following]:
        return [unit for unit in self.units() if not self._row(unit).is_file()]

    def run(self, on_unit: Callable[[int, int, str], None], on_step: OnStep = lambda: None) -> None:
        """Do what is pending. ``on_unit(done, of, what comes now)``. What ``on_step`` raises goes through; finished units are kept.

        MethodError where the folder's rows were made by another pack, or with other settings: means over both would say nothing.
        """
        self._begin()
        total = len(self.units())
        pending = self.pending()
        for index, unit in enumerate(pending):
            on_unit(total - len(pending) + index, total, unit.label)
            with self._arithmetic(self.plan.half):
                rows: Any = self._followed(unit, on_step) if isinstance(unit, Following) else self._clips(unit, on_step)
            self._row(unit).parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._row(unit), json.dumps(rows).encode())
        on_unit(total, total, "done")

    def _begin(self) -> None:
        record = self.folder / "study.json"
        if not record.is_file():
            if (self.folder / "rows").is_dir():
                raise MethodError(f"The study in {self.folder} does not say what it was made with; choose another folder with --out.")
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(record, json.dumps(self.basis, indent=2).encode())
            return
        begun: dict[str, Any] = json.loads(record.read_bytes())
        for name, now in self.basis.items():
            if (then := begun.get(name)) != now:
                what = "other weights" if name == "weights" else f"{name} {then!r}, not {now!r}"
                raise MethodError(f"The study in {self.folder} was begun with {what}; choose another folder with --out.")

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every measured clip: arm, axis, value, subject, noun, prompt, seed and its figures."""
        for unit in self.units():
            if isinstance(unit, Unit) and self._row(unit).is_file():
                yield from json.loads(self._row(unit).read_bytes())

    def followed(self) -> Iterator[dict[str, bool | None]]:
        """Of each caption drawn: what it said, and whether the oracle read that off the clip (None: cannot be read off a true one)."""
        for unit in self.units():
            if isinstance(unit, Following) and self._row(unit).is_file():
                yield json.loads(self._row(unit).read_bytes())

    def clip(self, arm: str, subject: str, prompt: int, seed: int) -> Frames | None:
        """A clip that was made, by its arm's slug."""
        path = self.folder / "clips" / arm / f"{subject}-p{prompt}-s{seed}.npz"
        if not path.is_file():
            return None
        frames: Frames = np.load(path)["frames"]
        return frames

    def _arithmetic(self, half: bool) -> torch.autocast:
        """bf16 for what is learnt and drawn where the plan says so; never for what judges it."""
        return torch.autocast(self.networks.device.type, torch.bfloat16, enabled=half)

    def _followed(self, unit: Following, on_step: OnStep) -> dict[str, bool | None]:
        sampling = Sampling(steps=self.plan.steps, guidance=self.plan.guidance, seed=unit.index)
        clip = text_to_video(self.networks, condition(self.networks, unit.asked.prompt), sampling, on_step=lambda *_: on_step())
        with self._arithmetic(half=False):
            return judge(clip, unit.asked, self.oracle)

    def _clips(self, unit: Unit, on_step: OnStep) -> list[dict[str, Any]]:
        if (known := self._twin(unit)) is not None:
            return known
        learnt = self._learn(unit.subject, unit.arm.learning, on_step)
        of_all = {"steps": self.plan.steps, "guidance": self.plan.guidance, "gamma": unit.arm.gamma}
        sampling = Sampling.told({**of_all, **unit.arm.told}, unit.seed)
        tokens = [learnt.tokens] if learnt.tokens else []

        def between(*_: Any) -> None:
            on_step()

        weights = [learnt.weights] if learnt.weights else []
        networks = worn(self.networks, [*weights, *adapters(unit.arm.told, self.plan.pack, self.networks)])
        words = condition(networks, unit.text, tokens=tokens)
        if unit.arm.pictures:
            pictures = text_to_pictures(networks, words, sampling, count=self.plan.picture_seeds, on_step=between)
            self._keep(unit.arm.slug, unit, pictures)
            return [self._measured(unit, unit.arm.slug, pictures[seed : seed + 1], seed) for seed in range(len(pictures))]
        clip = text_to_video(networks, words, sampling, on_step=between)
        if unit.arm.stages:
            return [self._row_of_stage(unit, made) for made in self._staged(unit, clip, words, sampling, between)]
        self._keep(unit.arm.slug, unit, clip)
        return [self._measured(unit, unit.arm.slug, clip, unit.seed)]

    def _twin(self, unit: Unit) -> list[dict[str, Any]] | None:
        """The rows of the same pictures under another arm's name: every sweep has the defaults on it."""
        about = {"arm": unit.arm.slug, "name": unit.arm.name, "axis": unit.arm.axis, "value": unit.arm.value}
        for arm in self.plan.arms:
            if unit.arm.pictures and replace(arm, name=unit.arm.name, axis=unit.arm.axis, value=unit.arm.value) == unit.arm:
                row = self._row(replace(unit, arm=arm))
                if row.is_file():
                    return [{**made, **about} for made in json.loads(row.read_bytes())]
        return None

    def _staged(self, unit: Unit, clip: Frames, words: Conditioning, sampling: Sampling, between: Any) -> Iterator[Staged]:
        """What each stage leaves, what upscaling alone would, and what other settings would have left."""
        noun, networks = unit.subject.noun, self.networks
        tokens = self._learnt[unit.arm.learning.key, unit.subject.name].tokens
        close = condition(networks, f"a close up of a {unit.subject.token} {noun}", tokens=[tokens] if tokens else [])

        def faced(spoken: Conditioning = words, **options: Any) -> tuple[Frames, None]:
            return face(networks, clip, noun, spoken, sampling, on_step=between, **options)[0], None

        def enlarged(**options: Any) -> tuple[Frames, float]:
            large, report = tiled(networks, near[0], words, sampling, on_step=between, **options)
            return large, report.seam_score

        def set_to(axis: str, value: Any) -> tuple[Frames, float | None]:
            stage, _, option = axis.partition(" ")
            if value == STAGE_USUAL[axis]:
                return large if stage == "tile" else near
            if option == "prompt":
                return faced(close)
            return enlarged(**{option: value}) if stage == "tile" else faced(**{option: value})

        near = faced()
        yield Staged("stage-t2v", clip)
        yield Staged("stage-face", near[0])
        yield Staged("stage-upscaled", to_frames(upscale(near[0], networks)))
        large = enlarged()
        yield Staged("stage-tiled", *large)
        swept = self.subjects[: self.plan.sweep_subjects]
        for axis in self.plan.stage_sweeps if unit.prompt == 0 and unit.subject in swept else ():
            for value in STAGE_SWEEPS[axis]:
                yield Staged(slug_of(f"{axis} {value}"), *set_to(axis, value), axis, value)

    def _row_of_stage(self, unit: Unit, made: Staged) -> dict[str, Any]:
        self._keep(made.slug, unit, made.frames)
        row = self._measured(unit, made.slug, made.frames, unit.seed)
        return {**row, "axis": made.axis, "value": made.value, "seam": made.seam}

    def _measured(self, unit: Unit, slug: str, frames: Frames, seed: int) -> dict[str, Any]:
        with self._arithmetic(half=False):
            return self._figures(unit, slug, frames, seed)

    def _figures(self, unit: Unit, slug: str, frames: Frames, seed: int) -> dict[str, Any]:
        told, values = self.oracle.read(frames)
        reading, seen = read_identity(told, values, unit.subject.truth), self.oracle.answered(told)
        figures: dict[str, Any] = {
            "identity": reading.share,
            "head": reading.head,
            "surety": reading.surety,
            "colour_error": reading.colour_error,
            "recognised": float(recognised(told, unit.subject.truth, [subject.truth for subject in self.subjects])),
            "kind": float(seen["kind"] == unit.subject.noun),
            "scene": float(seen["scene"] == unit.asked.scene),
        }
        if unit.action:
            figures["action"] = float(seen["action"] == unit.action)
        if len(frames) > 1:
            figures |= asdict(measure_clip(frames, unit.subject.references, unit.plain, self.encoders))
        else:
            pictured = self.encoders.clip.images(frames)
            figures["clip_i"] = mean_cosine(pictured, self.encoders.clip.images(unit.subject.references))
            figures["clip_t"] = mean_cosine(pictured, self.encoders.clip.texts([unit.plain]))
            figures["dino"] = mean_cosine(self.encoders.dino.images(frames), self.encoders.dino.images(unit.subject.references))
        arm = unit.arm
        about = {"arm": slug, "name": arm.name, "axis": arm.axis, "value": arm.value}
        return {**about, "subject": unit.subject.name, "noun": unit.subject.noun, "prompt": unit.prompt, "seed": seed, **figures}

    def _learn(self, subject: Subject, learning: Learning, on_step: OnStep) -> Learnt:
        """Learn, or read back what was learnt."""
        if learning.method == "none":
            return Learnt()
        key = (learning.key, subject.name)
        if key not in self._learnt:
            self._learnt.clear()  # whole-UNet weights are large, and units come in the order in which they share them
            folder = self.folder / "trained" / learning.key / subject.name
            if not (folder / "done").is_file():
                self._train(subject, learning, folder, on_step)
            tokens, weights = folder / "tokens.safetensors", folder / "weights.safetensors"
            self._learnt[key] = Learnt(
                IdTokens.load(tokens) if tokens.is_file() else None, NetworkWeights.load(weights) if weights.is_file() else None
            )
        return self._learnt[key]

    def _train(self, subject: Subject, learning: Learning, folder: Path, on_step: OnStep) -> None:
        photos = (subject.shared if learning.shared_background else subject.photos)[: learning.photos]
        training = begin_training(learning.method, self.networks, photos, subject.noun, subject.token, learning.options)
        training.prepare(lambda *_: on_step())
        while not training.finished:
            training.step()
            on_step()
        folder.mkdir(parents=True, exist_ok=True)
        training.tokens().save(folder / "tokens.safetensors")
        if (weights := training.weights()) is not None:
            weights.save(folder / "weights.safetensors")
        write_atomic(folder / "done", b"")

    def _keep(self, slug: str, unit: Unit, frames: Frames) -> None:
        path = self.folder / "clips" / slug / f"{unit.path.rpartition('/')[2]}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.stem}.part.npz")
        np.savez_compressed(part, frames=frames)
        part.replace(path)

    def _row(self, unit: Unit | Following) -> Path:
        return self.folder / "rows" / f"{unit.path}.json"
