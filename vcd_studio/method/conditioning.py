"""Words to prompt embeds: once per clip, for every frame and for the guidance's empty side together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vcd_studio.method.id_tokens import IdTokens, expand, install
from vcd_studio.method.protocols import Networks


@dataclass(frozen=True)
class Conditioning:
    """Prompt embeds (1 or frames, length, width), and those of the negative prompt."""

    positive: Tensor
    negative: Tensor

    def batches(self, clips: int = 1) -> Callable[[slice, bool], Tensor]:
        """``batch``, made once for each run of frames, guided or not: asked again, the very same tensor comes back."""
        made: dict[tuple[int, int, bool], Tensor] = {}

        def of(frames: slice, guided: bool) -> Tensor:
            same = len(self.positive) == len(self.negative) == 1
            begin, end = (0, frames.stop - frames.start) if same else (frames.start, frames.stop)
            key = (begin, end, guided)
            if key not in made:
                made[key] = self.batch(slice(begin, end), guided, clips)
            return made[key]

        return of

    def batch(self, frames: slice, guided: bool, clips: int = 1) -> Tensor:
        """((2 ·) clips · frames, length, width): negative first, then positive, as diffusers orders them."""
        sides = [self.negative, self.positive] if guided else [self.positive]
        count = frames.stop - frames.start
        rows = [side.expand(count, -1, -1) if len(side) == 1 else side[frames] for side in sides]
        return torch.stack(rows).repeat_interleave(clips, 0).flatten(0, 1)


def text_length(networks: Networks) -> int:
    """How many tokens the text encoder reads, start and end included."""
    return min(int(networks.tokenizer.model_max_length), int(networks.text_encoder.config.max_position_embeddings))


def token_ids(prompt: str, networks: Networks) -> Tensor:
    """(1, length): padded and cut to what the text encoder reads, as diffusers does."""
    length = text_length(networks)
    ids = networks.tokenizer(prompt, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
    return torch.as_tensor(ids).to(networks.device)


def words_left_out(prompt: str, networks: Networks, tokens: Sequence[IdTokens] = ()) -> int:
    """How many tokens of a prompt the text encoder will not read, because it is too long."""
    return max(len(networks.tokenizer(expand(prompt, tokens)).input_ids) - text_length(networks), 0)


def encode(prompt: str, networks: Networks, tokens: Sequence[IdTokens] = ()) -> Tensor:
    """Prompt embeds (1, length, width). Each ID token written in the prompt becomes its K tokens and its noun."""
    for identity in tokens:
        install(identity, networks.tokenizer, networks.text_encoder)
    with torch.inference_mode():
        embeds: Tensor = networks.text_encoder(token_ids(expand(prompt, tokens), networks))[0]
        return embeds.to(networks.dtype)


def condition(networks: Networks, prompt: str, negative: str = "", tokens: Sequence[IdTokens] = ()) -> Conditioning:
    """What a clip is conditioned on: its prompt and its negative prompt, encoded once."""
    return Conditioning(encode(prompt, networks, tokens), encode(negative, networks, tokens))
