"""Grounding DINO (Liu et al. 2023): boxes of what a noun names, whatever the noun.

Two back ends for the same network: its authors' own (package groundingdino-py) for the files they publish, Swin-T and Swin-B, and
transformers' for folders in its layout. Both see the same picture and the same words, and what they give is read alike.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from accelerate import init_empty_weights
from PIL import Image
from torch import nn
from transformers import BertConfig, BertModel, BertTokenizer, GroundingDinoForObjectDetection

from vcd_studio.catalog.vocabulary import read_vocabulary
from vcd_studio.method.protocols import Box, MethodError
from vcd_studio.models.folders import from_folder
from vcd_studio.models.single_files import load_state, recognised, told

BERT = Path(__file__).parent / "configs" / "bert"
"""bert-base-uncased's config; its weights are in Grounding DINO's file, its vocabulary is the person's."""
CONFIGS = {"Swin-T": "GroundingDINO_SwinT_OGC", "Swin-B": "GroundingDINO_SwinB_cfg"}
"""The published files' hyperparameters, which the package carries as modules."""
SHORTEST, LONGEST = 800, 1333
"""Pixels of a picture's sides, as in training."""
THINNEST = 64
"""Pixels: the network picks 900 places of a picture, and a strip of 32 by 1333 has 899."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LONGEST_NOUN = 80
"""Letters: the network reads 256 tokens, and the longest letter (a Hangul syllable) is three."""


class GroundingDino(nn.Module):
    """A network with its words; :meth:`look` is what the two back ends differ in."""

    def __init__(self, network: nn.Module, tokenizer: Any) -> None:
        super().__init__()
        self.network, self.tokenizer = network, tokenizer

    def look(self, pixels: torch.Tensor, caption: str) -> tuple[torch.Tensor, torch.Tensor]:
        """(1, 3, height, width) and words to logits (queries, 256), one a token, and boxes (queries, 4): centre and size, 0..1."""
        raise NotImplementedError

    @torch.inference_mode()
    def ground(self, image: Image.Image, noun: str, box_threshold: float = 0.3, text_threshold: float = 0.25) -> list[Box]:
        """Boxes of ``noun`` in ``image``, best first. A box's score is its best token's, its label the tokens over ``text_threshold``."""
        caption = caption_of(noun)
        weight = next(self.network.parameters())
        logits, boxes = self.look(pixels_of(image).to(weight), caption)
        tokens = self.tokenizer(caption)["input_ids"]
        scores = logits[:, : len(tokens)].sigmoid()
        best, order = scores.amax(1).sort(descending=True)
        chosen = order[best > box_threshold]
        corners = corners_of(boxes[chosen], image.size).tolist()
        said = (scores[chosen] > text_threshold).tolist()
        labels = [self.tokenizer.decode([*compress(tokens, says)], skip_special_tokens=True).replace(".", "").strip() for says in said]
        found = zip(corners, best[best > box_threshold].tolist(), labels, strict=True)
        return [Box(left, top, right, bottom, score, label) for (left, top, right, bottom), score, label in found]


class OriginalGroundingDino(GroundingDino):
    """By the authors' own network, which tokenizes for itself."""

    def look(self, pixels: torch.Tensor, caption: str) -> tuple[torch.Tensor, torch.Tensor]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # it calls torch by old names
            seen = self.network(pixels, captions=[caption])
        return seen["pred_logits"][0], seen["pred_boxes"][0]


class TransformersGroundingDino(GroundingDino):
    def look(self, pixels: torch.Tensor, caption: str) -> tuple[torch.Tensor, torch.Tensor]:
        words = self.tokenizer(caption, return_tensors="pt").to(pixels.device)
        seen = self.network(pixel_values=pixels, **words)
        return seen.logits[0], seen.pred_boxes[0]


def caption_of(noun: str) -> str:
    """One phrase, lower-case, with a full stop: what the network was trained on. Inside a noun a stop would make two phrases of it."""
    readable = "".join(letter if letter.isprintable() and letter not in ".?" else " " for letter in noun.lower())
    return " ".join(readable.split())[:LONGEST_NOUN] + "."


