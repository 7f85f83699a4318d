"""Latent banks: what the denoisers are trained on, drawn and encoded once and kept on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

from vcd_studio.pocket.train.data import to_tensor
from vcd_studio.pocket.train.twins import twin, twin_captions
from vcd_studio.pocket.train.words import places
from vcd_studio.pocket.world import Identity, Shot, caption, render, sample_shot, sample_training_identity

CAPTIONS = 4  # wordings of each picture
FPS = 8.0
SEED = 82  # each pack has had pictures of its own, from 77 on


@dataclass
class Bank:
    """``latents`` (n, channels, height, width) or (n, channels, frames, height, width), fp16, already scaled; ``ids`` (n, 4, length);
    ``places`` (n, height, width), fp16: of pictures, where the words are to be seen (:mod:`.words`)."""

    latents: torch.Tensor
    ids: torch.Tensor
    places: torch.Tensor | None = None

    def draw(self, rng: np.random.Generator, count: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """``count`` random latents (float32) with one of their captions each, and the places of its words where they are known."""
        index = torch.from_numpy(rng.integers(len(self.latents), size=count))
        wording = torch.from_numpy(rng.integers(CAPTIONS, size=count))
        places = None if self.places is None else self.places[index].float().to(device)
        return self.latents[index].float().to(device), self.ids[index, wording].long().to(device), places


@dataclass
class TwinBank:
    """Like :class:`Bank`, but everything comes in twos that differ in one word: ``latents`` (n, 2, channels, …, height, width), ``ids``
    (n, 2, 4, length)."""

    latents: torch.Tensor
    ids: torch.Tensor

    def draw(self, rng: np.random.Generator, count: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """``count`` pictures or clips, the second half the first one's twins in the same order, as :meth:`Bank.draw` gives them.

        The places are where two twins differ, as much as they do: there is nothing else for their word to be seen in.
        """
        index = torch.from_numpy(rng.integers(len(self.latents), size=count // 2))
        wording = torch.from_numpy(rng.integers(CAPTIONS, size=count // 2))
        ids = torch.cat([self.ids[index, half, wording] for half in (0, 1)])
        z = self.latents[index].float()
        differs = (z[:, 0] - z[:, 1]).abs().mean(1)
        places = differs / differs.mean(tuple(range(1, differs.dim())), keepdim=True).clamp_min(1e-3)
        return z.transpose(0, 1).flatten(0, 1).to(device), ids.long().to(device), torch.cat([places, places]).to(device)


def tokenise(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """Token ids (n, model_max_length), padded and cut as everywhere."""
    length = tokenizer.model_max_length
    ids: torch.Tensor = tokenizer(captions, padding="max_length", truncation=True, max_length=length, return_tensors="pt").input_ids
    return ids


def wordings(identity: Identity, shot: Shot, rng: np.random.Generator) -> list[str]:
    return [caption(identity, shot, rng) for _ in range(CAPTIONS)]


@torch.inference_mode()
def encode(vae: AutoencoderKL, x: torch.Tensor) -> torch.Tensor:
    latents: torch.Tensor = vae.encode(x).latent_dist.mean * vae.config.scaling_factor
    return latents.half().cpu()


def picture_bank(folder: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, count: int, device: torch.device) -> Bank:
    """``count`` pictures with their captions; read back when ``folder`` already holds as many."""
    return _bank(folder / "pictures.pt", vae, tokenizer, count, device, frames=1)


def clip_bank(folder: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, count: int, frames: int, device: torch.device) -> Bank:
    """``count`` clips of ``frames`` frames."""
    return _bank(folder / "clips.pt", vae, tokenizer, count, device, frames)


def _bank(file: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, count: int, device: torch.device, frames: int) -> Bank:
    if file.exists():
        saved = torch.load(file, weights_only=True)
        if len(saved["ids"]) >= count:
            return Bank(saved["latents"], saved["ids"], saved.get("places"))
    latents, ids, where = [], [], []
    chunk = max(1, 64 // frames)
    for start in range(0, count, chunk):
        rng = np.random.default_rng([start, frames, SEED])
        images, texts, words = [], [], []
        for _ in range(chunk):
            identity = sample_training_identity(rng)
            shot = sample_shot(rng, identity)
            for time in [float(rng.uniform(0, 2))] if frames == 1 else [index / FPS for index in range(frames)]:
                picture = render(identity, shot, time)
                images.append(picture.image)
                if frames == 1:
                    words.append(places(identity, shot, time, picture))
            texts += wordings(identity, shot, rng)
        z = encode(vae, to_tensor(images).to(device))
        latents.append(z if frames == 1 else z.unflatten(0, (chunk, frames)).transpose(1, 2).contiguous())
        where += words
        ids.append(tokenise(tokenizer, texts).unflatten(0, (chunk, CAPTIONS)).to(torch.int16))
    bank = Bank(torch.cat(latents), torch.cat(ids), torch.from_numpy(np.stack(where)).half() if where else None)
    torch.save({name: kept for name, kept in vars(bank).items() if kept is not None}, file)
    return bank


def twin_bank(folder: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, count: int, device: torch.device, frames: int = 1) -> TwinBank:
    """``count`` pairs of pictures, or of clips of ``frames`` frames; read back when ``folder`` already holds as many."""
    file = folder / ("twins.pt" if frames == 1 else "twin_clips.pt")
    if file.exists():
        saved = torch.load(file, weights_only=True)
        if len(saved["ids"]) >= count:
            return TwinBank(saved["latents"], saved["ids"])
    latents, ids = [], []
    pairs = max(1, 32 // frames)
    for start in range(0, count, pairs):
        rng = np.random.default_rng([start, 2, SEED, *([] if frames == 1 else [frames])])
        images, texts = [], []
        for _ in range(pairs):
            identity = sample_training_identity(rng)
            one = (identity, sample_shot(rng, identity))
            pair = (one, twin(rng, *one))
            times = [float(rng.uniform(0, 2))] if frames == 1 else [index / FPS for index in range(frames)]
            images += [render(who, shot, time).image for who, shot in pair for time in times]
            texts += [text for wording in zip(*(twin_captions(rng, *pair) for _ in range(CAPTIONS)), strict=True) for text in wording]
        z = encode(vae, to_tensor(images).to(device)).unflatten(0, (pairs, 2, frames))
        latents.append(z[:, :, 0] if frames == 1 else z.transpose(2, 3).contiguous())
        ids.append(tokenise(tokenizer, texts).unflatten(0, (pairs, 2, CAPTIONS)).to(torch.int16))
    bank = TwinBank(torch.cat(latents), torch.cat(ids))
    torch.save(vars(bank), file)
    return bank
