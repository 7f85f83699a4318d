"""The shapes of the pocket pack: the classes of a full-size one, a hundred times smaller."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, MotionAdapter, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

WIDTH = 128  # text
CHANNELS = (64, 128, 160)
TEXT_LENGTH = 40
FRAMES = 16


def vae() -> AutoencoderKL:
    """×4 down, 4 channels: a 64 × 64 picture is a 16 × 16 latent."""
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3, block_out_channels=(24, 48, 64),
        layers_per_block=1, latent_channels=4, norm_num_groups=8, sample_size=64, mid_block_add_attention=False,
    )  # fmt: skip


def text_encoder(vocabulary: int, bos: int, eos: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary, hidden_size=WIDTH, intermediate_size=4 * WIDTH, projection_dim=WIDTH, num_hidden_layers=3,
            num_attention_heads=4, max_position_embeddings=TEXT_LENGTH, bos_token_id=bos, eos_token_id=eos, pad_token_id=eos,
        )
    )  # fmt: skip


def unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16, down_block_types=("CrossAttnDownBlock2D",) * 3, up_block_types=("CrossAttnUpBlock2D",) * 3,
        block_out_channels=CHANNELS, layers_per_block=1, cross_attention_dim=WIDTH, attention_head_dim=4, norm_num_groups=8,
    )  # fmt: skip


def motion_adapter() -> MotionAdapter:
    """Every module ends in zeros, as AnimateDiff trains them: before the first step each frame is what the picture UNet makes."""
    adapter = MotionAdapter(
        block_out_channels=CHANNELS, motion_layers_per_block=1, motion_mid_block_layers_per_block=1, motion_num_attention_heads=4,
        motion_norm_num_groups=8, motion_max_seq_length=32, use_motion_mid_block=True,
    )  # fmt: skip
    for name, parameter in adapter.named_parameters():
        if ".proj_out." in name:
            torch.nn.init.zeros_(parameter)
    return adapter


def controlnet(base: UNet2DConditionModel) -> ControlNetModel:
    """Starts as a copy of the base; the condition is a picture, four times the latent's size."""
    return ControlNetModel.from_unet(base, conditioning_embedding_out_channels=(16, 32, 64))


def scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise with AnimateDiff's linear betas."""
    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1,
        prediction_type="epsilon",
    )  # fmt: skip
