"""The networks behind the metrics (paper section 5): CLIP and a self-supervised ViT, transformers' own, from a folder or a hub."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, normalize, pad
from transformers import AutoConfig, AutoImageProcessor, CLIPModel, CLIPTokenizer, Dinov2Model, ViTModel

from vcd_studio.method.protocols import MethodError

Picture: TypeAlias = NDArray[np.uint8]
"""(height, width, 3), 0..255."""
Embeddings: TypeAlias = NDArray[np.float32]
"""(n, d), each row of length 1."""

RESAMPLING = {2: "bilinear", 3: "bicubic"}
"""The two of PIL's numbers that CLIP, DINO and DINOv2 are published with."""


@dataclass(frozen=True)
class Preprocessing:
    """What a network wants done to a picture first. ``resize`` is a short side, or (height, width); ``crop`` (height, width)."""

    resize: int | tuple[int, int] | None
    crop: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resample: str = "bicubic"
    scale: float = 1 / 255

    @classmethod
    def read(cls, place: str, config: Any) -> Preprocessing:
        """From the network's preprocessor_config.json, else from its ``config``. MethodError where neither says it."""
        try:
            asked = AutoImageProcessor.from_pretrained(place, local_files_only=Path(place).is_dir())
        except (OSError, ValueError) as error:
            size, mean, std = (getattr(config, key, None) for key in ("image_size", "image_mean", "image_std"))
            if size is None or mean is None or std is None:
                raise MethodError(
                    f"The network {place} does not say how it wants its pictures; put its preprocessor_config.json beside its config.json."
                ) from error
            side = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
            return cls(side, None, tuple(mean), tuple(std))
        if asked.do_resize and asked.resample not in RESAMPLING:
            raise MethodError(f"The network {place} asks for PIL's resampling {asked.resample}; 2 (bilinear) and 3 (bicubic) are known.")
        normalised = asked.do_normalize
        return cls(
            resize=_side(place, asked.size) if asked.do_resize else None,
            crop=(int(asked.crop_size["height"]), int(asked.crop_size["width"])) if asked.do_center_crop else None,
            mean=tuple(asked.image_mean) if normalised else (0.0, 0.0, 0.0),
            std=tuple(asked.image_std) if normalised else (1.0, 1.0, 1.0),
            resample=RESAMPLING.get(int(asked.resample), "bicubic") if asked.do_resize else "bicubic",
            scale=float(asked.rescale_factor) if asked.do_rescale else 1.0,
        )

    def __call__(self, picture: Picture) -> Tensor:
        """(3, height, width), float: resized as PIL would, cropped at the centre (padded with black where too small), normalised."""
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise MethodError(f"A picture is uint8 (height, width, 3), not {picture.dtype} {picture.shape}; convert it to RGB first.")
        # In uint8 torch resizes with PIL's arithmetic: one way, whole numbers, then the other. In float it would not.
        x = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
        size = self._size(x.shape[2], x.shape[3])
        if size != tuple(x.shape[2:]):
            x = interpolate(x, size=size, mode=self.resample, antialias=True, align_corners=False)
        if self.crop:
            x = _centre_crop(x, *self.crop)
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (x[0].float() * self.scale - mean) / std

    def _size(self, height: int, width: int) -> tuple[int, int]:
        if not isinstance(self.resize, int):
            return self.resize or (height, width)
        short, long = sorted((height, width))
        other = int(self.resize * long / short)
        return (self.resize, other) if height <= width else (other, self.resize)


def _side(place: str, size: Any) -> int | tuple[int, int]:
    if size.get("shortest_edge") and not size.get("longest_edge"):
        return int(size["shortest_edge"])
    if size.get("height") and size.get("width"):
        return int(size["height"]), int(size["width"])
    raise MethodError(f"The network {place} asks for pictures of size {size}; a shortest_edge, or a height and a width, is known.")


