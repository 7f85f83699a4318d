"""The pocket text encoder learns to read before anything is drawn: from a caption, tell who, doing what, where, in which colours.

SD's text encoder comes out of CLIP with words already told apart. Trained from nothing by the diffusion loss alone, pocket's spent
96 000 pictures without telling "dog" from "cat" (a wrong noun changed the loss by 0.03 %): the loss hardly feels such words. The
questions are asked at every position from the end of the text on, where a CLIP text encoder gathers what was said.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from vcd_studio.pocket.questions import QUESTIONS, answers
from vcd_studio.pocket.train import architectures
from vcd_studio.pocket.train.banks import tokenise
from vcd_studio.pocket.train.loop import Recipe, train
from vcd_studio.pocket.world import ACTIONS, BRIGHT, FUR, HAIR, KINDS, SCENES, caption, sample_shot, sample_training_identity


class Reader(nn.Module):
    """The text encoder under a linear answer to every question."""

    def __init__(self, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.answer = nn.Linear(architectures.WIDTH, sum(len(choices) for choices in QUESTIONS.values()))

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Token ids (n, length) → for each question the logits (positions from the end of the text on, choices)."""
        ended = ids == self.text_encoder.config.eos_token_id  # padding is the same token
        logits: torch.Tensor = self.answer(self.text_encoder(ids).last_hidden_state[ended])
        answered: tuple[torch.Tensor, ...] = logits.split([len(choices) for choices in QUESTIONS.values()], dim=-1)
        return answered


def train_text(folder: Path, tokenizer: CLIPTokenizer, steps: int, batch: int, device: torch.device) -> CLIPTextModel:
    text = architectures.text_encoder(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)
    model = Reader(text).to(device)

    def loss_at(rng: np.random.Generator) -> torch.Tensor:
        texts, truth = [], []
        for _ in range(batch):
            identity = sample_training_identity(rng)
            shot = sample_shot(rng, identity)
            texts.append(caption(identity, shot, rng))
            truth.append(answers(identity, shot))
        ids = tokenise(tokenizer, texts).to(device)
        repeats = (ids == tokenizer.eos_token_id).sum(1)
        expected = torch.tensor(truth, device=device).repeat_interleave(repeats, dim=0)
        losses = [F.cross_entropy(logits, expected[:, column]) for column, logits in enumerate(model(ids))]
        return torch.stack(losses).sum()

    train("text", model, loss_at, Recipe(steps, 1e-3, ema_decay=0.99), folder)
    model.text_encoder.save_pretrained(folder / "text_pretrained")
    return model.text_encoder


ALTERNATIVES = (
    KINDS,
    tuple(sorted({action for actions in ACTIONS.values() for action in actions})),
    tuple(sorted({*FUR, *BRIGHT, *HAIR})),
    tuple(scene for scene in SCENES if scene != "studio"),
    ("spots", "stripes", "patch"),
    ("cap", "beanie"),
    ("glasses", "beard", "hair", "collar", "shirt", "trousers", "skirt"),
)
"""Words of which one stands where another might: a picture shows which."""
LEAST_APART = 0.35
"""How far two captions are to be apart that differ in one such word, as a share of their prompt embeds' length."""


class Alternatives:
    """Captions, each with one word exchanged for another that excludes it.

    The diffusion loss hardly feels some words, and lets the text encoder pull them together: in pack 4 "running" and "walking" were 0.04
    apart, "cap" and "beanie" 0.17, "dog" and "cat" 0.11, a blue and a red shirt 0.34. Just these were mistaken for one another in what
    it drew, for a UNet cannot follow what it is hardly told.
    """

    def __init__(self, tokenizer: CLIPTokenizer, groups: Sequence[Sequence[str]] = ALTERNATIVES) -> None:
        self.others: dict[int, list[int]] = {}
        for group in groups:
            ids = [tokenizer.convert_tokens_to_ids(f"{word}</w>") for word in group]
            self.others |= {one: [other for other in ids if other != one] for one in ids}

    def exchanged(self, rng: np.random.Generator, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids (n, length) → the same with a word exchanged, and in which rows there was one (n,)."""
        changed, found = ids.clone(), torch.zeros(len(ids), dtype=torch.bool)
        for row, line in enumerate(ids.tolist()):
            places = [place for place, word in enumerate(line) if word in self.others]
            if places:
                place = places[int(rng.integers(len(places)))]
                choices = self.others[line[place]]
                changed[row, place] = choices[int(rng.integers(len(choices)))]
                found[row] = True
        return changed, found.to(ids.device)


def too_near(embeds: torch.Tensor, others: torch.Tensor, least: float = LEAST_APART) -> torch.Tensor:
    """Prompt embeds (n, length, width) of captions and of their alternatives → the mean squared lack of distance; 0 from ``least`` on."""
    gap = ((embeds - others).float().square().sum((1, 2)) + 1e-8).sqrt() / embeds.detach().float().square().sum((1, 2)).sqrt()
    lack: torch.Tensor = F.relu(least - gap).square()
    return lack.sum() / max(1, len(lack))


WORD_SIZE = 1 / 12
"""How much smaller the finished pack's words are than its training's."""


@torch.no_grad()
def resized(text: CLIPTextModel, factor: float) -> CLIPTextModel:
    """The same text encoder with words ``factor`` times as large: every sentence still means the same, to rounding.

    What is added into the residual stream (words, positions, the layers' outputs) is scaled, and the layer norms that read the stream
    take the factor out again. The optimiser of an identity's training steps by its learning rate whatever the size of a row; the pack's
    rows are made small enough that Stable Diffusion's 0.001 carries pocket's words as far.
    """
    outputs = [part for layer in text.encoder.layers for part in (layer.self_attn.out_proj, layer.mlp.fc2)]
    tables = [text.embeddings.token_embedding, text.embeddings.position_embedding]
    for parameter in [p for part in outputs + tables for p in part.parameters()]:
        parameter.mul_(factor)
    epsilon = text.config.layer_norm_eps * factor**2
    text.config.layer_norm_eps = epsilon
    for layer in text.encoder.layers:
        layer.layer_norm1.eps = layer.layer_norm2.eps = epsilon
    text.final_layer_norm.eps = epsilon
    return text