def pixels_of(image: Image.Image) -> torch.Tensor:
    """(1, 3, height, width): the shortest side 800 pixels, the longest 1333 at most, as ImageNet's mean and deviation have it."""
    scale = min(SHORTEST / min(image.size), LONGEST / max(image.size))
    width, height = (max(THINNEST, round(side * scale)) for side in image.size)
    small = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 255
    return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def corners_of(boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(n, 4) of centre and size, 0..1, to left, top, right and bottom in the pixels of a picture of ``size``, none outside of it."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat([centre - half, centre + half], 1).clamp(0, 1) * torch.tensor(size * 2, device=boxes.device)


class PhraseBert(BertModel):  # type: ignore[misc]
    """BERT whose tokens see those of their own phrase alone: its mask is (n, tokens, tokens)."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **rest: Any) -> Any:
        return super().forward(input_ids, attention_mask[:, None], **rest)


def hyperparameters(backbone: str) -> SimpleNamespace:
    """Of the published files, as the package has them; checkpointing saves memory in training alone."""
    module = importlib.import_module(f"groundingdino.config.{CONFIGS[backbone]}")
    return SimpleNamespace(**vars(module) | {"use_checkpoint": False, "use_transformer_ckpt": False})


def build_original(config: SimpleNamespace, bert: BertConfig, tokenizer: Any) -> nn.Module:
    """The authors' network without weights: where it would fetch BERT, and wrap it as transformers before 5 could be, stands ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls timm and torch by old names
        from groundingdino.models.GroundingDINO import groundingdino as package

        ours = SimpleNamespace(get_tokenlizer=lambda _: tokenizer, get_pretrained_language_model=lambda _: PhraseBert(bert))
        with replaced(package, get_tokenlizer=ours, BertModelWarper=lambda bert_model: bert_model), init_empty_weights():
            return cast(nn.Module, package.build_groundingdino(config))


@contextmanager
def replaced(module: Any, **ours: Any) -> Iterator[None]:
    """Within it, these names of a module are ours."""
    theirs = {name: getattr(module, name) for name in ours}
    vars(module).update(ours)
    try:
        yield
    finally:
        vars(module).update(theirs)


def load_grounding_dino(place: Path, vocabulary: Path | None) -> GroundingDino:
    """Grounding DINO out of its authors' file (extra ``grounded-sam``) or transformers' folder.

    In 32 bits whatever the pack is in: its authors' deformable attention knows no other, and it looks at few pictures.
    """
    words = read_vocabulary(vocabulary) if vocabulary is not None else None
    if words is None:
        raise MethodError(f"{place} needs the vocabulary of bert-base-uncased; name its vocab.txt under [parts] as bert.")
    tokenizer = BertTokenizer(vocab=words)
    if place.is_dir():
        with told(place, "Grounding DINO"):
            network = from_folder(GroundingDinoForObjectDetection, place, torch.float32)
        return TransformersGroundingDino(network, tokenizer).eval().requires_grad_(False)
    return OriginalGroundingDino(_original(place, tokenizer), tokenizer).eval().requires_grad_(False)


def _original(path: Path, tokenizer: Any) -> nn.Module:
    backbone = recognised(path, "grounding").facts["backbone"]
    try:
        network = build_original(hyperparameters(backbone), BertConfig.from_pretrained(BERT), tokenizer)
    except ImportError as error:
        raise MethodError(f"{path} needs groundingdino-py; pip install 'vcd-studio[grounded-sam]'.") from error
    with told(path, "Grounding DINO"):
        state = {key.removeprefix("model."): value for key, value in load_state(path).items()}
        missing, unexpected = network.load_state_dict(state, strict=False, assign=True)
    if missing := [key for key in missing if not key.endswith("relative_position_index")]:  # which is counted, not learnt
        raise MethodError(f"{path} lacks {missing[0]} and {len(missing) - 1} more of Grounding DINO's weights; download it again.")
    if unexpected := [key for key in unexpected if key not in UNUSED]:
        raise MethodError(f"{path} holds {unexpected[0]}, which Grounding DINO does not have.")
    return network.float()


UNUSED = {"label_enc.weight", "bert.embeddings.position_ids"}
"""In the published files, from training and from BERT's earlier days."""
