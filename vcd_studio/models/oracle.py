"""The oracle: a network that reads off a pocket picture who is in it. Known truth makes it the absolute judge of identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from vcd_studio.method.protocols import Frames
from vcd_studio.models.centre_detector import Residual, conv


class Oracle(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """(n, 3, any, any) in −1..1 → logits (n, all choices) and measures (n, measures) in 0..1.

    ``questions`` are names with their possible answers, in the order of the logits (a list: config files sort mappings); ``measures``
    names the continuous ones. Pictures are read at ``size`` pixels: twice pocket's own, so that what Tiled adds can be seen.
    """

    config_name = "config.json"

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        questions: Sequence[tuple[str, Sequence[str]]] = (),
        measures: Sequence[str] = (),
        widths: Sequence[int] = (24, 48, 96, 160),
        size: int = 128,
    ) -> None:
        super().__init__()
        a, b, c, d = widths
        choices = sum(len(known) for _, known in questions)
        self.body = nn.Sequential(
            conv(3, a, 2), conv(a, b, 2), Residual(b), conv(b, c, 2), Residual(c), Residual(c), conv(c, d, 2), Residual(d), Residual(d)
        )  # fmt: skip
        # What is where matters (a red shirt over blue trousers): an attention pool per question group keeps it, a mean would not.
        self.look = nn.Conv2d(d, 16, 1)
        self.head = nn.Sequential(nn.Linear(16 * d, 384), nn.SiLU(), nn.Linear(384, choices + len(measures)))

    @property
    def questions(self) -> dict[str, Sequence[str]]:
        return dict(self.config["questions"])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        size = int(self.config["size"])
        if x.shape[-1] != size or x.shape[-2] != size:
            x = F.interpolate(x, size=(size, size), mode="bilinear", antialias=x.shape[-1] > size)
        y = self.body(x)
        weights = self.look(y).flatten(2).softmax(-1)  # (n, 16, places)
        seen = torch.einsum("nkp,ncp->nkc", weights, y.flatten(2)).flatten(1)
        out = self.head(seen)
        measures = len(self.config["measures"])
        return out[:, : out.shape[1] - measures], out[:, out.shape[1] - measures :].sigmoid()

    @torch.inference_mode()
    def read(self, frames: Frames, batch: int = 32) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Of each frame: log-probabilities (frames, answers) of each question, and values (frames,) of each measure."""
        logits: list[torch.Tensor] = []
        values: list[torch.Tensor] = []
        for part in torch.from_numpy(frames).split(batch):
            x = part.permute(0, 3, 1, 2).to(self.device, self.dtype) / 127.5 - 1
            for made, kept in zip(self(x), (logits, values), strict=True):
                kept.append(made.float().cpu())
        sizes = [len(known) for known in self.questions.values()]
        told = {name: part.log_softmax(-1) for name, part in zip(self.questions, torch.cat(logits).split(sizes, -1), strict=True)}
        return told, dict(zip(self.config["measures"], torch.cat(values).unbind(-1), strict=True))

    def answers(self, frames: Frames) -> dict[str, str]:
        """The likeliest answer to each question over a whole clip: frames' log-probabilities are summed."""
        return self.answered(self.read(frames)[0])

    def answered(self, told: Mapping[str, torch.Tensor]) -> dict[str, str]:
        """The same from what :meth:`read` told."""
        return {name: self.questions[name][int(logits.sum(0).argmax())] for name, logits in told.items()}
