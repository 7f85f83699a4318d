"""The other ways to teach a model an identity: the paper's rivals (Table 1), and what a user may train instead of, or with, ID tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from vcd_studio.method.augmentation import TrainingPhoto
from vcd_studio.method.finetuning.custom_diffusion import CustomDiffusionOptions, CustomDiffusionTraining
from vcd_studio.method.finetuning.dreambooth import DreamBoothOptions, DreamBoothTraining
from vcd_studio.method.finetuning.lora import LoraOptions, LoraTraining
from vcd_studio.method.finetuning.weights import NetworkWeights, worn
from vcd_studio.method.id_tokens import IdTokens
from vcd_studio.method.id_training import IdTraining, TrainingOptions
from vcd_studio.method.photo_training import PhotoTraining
from vcd_studio.method.protocols import LowRank, MethodError, Networks

__all__ = ["OPTIONS", "LowRank", "NetworkWeights", "begin_training", "worn"]

OPTIONS: Mapping[str, type] = {
    "tokens": TrainingOptions,
    "lora": LoraOptions,
    "dreambooth": DreamBoothOptions,
    "custom-diffusion": CustomDiffusionOptions,
}
_TRAININGS: Mapping[str, Any] = {
    "lora": LoraTraining,
    "dreambooth": DreamBoothTraining,
    "custom-diffusion": CustomDiffusionTraining,
}


def begin_training(
    method: str,
    networks: Networks,
    photos: Sequence[TrainingPhoto],
    noun: str,
    token: str,
    settings: Mapping[str, Any] | None = None,
    tokens: IdTokens | None = None,
) -> PhotoTraining:
    """A training by the method's name. Of ``settings`` each method takes what it has; ``tokens``: ID tokens to put into the prompts.

    Raises MethodError for an unknown name, and for tokens given to a training of tokens.
    """
    if method not in OPTIONS:
        raise MethodError(f'There is no training method "{method}"; choose {", ".join(OPTIONS)}.')
    known = {field.name for field in fields(OPTIONS[method])}
    options = OPTIONS[method](**{name: value for name, value in (settings or {}).items() if name in known})
    if method == "tokens":
        if tokens is not None:
            raise MethodError("A training of ID tokens begins at the noun, not at other tokens: leave them out.")
        return IdTraining(networks, photos, noun, token, options)
    training: PhotoTraining = _TRAININGS[method](networks, photos, noun, token, options, tokens)
    return training
