"""Does a pack draw what the prompt says? Captions of held-out pocket identities become clips, and the oracle reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from vcd_studio.method.protocols import Frames
from vcd_studio.models.oracle import Oracle
from vcd_studio.pocket.questions import said
from vcd_studio.pocket.world import Framing, Identity, Shot, caption, render, sample_held_out_identity, sample_shot

HIDDEN_IN_CLOSE_UPS = {"action", "lower", "second", "pattern"}
"""What a close up shows in part or not at all, so that nothing can be read off it."""

FRAMES, FPS = 16, 8.0


@dataclass(frozen=True)
class Asked:
    """One prompt, what it says that can be seen in its framing (question → answer), and whom and what it was written of."""

    prompt: str
    told: Mapping[str, str]
    identity: Identity
    shot: Shot

    def true_clip(self) -> Frames:
        """The clip that the prompt describes, as the world draws it."""
        return np.stack([render(self.identity, self.shot, index / FPS).image for index in range(FRAMES)])


def prompts(count: int, seed: int = 0) -> Iterator[Asked]:
    """``count`` captions of held-out identities, medium (7 in 10) and close up; the far ones are Face VCD's matter."""
    rng = np.random.default_rng([seed, 515])
    for _ in range(count):
        identity = sample_held_out_identity(rng)
        framing: Framing = "close up" if rng.random() < 0.3 else "medium"
        shot = sample_shot(rng, identity, framing)
        text = caption(identity, shot, rng)
        told = said(text, identity, shot)
        hidden = HIDDEN_IN_CLOSE_UPS if framing == "close up" else set()
        yield Asked(text, {question: answer for question, answer in told.items() if question not in hidden}, identity, shot)


def judge(clip: Frames, asked: Asked, oracle: Oracle) -> dict[str, bool | None]:
    """For each thing said: whether the oracle reads it off the clip. None where it does not read it off the true clip either, as with
    a black collar on a black dog: what such a clip says of the pack is nothing."""
    seen, legible = oracle.answers(clip), oracle.answers(asked.true_clip())
    return {question: seen[question] == answer if legible[question] == answer else None for question, answer in asked.told.items()}
