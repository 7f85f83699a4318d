"""Tiny random networks of the real classes: the shapes of a pack, a thousandth of the size, nothing learnt."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, MotionAdapter, UNet2DConditionModel, UNetMotionModel
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from vcd_studio.method.protocols import Networks

WORDS = [
    "a", "an", "the", "of", "with", "and", "in", "on", "at", "photo", "video", "close", "up", "zoomed", "far", "away", "very", "small",
    "distance", "plain", "background", "night", "running", "snow", "blurry", "dog", "cat", "man", "woman", "person", "animal", "red",
    "green", "blue", "white", "black", "brown",
]  # fmt: skip
LENGTH = 24
WIDTH = 32
CHANNELS = (32, 64)


def tiny_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer class with the words above, each one token, and single characters for the rest."""
    letters = sorted(set(pre_tokenizers.ByteLevel.alphabet()))
    vocabulary: dict[str, int] = {}
    for piece in [*letters, *(letter + "</w>" for letter in letters)]:
        vocabulary.setdefault(piece, len(vocabulary))
    merges: list[str] = []
    for word in WORDS:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            merged = pieces[0] + pieces[1]
            if f"{pieces[0]} {pieces[1]}" not in merges:
                merges.append(f"{pieces[0]} {pieces[1]}")
            vocabulary.setdefault(merged, len(vocabulary))
            pieces = [merged, *pieces[2:]]
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[special] = len(vocabulary)
    pairs = [tuple(merge.split(" ")) for merge in merges]
    return CLIPTokenizer(vocab=vocabulary, merges=pairs, model_max_length=LENGTH)


def tiny_networks(
    vae_scale: int = 4,
    *,
    prediction_type: str = "epsilon",
    latent_channels: int = 4,
    beta_end: float = 0.012,
    scaling_factor: float = 0.18215,
    shift_factor: float | None = None,
    sample_size: int = 8,
    motion_range: int = 16,
    controlnet: bool = False,
    seed: int = 0,
) -> Networks:
    """Networks with random weights. ``sample_size`` is the UNet's, in latent cells."""
    torch.manual_seed(seed)
    levels = {2: 2, 4: 3, 8: 4}[vae_scale]
    tokenizer = tiny_tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=64, projection_dim=WIDTH, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=LENGTH, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * levels, up_block_types=["UpDecoderBlock2D"] * levels, layers_per_block=1,
        block_out_channels=(16, 16, 32, 32)[:levels], latent_channels=latent_channels, norm_num_groups=8,
        scaling_factor=scaling_factor, shift_factor=shift_factor, sample_size=sample_size * vae_scale, mid_block_add_attention=False,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=sample_size, in_channels=latent_channels, out_channels=latent_channels, layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=CHANNELS, cross_attention_dim=WIDTH, attention_head_dim=4, norm_num_groups=8,
    )  # fmt: skip
    adapter = MotionAdapter(
        block_out_channels=CHANNELS, motion_layers_per_block=1, motion_mid_block_layers_per_block=1, motion_num_attention_heads=2,
        motion_norm_num_groups=8, motion_max_seq_length=motion_range, use_motion_mid_block=True,
    )  # fmt: skip
    for parameter in adapter.parameters():  # a fresh adapter is the identity: make it move something
        torch.nn.init.normal_(parameter, std=0.05)
    steering = None
    if controlnet:
        steering = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32, 64, 64)[:levels])
        for parameter in steering.parameters():  # a fresh one adds nothing
            torch.nn.init.normal_(parameter, std=0.05)
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=beta_end, beta_schedule="linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1,
        prediction_type=prediction_type,
    )  # fmt: skip
    networks = Networks(
        tokenizer=tokenizer, text_encoder=CLIPTextModel(text), vae=vae, unet=unet,
        motion_unet=UNetMotionModel.from_unet2d(unet, adapter), scheduler=scheduler, controlnet=steering,
    )  # fmt: skip
    for module in (networks.text_encoder, vae, unet, networks.motion_unet, steering):
        if module is not None:
            module.requires_grad_(False).eval()
    return networks
