"""The pocket text encoder learns to read before anything is drawn: from a caption, tell who, doing what, where, in which colours.

SD's text encoder comes out of CLIP with words already told apart. Trained from nothing by the diffusion loss alone, pocket's spent
96 000 pictures without telling "dog" from "cat" (a wrong noun changed the loss by 0.03 %): the loss hardly feels such words. The
questions are asked at every position from the end of the text on, where a CLIP text encoder gathers what was said.
"""

from __future__ import annotations

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
from vcd_studio.pocket.world import caption, sample_shot, sample_training_identity


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
