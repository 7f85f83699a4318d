"""What a file of weights is, told by its keys and shapes and never by its name.

Layouts: Stable Diffusion's original single files, AnimateDiff's, ControlNet's, kohya's, AUTOMATIC1111's, ESRGAN's, Segment Anything's and
Grounding DINO's own, and those of diffusers, transformers and peft. The first rule that fits says what a file is, so that the telling
ones stand first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Shapes = Mapping[str, tuple[int, ...]]
"""A state dict's keys, and the shapes behind them."""


@dataclass(frozen=True)
class Recognised:
    """``part``: what a pack can use it for, "" for nothing of ours; ``layout``: whose arrangement of keys; ``title``: as one says it,
    with its article; ``facts``: what else the keys tell."""

    part: str
    layout: str
    title: str
    facts: Mapping[str, str] = field(default_factory=dict)


WRAPPERS = ("state_dict.", "model.module.", "module.")
"""What training programs put around a state dict: taken off before anything is asked."""
INNER = ("", "params_ema.", "params.", "model.")
"""What stands around some files' keys, and is part of others'."""
SD1, SD2, SDXL = 768, 1024, 2048
"""Width of what cross-attention reads, by family."""
FAMILY = {SD1: "SD 1.5", SD2: "SD 2", SDXL: "SDXL"}


def recognise(shapes: Shapes) -> Recognised | None:
    """What these keys are; None for keys of no layout that is known here."""
    for wrapper in WRAPPERS:
        shapes = unwrapped(shapes, wrapper) or shapes
    for inner in INNER:
        wrapped = unwrapped(shapes, inner)
        for rule in RULES:
            if wrapped and (found := rule(wrapped)) is not None:
                return found
    return None


def unwrapped(shapes: Shapes, wrapper: str) -> Shapes:
    """The keys inside ``wrapper``, without it; empty where there are none."""
    return {key.removeprefix(wrapper): shape for key, shape in shapes.items() if key.startswith(wrapper)}


def _of(width: int) -> str:
    return f"for {FAMILY.get(width, f'a base whose text is {width} wide')}"


UNET = "model.diffusion_model."
ENTRANCE = "input_blocks.0.0.weight"
CROSS = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
MADE_FOR = {9: "an SD 1.5 inpainting checkpoint", 8: "an InstructPix2Pix checkpoint"}


def _checkpoint(shapes: Shapes) -> Recognised | None:
    """Single files that hold a whole Stable Diffusion, or at least its UNet."""
    enters = shapes.get(UNET + ENTRANCE)
    if enters is None or len(enters) != 4:
        return None
    if _begins(shapes, "conditioner.embedders.") or f"{UNET}label_emb.0.0.weight" in shapes:
        return Recognised("", "original", "an SDXL checkpoint")
    width = shapes.get(UNET + CROSS, (0, 0))[-1]
    if width == SD2:
        return Recognised("", "original", "an SD 2 checkpoint")
    if width != SD1:
        return None
    if enters[1] != 4:
        return Recognised("", "original", MADE_FOR.get(enters[1], f"a checkpoint whose UNet takes {enters[1]} channels"))
    vae, text, ema = (_begins(shapes, prefix) for prefix in ("first_stage_model.", "cond_stage_model.", "model_ema."))
    facts = {"vae": "inside" if vae else "missing", "text encoder": "inside" if text else "missing", "ema": "inside" if ema else "none"}
    return Recognised("base", "original", "an SD 1.5 checkpoint", facts)


def _transformer_giants(shapes: Shapes) -> Recognised | None:
    """What lies beside SD 1.5 in people's folders: told apart so that the refusal can name it."""
    for title, telling in (
        ("a FLUX checkpoint", "double_blocks.0.img_attn.norm.key_norm.scale"),
        ("an SD 3 checkpoint", "joint_blocks.0.context_block.adaLN_modulation.1.bias"),
        ("a Wan checkpoint", "head.modulation"),
    ):
        if telling in shapes or UNET + telling in shapes:
            return Recognised("", "original", title)
    return None


def _unet(shapes: Shapes) -> Recognised | None:
    """A UNet alone, in diffusers' folders."""
    enters, cross = shapes.get("conv_in.weight"), shapes.get("down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight")
    if enters is None or "time_embedding.linear_1.weight" not in shapes or "controlnet_cond_embedding.conv_in.weight" in shapes:
        return None
    if "add_embedding.linear_1.weight" in shapes:
        return Recognised("", "diffusers", "a UNet for SDXL")
    if cross is None:
        return None
    usable = cross[-1] == SD1 and enters[1] == 4
    return Recognised("unet" if usable else "", "diffusers", f"a UNet {_of(cross[-1])}")


