"""Pocket's CLIP (Radford et al. 2021): renders and their captions into one space, for CLIP-I, CLIP-T and their temporal consistency."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from vcd_studio.evaluation.encoders import ImageTextEncoder, Picture
from vcd_studio.pocket.train.architectures import TEXT_LENGTH, WIDTH
from vcd_studio.pocket.train.banks import tokenise
from vcd_studio.pocket.train.data import sample, to_tensor
from vcd_studio.pocket.train.loop import Recipe, train
from vcd_studio.pocket.train.oracle import spoil
from vcd_studio.pocket.world import caption, render, sample_held_out_identity, sample_shot

SIZE = 64
CHOICES = 32
"""Captions that a picture's own is found among, and pictures that a caption's own is found among."""


def architecture(vocabulary: int, bos: int, eos: int) -> CLIPModel:
    """1.3 M parameters: the pack's own text encoder, and a ViT of the same width on 8-pixel patches."""
    towers = {"hidden_size": WIDTH, "intermediate_size": 3 * WIDTH, "num_attention_heads": 4}
    text = {
        **towers, "vocab_size": vocabulary, "num_hidden_layers": 3, "max_position_embeddings": TEXT_LENGTH,
        "bos_token_id": bos, "eos_token_id": eos, "pad_token_id": eos,
    }  # fmt: skip
    vision = {**towers, "image_size": SIZE, "patch_size": 8, "num_hidden_layers": 4}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH))


def write_preprocessing(folder: Path, kind: str) -> None:
    """Pictures of ``SIZE`` pixels in −1..1, as transformers' image processors (``kind``: "CLIP" or "ViT") write it down."""
    square = {"height": SIZE, "width": SIZE}
    crop = {"size": {"shortest_edge": SIZE}, "do_center_crop": True, "crop_size": square} if kind == "CLIP" else {"size": square}
    asked = {
        "image_processor_type": f"{kind}ImageProcessor", "do_resize": True, "resample": 3, "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, **crop,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(asked, indent=2) + "\n")


def example(rng: np.random.Generator) -> tuple[Picture, str]:
    """A training picture in which the subject is to be seen, and its caption."""
    while True:
        identity, shot, picture = sample(rng, SIZE)
        if picture.box is not None:
            return picture.image, caption(identity, shot, rng)


def train_clip(
    folder: Path, tokenizer: CLIPTokenizer, steps: int, batch: int, device: torch.device, half: bool = False, begun: CLIPModel | None = None
) -> CLIPModel:
    """Symmetric contrastive loss over a batch of pictures and captions. Ends in ``folder/clip``, tokenizer and preprocessing included."""
    model = begun or architecture(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)
    model.to(device)

    def loss_at(rng: np.random.Generator) -> torch.Tensor:
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        images, captions = zip(*(example(rng) for _ in range(batch)), strict=True)
        ids = tokenise(tokenizer, list(captions))
        longest = int((ids != tokenizer.pad_token_id).sum(1).max()) + 1  # the rest is padding, which nothing before it sees
        x = spoil(to_tensor(list(images)), rng)
        loss: torch.Tensor = model(input_ids=ids[:, :longest].to(device), pixel_values=x.to(device), return_loss=True).loss
        return loss

    train("clip", model, loss_at, Recipe(steps, 5e-4 if begun else 1e-3, warm_up=100, ema_decay=0.998), folder, half=half)
    model.save_pretrained(folder / "clip")
    tokenizer.save_pretrained(folder / "clip")
    write_preprocessing(folder / "clip", "CLIP")
    return model


def figures(folder: Path, groups: int = 8) -> dict[str, float]:
    """How often ``folder`` (a CLIP) finds a held-out picture's caption among ``CHOICES``, and a caption's picture."""
    encoder = ImageTextEncoder.load(folder)
    rng = np.random.default_rng(606)
    found_text, found_image = [], []
    for _ in range(groups):
        images: list[Picture] = []
        captions: list[str] = []
        while len(images) < CHOICES:
            identity = sample_held_out_identity(rng)
            shot = sample_shot(rng, identity)
            picture = render(identity, shot, float(rng.uniform(0, 2)), SIZE)
            if picture.box is not None:
                images.append(picture.image)
                captions.append(caption(identity, shot, rng))
        cosines = encoder.images(images) @ encoder.texts(captions).T
        found_text.append((cosines.argmax(1) == np.arange(CHOICES)).mean())
        found_image.append((cosines.argmax(0) == np.arange(CHOICES)).mean())
    return {
        f"CLIP: caption found among {CHOICES}": float(np.mean(found_text)),
        f"CLIP: picture found among {CHOICES}": float(np.mean(found_image)),
    }
