"""Keys and shapes of published files, written down from their layouts: what a person's disk holds, without a byte of it.

Every table here is checked against diffusers' own converters in test_layouts.py: they must make a whole SD 1.5 of it.
"""

from __future__ import annotations

from collections.abc import Iterator

Shapes = dict[str, tuple[int, ...]]
UNET_WIDTHS = (320, 640, 1280, 1280)
VAE_WIDTHS = (128, 256, 512, 512)


def norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def conv(name: str, into: int, out: int, size: int = 3) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (out, into, size, size)
    yield f"{name}.bias", (out,)


def linear(name: str, into: int, out: int, bias: bool = True) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (out, into)
    if bias:
        yield f"{name}.bias", (out,)


def _ldm_resnet(name: str, into: int, out: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from norm(f"{name}.in_layers.0", into)
    yield from conv(f"{name}.in_layers.2", into, out)
    yield from linear(f"{name}.emb_layers.1", 1280, out)
    yield from norm(f"{name}.out_layers.0", out)
    yield from conv(f"{name}.out_layers.3", out, out)
    if into != out:
        yield from conv(f"{name}.skip_connection", into, out, 1)


def _ldm_transformer(name: str, width: int, text: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from norm(f"{name}.norm", width)
    yield from conv(f"{name}.proj_in", width, width, 1)
    block = f"{name}.transformer_blocks.0"
    for attention, reads in (("attn1", width), ("attn2", text)):
        yield from linear(f"{block}.{attention}.to_q", width, width, bias=False)
        yield from linear(f"{block}.{attention}.to_k", reads, width, bias=False)
        yield from linear(f"{block}.{attention}.to_v", reads, width, bias=False)
        yield from linear(f"{block}.{attention}.to_out.0", width, width)
    yield from linear(f"{block}.ff.net.0.proj", width, 8 * width)
    yield from linear(f"{block}.ff.net.2", 4 * width, width)
    for index in (1, 2, 3):
        yield from norm(f"{block}.norm{index}", width)
    yield from conv(f"{name}.proj_out", width, width, 1)


def _ldm_encoder_half(text: int, channels: int, skips: list[int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """time_embed, input_blocks and middle_block: ControlNet has them too. ``skips`` takes the width after each input block."""
    yield from linear("time_embed.0", 320, 1280)
    yield from linear("time_embed.2", 1280, 1280)
    yield from conv("input_blocks.0.0", channels, 320)
    skips.append(320)
    width, index = 320, 1
    for level, out in enumerate(UNET_WIDTHS):
        for _ in range(2):
            yield from _ldm_resnet(f"input_blocks.{index}.0", width, out)
            if level < 3:
                yield from _ldm_transformer(f"input_blocks.{index}.1", out, text)
            width, index = out, index + 1
            skips.append(out)
        if level < 3:
            yield from conv(f"input_blocks.{index}.0.op", out, out)
            index += 1
            skips.append(out)
    yield from _ldm_resnet("middle_block.0", 1280, 1280)
    yield from _ldm_transformer("middle_block.1", 1280, text)
    yield from _ldm_resnet("middle_block.2", 1280, 1280)


def ldm_unet(text: int = 768, channels: int = 4) -> Shapes:
    skips: list[int] = []
    keys = dict(_ldm_encoder_half(text, channels, skips))
    width, index = 1280, 0
    for level, out in reversed(list(enumerate(UNET_WIDTHS))):
        for block in range(3):
            keys |= _ldm_resnet(f"output_blocks.{index}.0", width + skips.pop(), out)
            if level < 3:
                keys |= _ldm_transformer(f"output_blocks.{index}.1", out, text)
            if block == 2 and level > 0:
                keys |= conv(f"output_blocks.{index}.{2 if level < 3 else 1}.conv", out, out)
            width, index = out, index + 1
    keys |= norm("out.0", 320)
    keys |= conv("out.2", 320, 4)
    return keys


def _ldm_vae_resnet(name: str, into: int, out: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from norm(f"{name}.norm1", into)
    yield from conv(f"{name}.conv1", into, out)
    yield from norm(f"{name}.norm2", out)
    yield from conv(f"{name}.conv2", out, out)
    if into != out:
        yield from conv(f"{name}.nin_shortcut", into, out, 1)


def _ldm_vae_middle(half: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _ldm_vae_resnet(f"{half}.mid.block_1", 512, 512)
    yield from norm(f"{half}.mid.attn_1.norm", 512)
    for part in ("q", "k", "v", "proj_out"):
        yield from conv(f"{half}.mid.attn_1.{part}", 512, 512, 1)
    yield from _ldm_vae_resnet(f"{half}.mid.block_2", 512, 512)
    yield from norm(f"{half}.norm_out", VAE_WIDTHS[-1] if half == "encoder" else VAE_WIDTHS[0])


def ldm_vae() -> Shapes:
    keys = dict(conv("encoder.conv_in", 3, 128))
    width = 128
    for level, out in enumerate(VAE_WIDTHS):
        for block in range(2):
            keys |= _ldm_vae_resnet(f"encoder.down.{level}.block.{block}", width, out)
            width = out
        if level < 3:
            keys |= conv(f"encoder.down.{level}.downsample.conv", out, out)
    keys |= _ldm_vae_middle("encoder")
    keys |= conv("encoder.conv_out", 512, 8)
    keys |= conv("decoder.conv_in", 4, 512)
    width = 512
    for level, out in reversed(list(enumerate(VAE_WIDTHS))):
        for block in range(3):
            keys |= _ldm_vae_resnet(f"decoder.up.{level}.block.{block}", width, out)
            width = out
        if level > 0:
            keys |= conv(f"decoder.up.{level}.upsample.conv", out, out)
    keys |= _ldm_vae_middle("decoder")
    keys |= conv("decoder.conv_out", 128, 3)
    keys |= conv("quant_conv", 8, 8, 1)
    keys |= conv("post_quant_conv", 4, 4, 1)
    return keys


def clip_text(width: int = 768, layers: int = 12) -> Shapes:
    """As transformers wrote it in SD 1.5's days, the positions' own ids among it."""
    keys: Shapes = {
        "text_model.embeddings.position_ids": (1, 77),
        "text_model.embeddings.token_embedding.weight": (49408, width),
        "text_model.embeddings.position_embedding.weight": (77, width),
    }
    for layer in (f"text_model.encoder.layers.{index}" for index in range(layers)):
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            keys |= linear(f"{layer}.self_attn.{part}", width, width)
        keys |= linear(f"{layer}.mlp.fc1", width, 4 * width)
        keys |= linear(f"{layer}.mlp.fc2", 4 * width, width)
        keys |= {**dict(norm(f"{layer}.layer_norm1", width)), **dict(norm(f"{layer}.layer_norm2", width))}
    return keys | dict(norm("text_model.final_layer_norm", width))


def _prefixed(prefix: str, keys: Shapes) -> Shapes:
    return {prefix + key: shape for key, shape in keys.items()}


def sd15(*, vae: bool = True, text: bool = True, ema: bool = False, channels: int = 4) -> Shapes:
    """v1-5-pruned(-emaonly) and what people made of it."""
    keys = _prefixed("model.diffusion_model.", ldm_unet(channels=channels))
    if vae:
        keys |= _prefixed("first_stage_model.", ldm_vae())
    if text:
        keys |= _prefixed("cond_stage_model.transformer.", clip_text())
    if ema:
        keys |= {f"model_ema.diffusion_model{key.replace('.', '')}": shape for key, shape in ldm_unet(channels=channels).items()}
        keys |= {"model_ema.decay": (), "model_ema.num_updates": ()}
    for schedule in ("betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "log_one_minus_alphas_cumprod"):
        keys[schedule] = (1000,)
    return keys


def _motion_block(name: str, width: int, positions: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    inner = f"{name}.temporal_transformer"
    yield from norm(f"{inner}.norm", width)
    yield from linear(f"{inner}.proj_in", width, width)
    block = f"{inner}.transformer_blocks.0"
    for index in (0, 1):
        attention = f"{block}.attention_blocks.{index}"
        for part in ("to_q", "to_k", "to_v"):
            yield from linear(f"{attention}.{part}", width, width, bias=False)
        yield from linear(f"{attention}.to_out.0", width, width)
        if positions:
            yield f"{attention}.pos_encoder.pe", (1, positions, width)
        yield from norm(f"{block}.norms.{index}", width)
    yield from linear(f"{block}.ff.net.0.proj", width, 8 * width)
    yield from linear(f"{block}.ff.net.2", 4 * width, width)
    yield from norm(f"{block}.ff_norm", width)
    yield from linear(f"{inner}.proj_out", width, width)


def animatediff(version: str) -> Shapes:
    """mm_sd_v15 ("v1"), mm_sd_v15_v2 ("v2"), v3_sd15_mm ("v3"), AnimateLCM_sd15_t2v ("lcm": without positions)."""
    positions = {"v1": 24, "v2": 32, "v3": 32, "lcm": 0}[version]
    keys: Shapes = {}
    for level, width in enumerate(UNET_WIDTHS):
        for index in range(2):
            keys |= _motion_block(f"down_blocks.{level}.motion_modules.{index}", width, positions)
    for level, width in enumerate(reversed(UNET_WIDTHS)):
        for index in range(3):
            keys |= _motion_block(f"up_blocks.{level}.motion_modules.{index}", width, positions)
    if version == "v2":
        keys |= _motion_block("mid_block.motion_modules.0", 1280, positions)
    return keys


def animatediff_sdxl() -> Shapes:
    return {key: shape for key, shape in animatediff("v3").items() if not key.startswith(("down_blocks.3", "up_blocks.0"))}


def motion_lora(rank: int = 32) -> Shapes:
    """v2_lora_ZoomIn and its like: LoRA on the temporal attention of a v2 module."""
    keys: Shapes = {}
    for key, shape in animatediff("v2").items():
        part = key.rpartition(".attention_blocks.")[2].split(".")[1:2]
        if key.endswith(".weight") and part and part[0] in ("to_q", "to_k", "to_v", "to_out"):
            name = key.replace(".to_out.0.weight", ".to_out.weight").removesuffix(".weight")
            head, _, last = name.rpartition(".")
            keys[f"{head}.processor.{last}_lora.down.weight"] = (rank, shape[1])
            keys[f"{head}.processor.{last}_lora.up.weight"] = (shape[0], rank)
    return keys


def controlnet(text: int = 768) -> Shapes:
    """control_v11f1e_sd15_tile: the encoder's half once more, with a hint in front and a convolution after every block."""
    skips: list[int] = []
    keys = dict(_ldm_encoder_half(text, 4, skips))
    widths = (16, 16, 32, 32, 96, 96, 256, 320)
    for index, (into, out) in enumerate(zip((3, *widths), widths, strict=False)):
        keys |= conv(f"input_hint_block.{2 * index}", into, out)
    for index, width in enumerate(skips):
        keys |= conv(f"zero_convs.{index}.0", width, width, 1)
    keys |= conv("middle_block_out.0", 1280, 1280, 1)
    return _prefixed("control_model.", keys)


def kohya_lora(rank: int = 8, text: int = 768) -> Shapes:
    """sd-scripts' keys: dots become underscores; every module has down, up and alpha."""
    keys: Shapes = {}
    for block in ("down_blocks_0", "down_blocks_1", "mid_block", "up_blocks_3"):
        width = {"down_blocks_0": 320, "down_blocks_1": 640, "mid_block": 1280, "up_blocks_3": 320}[block]
        for attention, reads in (("attn1", width), ("attn2", text)):
            for part, into in (("to_q", width), ("to_k", reads), ("to_v", reads), ("to_out_0", width)):
                name = f"lora_unet_{block}_attentions_0_transformer_blocks_0_{attention}_{part}"
                keys |= {f"{name}.lora_down.weight": (rank, into), f"{name}.lora_up.weight": (width, rank), f"{name}.alpha": ()}
    for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
        name = f"lora_te_text_model_encoder_layers_0_self_attn_{part}"
        keys |= {f"{name}.lora_down.weight": (rank, text), f"{name}.lora_up.weight": (text, rank), f"{name}.alpha": ()}
    return keys


def diffusers_lora(rank: int = 8, text: int = 768, *, peft: bool = False) -> Shapes:
    """diffusers' save_lora_weights, and peft's save_pretrained on a UNet."""
    keys: Shapes = {}
    prefix, down, up = ("base_model.model.", "lora_A", "lora_B") if peft else ("unet.", "lora.down", "lora.up")
    for part, into in (("to_q", 320), ("to_k", text), ("to_v", text), ("to_out.0", 320)):
        name = f"{prefix}down_blocks.0.attentions.0.transformer_blocks.0.attn2.{part}"
        keys |= {f"{name}.{down}.weight": (rank, into), f"{name}.{up}.weight": (320, rank)}
    return keys


def sdxl() -> Shapes:
    return {
        "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
        "model.diffusion_model.label_emb.0.0.weight": (1280, 2816),
        "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight": (49408, 768),
        "conditioner.embedders.1.model.positional_embedding": (77, 1280),
        "first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3),
    }


def sd2() -> Shapes:
    return _prefixed("model.diffusion_model.", ldm_unet(text=1024)) | {"cond_stage_model.model.token_embedding.weight": (49408, 1024)}


def _deformable(name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """8 heads look at 4 points of 4 levels each."""
    yield from linear(f"{name}.sampling_offsets", 256, 8 * 4 * 4 * 2)
    yield from linear(f"{name}.attention_weights", 256, 8 * 4 * 4)
    yield from linear(f"{name}.value_proj", 256, 256)
    yield from linear(f"{name}.output_proj", 256, 256)


def _attention(name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """torch's MultiheadAttention."""
    yield f"{name}.in_proj_weight", (3 * 256, 256)
    yield f"{name}.in_proj_bias", (3 * 256,)
    yield from linear(f"{name}.out_proj", 256, 256)


def _feed_forward(name: str, width: int, norms: tuple[str, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from linear(f"{name}.linear1", 256, width)
    yield from linear(f"{name}.linear2", width, 256)
    for each in norms:
        yield from norm(f"{name}.{each}", 256)


def _box_head(name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    for index, out in enumerate((256, 256, 4)):
        yield from linear(f"{name}.layers.{index}", 256, out)


def swin(width: int, depths: tuple[int, ...], window: int) -> Shapes:
    """Its heads are 32 wide; the last three stages are seen from outside."""
    keys = {**dict(conv("patch_embed.proj", 3, width, 4)), **dict(norm("patch_embed.norm", width))}
    for stage, depth in enumerate(depths):
        here = width * 2**stage
        for block in (f"layers.{stage}.blocks.{index}" for index in range(depth)):
            keys |= {**dict(norm(f"{block}.norm1", here)), **dict(norm(f"{block}.norm2", here))}
            keys[f"{block}.attn.relative_position_bias_table"] = ((2 * window - 1) ** 2, here // 32)
            keys[f"{block}.attn.relative_position_index"] = (window**2, window**2)
            keys |= {**dict(linear(f"{block}.attn.qkv", here, 3 * here)), **dict(linear(f"{block}.attn.proj", here, here))}
            keys |= {**dict(linear(f"{block}.mlp.fc1", here, 4 * here)), **dict(linear(f"{block}.mlp.fc2", 4 * here, here))}
        if stage < len(depths) - 1:
            keys |= linear(f"layers.{stage}.downsample.reduction", 4 * here, 2 * here, bias=False)
            keys |= norm(f"layers.{stage}.downsample.norm", 4 * here)
        if stage:
            keys |= norm(f"norm{stage}", here)
    return keys


def bert(width: int = 768, layers: int = 12) -> Shapes:
    keys: Shapes = {
        "embeddings.word_embeddings.weight": (30522, width),
        "embeddings.position_embeddings.weight": (512, width),
        "embeddings.token_type_embeddings.weight": (2, width),
        **dict(norm("embeddings.LayerNorm", width)),
    }
    for layer in (f"encoder.layer.{index}" for index in range(layers)):
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            keys |= linear(f"{layer}.attention.{part}", width, width)
        keys |= linear(f"{layer}.intermediate.dense", width, 4 * width)
        keys |= linear(f"{layer}.output.dense", 4 * width, width)
        keys |= {**dict(norm(f"{layer}.attention.output.LayerNorm", width)), **dict(norm(f"{layer}.output.LayerNorm", width))}
    return keys | dict(linear("pooler.dense", width, width))


def grounding_dino(backbone: str = "Swin-T") -> Shapes:
    """groundingdino_swint_ogc and groundingdino_swinb_cogcoor: what lies under "model" in them, and behind "module."."""
    width, depths, window = {"Swin-T": (96, (2, 2, 6, 2), 7), "Swin-B": (128, (2, 2, 18, 2), 12)}[backbone]
    keys = _prefixed("backbone.0.", swin(width, depths, window)) | _prefixed("bert.", bert())
    keys |= {"bert.embeddings.position_ids": (1, 512), "label_enc.weight": (2001, 256)}  # left over from training
    keys |= {"transformer.level_embed": (4, 256), "transformer.tgt_embed.weight": (900, 256)}
    keys |= linear("feat_map", 768, 256)
    for level, (into, size) in enumerate(((2 * width, 1), (4 * width, 1), (8 * width, 1), (8 * width, 3))):
        keys |= {**dict(conv(f"input_proj.{level}.0", into, 256, size)), **dict(norm(f"input_proj.{level}.1", 256))}
    for index in range(6):
        layer, text, fusion = (f"transformer.encoder.{kind}.{index}" for kind in ("layers", "text_layers", "fusion_layers"))
        keys |= {**dict(_deformable(f"{layer}.self_attn")), **dict(_feed_forward(layer, 2048, ("norm1", "norm2")))}
        keys |= {**dict(_attention(f"{text}.self_attn")), **dict(_feed_forward(text, 1024, ("norm1", "norm2")))}
        keys |= {f"{fusion}.gamma_v": (256,), f"{fusion}.gamma_l": (256,)}
        for side in ("v", "l"):
            keys |= norm(f"{fusion}.layer_norm_{side}", 256)
            keys |= linear(f"{fusion}.attn.{side}_proj", 256, 1024)
            keys |= linear(f"{fusion}.attn.values_{side}_proj", 256, 1024)
            keys |= linear(f"{fusion}.attn.out_{side}_proj", 1024, 256)
        layer = f"transformer.decoder.layers.{index}"
        keys |= {**dict(_deformable(f"{layer}.cross_attn")), **dict(_attention(f"{layer}.self_attn"))}
        keys |= _attention(f"{layer}.ca_text")
        keys |= _feed_forward(layer, 2048, ("norm1", "norm2", "norm3", "catext_norm"))
        keys |= {**dict(_box_head(f"bbox_embed.{index}")), **dict(_box_head(f"transformer.decoder.bbox_embed.{index}"))}
    keys |= {**dict(norm("transformer.decoder.norm", 256)), **dict(linear("transformer.decoder.ref_point_head.layers.0", 512, 256))}
    keys |= linear("transformer.decoder.ref_point_head.layers.1", 256, 256)
    keys |= {**dict(linear("transformer.enc_output", 256, 256)), **dict(norm("transformer.enc_output_norm", 256))}
    return keys | dict(_box_head("transformer.enc_out_bbox_embed"))


LETTERS = "abcdefghijklmnopqrstuvwxyz"


def bert_vocabulary() -> list[str]:
    """As many word pieces as bert-base-uncased's, the telling ones at their places: letters, and a few words."""
    words = [f"[unused{index}]" for index in range(30522)]
    for index, mark in {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}.items():
        words[index] = mark
    pieces = [*LETTERS, *(f"##{letter}" for letter in LETTERS), "dog", "cat", "head", "stuffed", "animal"]
    words[2000 : 2000 + len(pieces)] = pieces
    return words