def _vae(shapes: Shapes) -> Recognised | None:
    """An autoencoder alone: as SD 1.5 and SDXL share it (4 channels), or another."""
    diffusers, original = "encoder.down_blocks.0.resnets.0.conv1.weight", "encoder.down.0.block.0.conv1.weight"
    prefix = "first_stage_model." if "first_stage_model." + original in shapes else ""
    layout = "diffusers" if diffusers in shapes else "original" if prefix + original in shapes else ""
    if not layout:
        return None
    latent = shapes.get("post_quant_conv.weight" if layout == "diffusers" else f"{prefix}post_quant_conv.weight", (0,))[0]
    return Recognised("vae" if latent == 4 else "", layout, "a VAE" if latent == 4 else "a VAE with another number of latent channels")


def _motion(shapes: Shapes) -> Recognised | None:
    """AnimateDiff's motion modules: v1 (24 frames), v2 (a module in the middle), v3 (none there), AnimateLCM (positions left out)."""
    if not any("motion_modules" in key for key in shapes):
        return None
    original = any(".temporal_transformer." in key for key in shapes)
    layout = "original" if original else "diffusers"
    if any("lora" in key for key in shapes):
        return Recognised("motion-lora", layout, "a motion LoRA")
    if any(key.startswith("controlnet_cond_embedding.") for key in shapes):
        return Recognised("", layout, "a SparseCtrl for AnimateDiff")
    if not _begins(shapes, "down_blocks.3.motion_modules."):
        return Recognised("", layout, "a motion module for SDXL")
    positions = _first(shapes, ".pos_encoder.pe" if original else ".pos_embed.pe")
    middle = _begins(shapes, "mid_block.motion_modules.")
    if positions is None:
        facts = {"version": "lcm", "frames": "32", "middle": _yes(middle)}
        return Recognised("motion_adapter", layout, "a motion module (AnimateLCM)", facts)
    version = "v1" if positions[1] == 24 else "v2" if middle else "v3"
    facts = {"version": version, "frames": str(positions[1]), "middle": _yes(middle)}
    return Recognised("motion_adapter", layout, f"a motion module ({version})", facts)


def _controlnet(shapes: Shapes) -> Recognised | None:
    prefix = "control_model." if "control_model.input_hint_block.0.weight" in shapes else ""
    original = prefix + "input_hint_block.0.weight" in shapes
    if not original and "controlnet_cond_embedding.conv_in.weight" not in shapes:
        return None
    cross = shapes.get(prefix + CROSS if original else "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight")
    layout = "original" if original else "diffusers"
    if cross is None or "add_embedding.linear_1.weight" in shapes or f"{prefix}label_emb.0.0.weight" in shapes:
        return Recognised("", layout, "a ControlNet for SDXL")
    return Recognised("controlnet" if cross[-1] == SD1 else "", layout, f"a ControlNet {_of(cross[-1])}")


DOWN = (
    ".lora_down.weight", ".lora.down.weight", ".lora_A.weight", ".lora_A.default.weight", "_lora.down.weight",
    ".lora_linear_layer.down.weight",
)  # fmt: skip


def _lora(shapes: Shapes) -> Recognised | None:
    """LoRA for the UNet and, where it has one, the text encoder."""
    down = {key: shape for key, shape in shapes.items() if key.endswith(DOWN) and len(shape) > 1}
    if not down:
        return None
    kohya = any(key.startswith(("lora_unet_", "lora_te")) for key in shapes)
    layout = "kohya" if kohya else "peft" if _begins(shapes, "base_model.model.") else "diffusers"
    reads = {shape[1] for key, shape in down.items() if "attn2" in key and "to_k" in key}
    if any(key.startswith(("lora_te1_", "lora_te2_", "text_encoder_2.")) for key in shapes) or SDXL in reads:
        return Recognised("", layout, "a LoRA for SDXL")
    if len(reads) != 1:
        return Recognised("", layout, "a LoRA for something that is no Stable Diffusion")
    (width,) = reads
    facts = {"text encoder": _yes(any(key.startswith(("lora_te", "text_encoder.")) for key in shapes))}
    return Recognised("lora" if width == SD1 else "", layout, f"a LoRA {_of(width)}", facts)


