"""Segment Anything (Kirillov et al. 2023) and MobileSAM: a box becomes the mask of what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import init_empty_weights
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from vcd_studio.method.protocols import Box, MethodError
from vcd_studio.models.single_files import load_state, recognised, told
from vcd_studio.models.tiny_vit import TinyViT

BUILDERS = {"ViT-B": "vit_b", "ViT-L": "vit_l", "ViT-H": "vit_h"}
CLASSIFIER = ("image_encoder.head.", "image_encoder.norm_head.")
"""TinyViT's own classifier, which MobileSAM's file carries along unused."""


class SamSegmenter(nn.Module):
    """One picture's embedding is kept, so that a second box on the same picture costs next to nothing."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self._embedded: tuple[bytes, torch.Tensor] | None = None

    @torch.inference_mode()
    def segment(self, image: Image.Image, box: Box) -> NDArray[np.float32]:
        """(height, width): how surely each pixel belongs to what is in the box, 0..1."""
        side = int(self.network.image_encoder.img_size)
        scale = side / max(image.size)
        width, height = (max(1, round(length * scale)) for length in image.size)
        embedding = self._embedding(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR), side)
        corners = torch.tensor([[box.left, box.top, box.right, box.bottom]], device=embedding.device) * scale
        sparse, dense = self.network.prompt_encoder(points=None, boxes=corners, masks=None)
        logits, _ = self.network.mask_decoder(
            image_embeddings=embedding,
            image_pe=self.network.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse.to(embedding),
            dense_prompt_embeddings=dense.to(embedding),
            multimask_output=False,
        )
        whole = F.interpolate(logits.float(), (side, side), mode="bilinear", align_corners=False)[..., :height, :width]
        mask = F.interpolate(whole, (image.height, image.width), mode="bilinear", align_corners=False)[0, 0].sigmoid()
        return mask.cpu().numpy().astype(np.float32)

    def _embedding(self, image: Image.Image, side: int) -> torch.Tensor:
        pixels = np.array(image)
        key = pixels.tobytes()
        if self._embedded is None or self._embedded[0] != key:
            weight = next(self.network.image_encoder.parameters())
            x = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(weight.device).float()
            x = (x - self.network.pixel_mean) / self.network.pixel_std
            x = F.pad(x, (0, side - image.width, 0, side - image.height))
            self._embedded = key, self.network.image_encoder(x.to(weight.dtype))
        return self._embedded[1]


def load_sam(path: Path, dtype: torch.dtype) -> SamSegmenter:
    """SAM ViT-H, ViT-L, ViT-B or MobileSAM from its published file, through segment-anything (extra ``grounded-sam``)."""
    found = recognised(path, "segmenter")
    try:
        import segment_anything
    except ImportError as error:
        raise MethodError(f"{path} needs segment-anything; pip install 'vcd-studio[grounded-sam]'.") from error
    with told(path, "a segmenter"):
        with init_empty_weights():  # the file's own tensors take their places: no second copy
            network = segment_anything.sam_model_registry[BUILDERS.get(found.facts["encoder"], "vit_b")](checkpoint=None)
            if found.layout == "mobile-sam":
                network.image_encoder = TinyViT()
        state = {key: value for key, value in load_state(path).items() if not key.startswith(CLASSIFIER)}
        network.load_state_dict(state, assign=True)
    return SamSegmenter(network.to(dtype).eval())
