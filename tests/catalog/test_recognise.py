"""Files are told by their keys: every layout that people have, the ones of other families among them, and what is no weights at all."""

from __future__ import annotations

import pytest

from tests.catalog import layouts
from vcd_studio.catalog.recognise import recognise

OURS = {
    "SD 1.5, EMA only": (layouts.sd15(), "base", "original", {"vae": "inside", "text encoder": "inside", "ema": "none"}),
    "SD 1.5 with EMA": (layouts.sd15(ema=True), "base", "original", {"ema": "inside"}),
    "SD 1.5 without a VAE": (layouts.sd15(vae=False), "base", "original", {"vae": "missing"}),
    "SD 1.5's UNet alone": (layouts.sd15(vae=False, text=False), "base", "original", {"text encoder": "missing"}),
    "VAE": (layouts.ldm_vae(), "vae", "original", {}),
    "AnimateDiff v1": (layouts.animatediff("v1"), "motion_adapter", "original", {"version": "v1", "frames": "24", "middle": "no"}),
    "AnimateDiff v2": (layouts.animatediff("v2"), "motion_adapter", "original", {"version": "v2", "frames": "32", "middle": "yes"}),
    "AnimateDiff v3": (layouts.animatediff("v3"), "motion_adapter", "original", {"version": "v3", "frames": "32", "middle": "no"}),
    "AnimateLCM": (layouts.animatediff("lcm"), "motion_adapter", "original", {"version": "lcm"}),
    "motion LoRA": (layouts.motion_lora(), "motion-lora", "original", {}),
    "ControlNet": (layouts.controlnet(), "controlnet", "original", {}),
    "kohya's LoRA": (layouts.kohya_lora(), "lora", "kohya", {"text encoder": "yes"}),
    "diffusers' LoRA": (layouts.diffusers_lora(), "lora", "diffusers", {"text encoder": "no"}),
    "peft's LoRA": (layouts.diffusers_lora(peft=True), "lora", "peft", {}),
    "A1111's embedding": ({"string_to_param.*": (4, 768)}, "embedding", "a1111", {"tokens": "4"}),
    "A1111's embedding as safetensors": ({"emb_params": (2, 768)}, "embedding", "a1111", {"tokens": "2"}),
    "diffusers' embedding": ({"<cat-toy>": (768,)}, "embedding", "diffusers", {"tokens": "1"}),
    "CLIP's text encoder": (layouts.clip_text(), "text_encoder", "transformers", {}),
    "SAM": ({"image_encoder.patch_embed.proj.weight": (1280, 3, 16, 16), "mask_decoder.iou_token.weight": (1, 256)}, "segmenter",
            "segment-anything", {"encoder": "ViT-H"}),
    "Grounding DINO, Swin-T": (layouts.grounding_dino("Swin-T"), "grounding", "groundingdino", {"backbone": "Swin-T"}),
    "Grounding DINO, Swin-B": (layouts.grounding_dino("Swin-B"), "grounding", "groundingdino", {"backbone": "Swin-B"}),
}  # fmt: skip
OTHERS = {
    "SDXL": (layouts.sdxl(), "an SDXL checkpoint"),
    "SD 2": (layouts.sd2(), "an SD 2 checkpoint"),
    "inpainting": (layouts.sd15(channels=9), "an SD 1.5 inpainting checkpoint"),
    "InstructPix2Pix": (layouts.sd15(channels=8), "an InstructPix2Pix checkpoint"),
    "AnimateDiff for SDXL": (layouts.animatediff_sdxl(), "a motion module for SDXL"),
    "ControlNet for SD 2": (layouts.controlnet(text=1024), "a ControlNet for SD 2"),
    "LoRA for SD 2": (layouts.kohya_lora(text=1024), "a LoRA for SD 2"),
    "LoRA for SDXL": (layouts.diffusers_lora(text=2048), "a LoRA for SDXL"),
    "embedding for SDXL": ({"clip_l": (2, 768), "clip_g": (2, 1280)}, "a textual inversion for SDXL"),
    "embedding for SD 2": ({"emb_params": (2, 1024)}, "a textual inversion for SD 2"),
    "Grounding DINO in shards of a folder": (
        {"model.backbone.conv_encoder.model.layernorm.weight": (768,), "model.text_backbone.embeddings.LayerNorm.weight": (768,)},
        "Grounding DINO in transformers' layout without its folder",
    ),
    "FLUX": ({"model.diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale": (128,)}, "a FLUX checkpoint"),
}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("wrapper", ["", "state_dict.", "module.", "model.module."])
def test_what_a_pack_can_use_is_known_by_its_keys(name: str, wrapper: str) -> None:
    keys, part, layout, facts = OURS[name]
    found = recognise({wrapper + key: shape for key, shape in keys.items()})
    assert found is not None
    assert (found.part, found.layout) == (part, layout)
    assert facts.items() <= found.facts.items()


@pytest.mark.parametrize("name", OTHERS)
def test_what_a_pack_cannot_use_is_called_by_its_name(name: str) -> None:
    keys, title = OTHERS[name]
    found = recognise(keys)
    assert found is not None
    assert (found.part, found.title) == ("", title)


@pytest.mark.parametrize("keys", [{}, {"a.weight": (3, 3)}, {"net.0.weight": (768, 768), "net.0.bias": (768,)}])
def test_other_networks_are_nothing(keys: dict[str, tuple[int, ...]]) -> None:
    assert recognise(keys) is None