def _upscaler(shapes: Shapes) -> Recognised | None:
    """ESRGAN's family: today's keys, the first release's, and Real-ESRGAN's compact networks."""
    if "body.0.rdb1.conv1.weight" in shapes:
        return Recognised("upscaler", "esrgan", "an ESRGAN upscaler", {"scale": _scale(shapes)})
    if "model.1.sub.0.RDB1.conv1.0.weight" in shapes or "1.sub.0.RDB1.conv1.0.weight" in shapes:
        return Recognised("upscaler", "esrgan, first release", "an ESRGAN upscaler")
    if "RRDB_trunk.0.RDB1.conv1.weight" in shapes:
        return Recognised("upscaler", "esrgan, research", "an ESRGAN upscaler")
    if set(shapes) >= {"body.0.weight", "body.1.weight", "body.2.weight"} and shapes["body.0.weight"][1:2] == (3,):
        return Recognised("upscaler", "compact", "a compact Real-ESRGAN upscaler")
    return None


def _scale(shapes: Shapes) -> str:
    """Pixels are folded into channels for ×2 and ×1 (Real-ESRGAN), so that the entrance tells."""
    return {3: "4", 12: "2", 48: "1"}.get(shapes.get("conv_first.weight", (0, 0))[1], "?")


SAM_WIDTHS = {768: "ViT-B", 1024: "ViT-L", 1280: "ViT-H"}


def _segmenter(shapes: Shapes) -> Recognised | None:
    """Segment Anything and MobileSAM."""
    if "mask_decoder.iou_token.weight" not in shapes:
        return None
    if "image_encoder.patch_embed.seq.0.c.weight" in shapes:
        return Recognised("segmenter", "mobile-sam", "MobileSAM", {"encoder": "TinyViT"})
    patches = shapes.get("image_encoder.patch_embed.proj.weight")
    if patches is not None and (size := SAM_WIDTHS.get(patches[0])):
        return Recognised("segmenter", "segment-anything", f"Segment Anything {size}", {"encoder": size})
    if "vision_encoder.patch_embed.projection.weight" in shapes:
        return Recognised("", "transformers", "Segment Anything in transformers' layout")
    return Recognised("", "?", "a Segment Anything of a kind that is not known here")


def _grounding(shapes: Shapes) -> Recognised | None:
    """Grounding DINO; Swin-T is 96 wide at its entrance, Swin-B 128."""
    original = shapes.get("backbone.0.patch_embed.proj.weight")
    if original is not None and any(key.startswith("transformer.encoder.text_layers.") for key in shapes):
        backbone = {96: "Swin-T", 128: "Swin-B"}.get(original[0], "")
        return Recognised("grounding" if backbone else "", "groundingdino", f"Grounding DINO {backbone}".rstrip(), {"backbone": backbone})
    if _begins(shapes, "model.backbone.conv_encoder.") and _begins(shapes, "model.text_backbone."):
        return Recognised("", "transformers", "Grounding DINO in transformers' layout without its folder")
    return None


def _embedding(shapes: Shapes) -> Recognised | None:
    """Textual inversion: a handful of rows, and nothing else."""
    if set(shapes) >= {"clip_l", "clip_g"}:
        return Recognised("", "a1111", "a textual inversion for SDXL")
    rows = [shape for shape in shapes.values() if len(shape) in (1, 2)]
    if not rows or len(shapes) > 8 or len(rows) != len(shapes):
        return None
    if any(key.endswith((".weight", ".bias")) for key in shapes):
        return None
    widths = {shape[-1] for shape in rows}
    layout = "a1111" if any(key.startswith(("string_to_param", "emb_params")) for key in shapes) else "diffusers"
    count = sum(shape[0] if len(shape) == 2 else 1 for shape in rows)
    if len(widths) != 1 or count > 256 or not widths <= {SD1, SD2}:
        return None
    (width,) = widths
    return Recognised("embedding" if width == SD1 else "", layout, f"a textual inversion {_of(width)}", {"tokens": str(count)})


def _text_encoder(shapes: Shapes) -> Recognised | None:
    table = _first(shapes, "text_model.embeddings.token_embedding.weight")
    if table is None or len(table) != 2:
        return None
    if _begins(shapes, "vision_model."):
        return Recognised("", "transformers", "a CLIP without its folder")
    return Recognised("text_encoder" if table[1] == SD1 else "", "transformers", f"a CLIP text encoder, {table[1]} wide")


def _begins(shapes: Shapes, prefix: str) -> bool:
    return any(key.startswith(prefix) for key in shapes)


def _first(shapes: Shapes, end: str) -> tuple[int, ...] | None:
    return next((shape for key, shape in shapes.items() if key.endswith(end)), None)


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


RULES = (
    _checkpoint, _transformer_giants, _motion, _controlnet, _lora, _grounding, _segmenter, _upscaler, _unet, _vae, _text_encoder,
    _embedding,
)  # fmt: skip