def _centre_crop(x: Tensor, height: int, width: int) -> Tensor:
    """Of (n, 3, h, w); where that is smaller, black all around."""
    missing = [max(0, wanted - there) for wanted, there in ((width, x.shape[3]), (height, x.shape[2]))]
    if any(missing):
        x = pad(x, [side for m in missing for side in (math.ceil(m / 2), m // 2)])
    top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
    return x[:, :, top : top + height, left : left + width]


class ImageEncoder:
    """Pictures to embeddings: the CLS token of a ViT (DINO ViT-S/16, DINOv2, pocket's own)."""

    def __init__(self, network: Any, preprocessing: Preprocessing, name: str, batch: int = 32) -> None:
        self.network = network.eval().requires_grad_(False)
        self.preprocessing = preprocessing
        self.name = name
        self.batch = batch

    @classmethod
    def load(cls, place: str | Path, device: torch.device | str = "cpu", batch: int = 32) -> Self:
        """``place`` is a folder in transformers' layout, or a hub name ("facebook/dino-vits16"). MethodError where it cannot be read."""
        config = _config(str(place))
        if config.model_type == "vit":
            network = _weights(ViTModel, str(place), device, add_pooling_layer=False)
        elif config.model_type == "dinov2":
            network = _weights(Dinov2Model, str(place), device)
        else:
            raise MethodError(f'The network {place} is a "{config.model_type}"; a "vit" (DINO) or a "dinov2" is wanted here.')
        return cls(network, Preprocessing.read(str(place), config), str(place), batch)

    def images(self, frames: Iterable[Picture]) -> Embeddings:
        """(n, d) of n pictures, which may differ in size and come from an iterator; ``batch`` of them are held prepared at a time."""
        with torch.inference_mode():
            rows = [_unit(self._embed(torch.stack(x).to(self.network.device))) for x in self._prepared(frames)]
        if not rows:
            raise MethodError("There is no picture to look at; give at least one.")
        return np.concatenate(rows)

    @cached_property
    def fingerprint(self) -> str:
        """Changes when anything changes that the embeddings depend on: the weights, or what is done to the pictures first."""
        digest = hashlib.sha256(self._about().encode())
        for key, tensor in sorted(self.network.state_dict().items()):
            digest.update(f"{key} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy())
        return digest.hexdigest()

    def _about(self) -> str:
        """What the embeddings depend on beside the weights."""
        return repr((type(self.network).__name__, self.preprocessing))

    def _prepared(self, frames: Iterable[Picture]) -> Iterator[list[Tensor]]:
        waiting = iter(frames)
        while chunk := [self.preprocessing(frame) for frame in islice(waiting, self.batch)]:
            yield chunk

    def _embed(self, x: Tensor) -> Tensor:
        embedded: Tensor = self.network(pixel_values=x).last_hidden_state[:, 0]
        return embedded


class ImageTextEncoder(ImageEncoder):
    """Pictures and words to embeddings of one space: CLIP (openai/clip-vit-*, pocket's own)."""

    def __init__(self, network: Any, preprocessing: Preprocessing, name: str, tokenizer: Any, batch: int = 32) -> None:
        super().__init__(network, preprocessing, name, batch)
        self.tokenizer = tokenizer

    @classmethod
    def load(cls, place: str | Path, device: torch.device | str = "cpu", batch: int = 32) -> Self:
        """``place`` is a folder in transformers' layout, tokenizer included, or a hub name. MethodError where it cannot be read."""
        config = _config(str(place))
        if config.model_type != "clip":
            raise MethodError(f'The network {place} is a "{config.model_type}"; a "clip" is wanted here.')
        network = _weights(CLIPModel, str(place), device)
        try:
            tokenizer = CLIPTokenizer.from_pretrained(str(place), local_files_only=Path(place).is_dir())
        except (OSError, ValueError, TypeError) as error:
            raise MethodError(f"The tokenizer of {place} cannot be read; put its vocab.json and merges.txt beside its weights.") from error
        return cls(network, Preprocessing.read(str(place), config.vision_config), str(place), tokenizer, batch)

    def texts(self, texts: Sequence[str]) -> Embeddings:
        """(n, d) of n texts; what is longer than the text encoder reads is cut."""
        if not texts:
            raise MethodError("There is no text to read; give at least one.")
        length = min(int(self.tokenizer.model_max_length), int(self.network.config.text_config.max_position_embeddings))
        rows = []
        with torch.inference_mode():
            for start in range(0, len(texts), self.batch):
                chunk = list(texts[start : start + self.batch])
                tokens = self.tokenizer(chunk, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
                read = self.network.text_model(input_ids=tokens.input_ids.to(self.network.device))
                rows.append(_unit(self.network.text_projection(read.pooler_output)))
        return np.concatenate(rows)

    def _about(self) -> str:
        return super()._about() + json.dumps(sorted(self.tokenizer.get_vocab().items()))

    def _embed(self, x: Tensor) -> Tensor:
        # Not get_image_features: what that returns differs between transformers' versions.
        embedded: Tensor = self.network.visual_projection(self.network.vision_model(pixel_values=x).pooler_output)
        return embedded


def _unit(x: Tensor) -> Embeddings:
    rows: Embeddings = normalize(x.float(), dim=-1).cpu().numpy()
    return rows


def _config(place: str) -> Any:
    try:
        return AutoConfig.from_pretrained(place, local_files_only=Path(place).is_dir())
    except (OSError, ValueError, KeyError) as error:
        raise MethodError(
            f"The network {place} cannot be read ({str(error).splitlines()[0]}); give a folder in transformers' layout, or a hub name."
        ) from error


def _weights(network: Any, place: str, device: torch.device | str, **options: Any) -> Any:
    """In fp32, whatever the file holds. MethodError where a weight is missing: transformers would draw it at random."""
    try:
        loaded, report = network.from_pretrained(
            place, dtype=torch.float32, local_files_only=Path(place).is_dir(), output_loading_info=True, **options
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise MethodError(f"The weights of {place} cannot be read ({str(error).splitlines()[0]}); copy them there again.") from error
    if report["missing_keys"]:
        raise MethodError(f"The weights of {place} lack {min(report['missing_keys'])}; copy the whole network there again.")
    return loaded.to(device)
