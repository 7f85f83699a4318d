"""Identity by the oracle: how much of what makes an individual is read off pictures of it. The absolute judge in the pocket world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from vcd_studio.pocket.questions import MEASURES as ALL_MEASURES
from vcd_studio.pocket.questions import QUESTIONS, answers, measures, measures_of, questions_of
from vcd_studio.pocket.world import Identity, Shot

HEAD = ("hair", "hat", "hat colour", "glasses", "beard", "fur")
"""What a face shows: what Face VCD can bring back."""


@dataclass(frozen=True)
class Reading:
    """``right``: each question about this individual, whether its true answer was read; ``colour_error``: mean distance of its true
    colours and shape from those read, 0..1; ``surety``: mean probability given to the true answers."""

    right: dict[str, bool]
    colour_error: float
    surety: float

    @property
    def share(self) -> float:
        """The share of right answers, 0..1."""
        return float(np.mean(list(self.right.values())))

    @property
    def head(self) -> float | None:
        """The share over what a face shows."""
        told = [value for question, value in self.right.items() if question in HEAD]
        return float(np.mean(told)) if told else None


Told = dict[str, Tensor]
"""What the oracle says of a clip: log-probabilities (frames, answers) of each question."""


def read_identity(told: Told, values: dict[str, Tensor], identity: Identity) -> Reading:
    """What ``oracle.read`` told of a clip (or pictures) of ``identity``: each answer from the log-probabilities of all frames together."""
    shot = Shot("studio", "walking", "medium")  # no question of questions_of() is about the shot
    truth = dict(zip(QUESTIONS, answers(identity, shot), strict=True))
    asked = questions_of(identity)
    right = {question: int(told[question].sum(0).argmax()) == truth[question] for question in asked}
    surety = float(np.mean([float(told[question][:, truth[question]].exp().mean()) for question in asked]))
    known = dict(zip(ALL_MEASURES, measures(identity), strict=True))
    errors = [abs(float(values[name].mean()) - known[name]) for name in measures_of(identity)]
    return Reading(right, float(np.mean(errors)), surety)


def likelihood(told: Told, identity: Identity) -> float:
    """Mean log-probability that the oracle gives to the true answers about ``identity``, over questions and frames."""
    truth = dict(zip(QUESTIONS, answers(identity, Shot("studio", "walking", "medium")), strict=True))
    return float(np.mean([float(told[question][:, truth[question]].mean()) for question in questions_of(identity)]))


def recognised(told: Told, identity: Identity, among: Sequence[Identity]) -> bool:
    """Whether the clip looks more like ``identity`` than like any of the others."""
    return likelihood(told, identity) >= max(likelihood(told, other) for other in among)
