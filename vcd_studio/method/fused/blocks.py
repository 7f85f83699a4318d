"""diffusers' residual blocks and transformers, of the same layers with the same weights, in fewer passes over memory.

Channels stay last all the way: a picture's cells, a transformer's tokens and a clip's frames are then the same rows of channels, and
nothing is copied between them. On an H200 two fifths of a step of SD 1.5 with motion were such copies, norms, gates and sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel, Transformer2DModelOutput
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D, CrossAttnUpBlockMotion, UpBlockMotion
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.nn.functional import conv2d

from vcd_studio.method.attention import attend, is_plain_attention
from vcd_studio.method.fused.group_norm import add, group_norm
from vcd_studio.method.fused.layers import (
    channels_last,
    doubled,
    frame_attention,
    gated,
    layer_norm,
    may_attend_widely,
    moved,
    only_run,
    phases,
    picture_of,
    tokens_of,
    wide_attention,
    widened,
)
from vcd_studio.method.fused.projections import projections
from vcd_studio.method.one_dnn import product

Forward = Callable[..., Any]


@dataclass(frozen=True)
class Quicker:
    """What is quicker for one kind of module: ``fits`` says for which of them, ``forward`` makes it; ``argument`` is what the kind calls
    that which it is given first. ``everywhere``: without a card too."""

    fits: Callable[[Any], bool]
    forward: Callable[[Any], Forward]
    argument: str = "hidden_states"
    everywhere: bool = False


def quick_forwards(network: nn.Module) -> Iterator[tuple[Any, Forward]]:
    """Each module of the network that has a quicker way, and that way. Anything unusual about a module, and it is left alone."""
    for module in network.modules():
        quicker = KINDS.get(type(module))
        if quicker and quicker.fits(module):
            yield module, quicker.forward(module)
        elif _is_dense(module):
            yield module, _dense(module)
        if "conv_norm_out" in module._modules:
            yield from _before_last(module)


def _before_last(network: Any) -> Iterator[tuple[Any, Forward]]:
    """The norm before a network's last convolution takes the activation behind it along."""
    norm, act = network.conv_norm_out, getattr(network, "conv_act", None)
    if _plain(norm) and isinstance(act, nn.SiLU):
        yield norm, partial(group_norm, norm=norm, silu=True)
        yield act, _as_it_is


def each(x: Tensor, rows: int) -> Tensor:
    """So many rows, of equal sides of which one was reckoned."""
    return x if len(x) == rows else torch.cat([x] * (rows // len(x)))


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _plain(*layers: Any) -> bool:
    """Layers that do what their weights say and nothing else."""
    kinds = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm)
    return all(type(layer) in kinds and getattr(layer, "bias", None) is not None and not layer._forward_hooks for layer in layers)


def _something(*values: Any) -> bool:
    """Whether more was handed over than nothing: masks, classes, what other models have."""
    return any(value is not None and value != {} for value in values)


def _project(tokens: Tensor, layer: Any) -> Tensor:
    """A linear layer, or a convolution of one cell, which is the same."""
    return product(tokens, layer.weight.flatten(1), layer.bias)


def _fits_resnet(block: Any) -> bool:
    usual = block.upsample is None and block.downsample is None and block.output_scale_factor == 1 and not block.skip_time_act
    shortcut = [] if block.conv_shortcut is None else [block.conv_shortcut]
    return (
        usual
        and (block.time_embedding_norm == "default" or block.time_emb_proj is None)
        and isinstance(block.nonlinearity, nn.SiLU)
        and _plain(block.norm1, block.conv1, block.norm2, block.conv2, *shortcut)
    )


def _resnet(block: Any) -> Forward:
    """What is added between the convolutions goes into the norm behind it, what is added at the end into one sum."""

    def forward(x: Tensor | Sequence[Tensor], temb: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
        parts = [x] if isinstance(x, Tensor) else x
        hidden = group_norm(parts, block.norm1, silu=True)
        hidden = conv2d(hidden, block.conv1.weight, None, padding=block.conv1.padding)
        shift = block.conv1.bias.expand(len(hidden), -1)
        if block.time_emb_proj is not None:
            shift = shift + block.time_emb_proj(block.nonlinearity(temb))
        hidden = group_norm(hidden, block.norm2, silu=True, shift=shift.contiguous())
        hidden = conv2d(hidden, block.conv2.weight, None, padding=block.conv2.padding)
        return add(hidden, _beside(parts, block.conv_shortcut), block.conv2.bias)

    return forward


def _beside(parts: Sequence[Tensor], shortcut: Any) -> Tensor:
    """What goes past the convolutions: by a product of matrices with each picture's channels, onto the one before; or as it came."""
    if shortcut is None:
        return parts[0] if len(parts) == 1 else torch.cat(list(parts), 1)
    first, *others = (tokens_of(channels_last(part)) for part in parts)
    weight, *weights = shortcut.weight.flatten(1).split([part.shape[1] for part in parts], 1)
    tokens = product(first, weight, shortcut.bias)
    for other, weight in zip(others, weights, strict=True):
        tokens.flatten(0, 1).addmm_(other.flatten(0, 1), weight.T)
    return picture_of(tokens, parts[0])


def _fits_up_block(block: Any) -> bool:
    """One that enlarges what it was told alone, with nothing of FreeU (Si et al. 2023)."""
    usual = all(type(resnet) is ResnetBlock2D and _fits_resnet(resnet) and not _has_hooks(resnet) for resnet in block.resnets)
    return usual and not any(getattr(block, name, None) for name in ("s1", "s2", "b1", "b2"))


def _has_hooks(module: Any) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _up_block(block: Any) -> Forward:
    """A skip's channels are never laid beside those from below in one picture."""
    plain = block.forward
    resnets = [_resnet(resnet) for resnet in block.resnets]

    def forward(
        x: Tensor,
        res_hidden_states_tuple: tuple[Tensor, ...],
        temb: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        *,
        upsample_size: Any = None,
        num_frames: int = 1,
        **named: Any,
    ) -> Any:
        if _something(*named.values()):
            named |= {"upsample_size": upsample_size, "num_frames": num_frames}
            return plain(x, res_hidden_states_tuple, temb, encoder_hidden_states=encoder_hidden_states, **named)
        skips = reversed(res_hidden_states_tuple)
        attentions = getattr(block, "attentions", [None] * len(resnets))
        for resnet, attention, motion, skip in zip(resnets, attentions, block.motion_modules, skips, strict=False):
            x = resnet((x, skip), temb)
            x = x if attention is None else attention(x, encoder_hidden_states=encoder_hidden_states, return_dict=False)[0]
            x = motion(x, num_frames=num_frames)
        for upsampler in block.upsamplers or ():
            x = upsampler(x, output_size=upsample_size)
        return x

    return forward


def _fits_transformer(transformer: Any) -> bool:
    return (
        bool(transformer.is_input_continuous)
        and _plain(transformer.norm, transformer.proj_in, transformer.proj_out)
        and all(_fits_block(block) and block.pos_embed is None for block in transformer.transformer_blocks)
    )


def _transformer(transformer: Any) -> Forward:
    """Through a frame's cells. It may be given one of equal sides and the prompts of all of them, and answers with all."""
    plain = transformer.forward

    def forward(x: Tensor, encoder_hidden_states: Tensor | None = None, *rest: Any, return_dict: bool = True, **named: Any) -> Any:
        if _something(*rest, *named.values()):
            return plain(x, encoder_hidden_states, *rest, return_dict=return_dict, **named)
        x = channels_last(x)
        tokens = _project(tokens_of(group_norm(x, transformer.norm)), transformer.proj_in)
        for block in transformer.transformer_blocks:
            tokens = _spatial_block(block, tokens, encoder_hidden_states)
        out = picture_of(product(tokens, transformer.proj_out.weight.flatten(1)), x)
        out = add(out, each(x, len(tokens)), transformer.proj_out.bias)
        return Transformer2DModelOutput(sample=out) if return_dict else (out,)

    return forward


def _spatial_block(block: Any, tokens: Tensor, text: Tensor | None) -> Tensor:
    _, normed = layer_norm(tokens, block.norm1)
    tokens, normed = layer_norm(_self_attention(block.attn1, normed), block.norm2, tokens)
    if text is not None:  # from here on the sides differ
        tokens, normed = each(tokens, len(text)), each(normed, len(text))
    return _feed_forward(block, block.attn2(normed, encoder_hidden_states=text), tokens)


def _fits_motion(transformer: Any) -> bool:
    return _plain(transformer.norm, transformer.proj_in, transformer.proj_out) and all(
        _fits_block(block) and _attends_plainly(block.attn1) and _attends_plainly(block.attn2) for block in transformer.transformer_blocks
    )


def _motion(transformer: Any) -> Forward:
    """Through a cell's frames, which stay where they lie: (clips · frames, cells, channels) all the way."""
    plain = transformer.forward

    def forward(
        x: Tensor, text: Any = None, timestep: Any = None, classes: Any = None, num_frames: int = 1, *rest: Any, **named: Any
    ) -> Tensor:
        if _something(text, timestep, classes, *rest, *named.values()):
            answer: Tensor = plain(x, text, timestep, classes, num_frames, *rest, **named)
            return answer
        x = channels_last(x)
        tokens = _project(tokens_of(group_norm(x, transformer.norm, instances=len(x) // num_frames)), transformer.proj_in)
        for block in transformer.transformer_blocks:
            tokens = _motion_block(block, tokens, num_frames)
        return add(picture_of(product(tokens, transformer.proj_out.weight), x), x, transformer.proj_out.bias)

    return forward


def _motion_block(block: Any, tokens: Tensor, frames: int) -> Tensor:
    places = None if block.pos_embed is None else block.pos_embed.pe[0, :frames].to(tokens.dtype)
    norm = partial(layer_norm, cells=tokens.shape[1])
    _, normed = norm(tokens, block.norm1, places=places)
    tokens, normed = norm(_through_frames(block.attn1, normed, frames), block.norm2, tokens, places=places)
    return _feed_forward(block, _through_frames(block.attn2, normed, frames), tokens)


def _through_frames(attention: Any, tokens: Tensor, frames: int) -> Tensor:
    q, k, v = (part.unflatten(0, (-1, frames)) for part in projections(attention, tokens))
    out: Tensor = attention.to_out[0](frame_attention(q, k, v, attention.heads).flatten(0, 1))
    return out


def _fits_block(block: Any) -> bool:
    return (
        block.norm_type == "layer_norm"
        and block._chunk_size is None
        and block.attn2 is not None
        and not block.only_cross_attention
        and "forward" not in vars(block)
        and _plain(block.norm1, block.norm2, block.norm3)
        and isinstance(block.ff, FeedForward)
        and isinstance(block.ff.net[0], GEGLU)
        and _plain(_last(block.ff))
    )


def _last(ff: Any) -> Any:
    """The product that a feed-forward ends with; where a dropout follows, it is of no account in a network that is run."""
    return ff.net[2]


def _attends_plainly(attention: Any) -> bool:
    """Nothing but its weights has a say in it; merged cells, for one, would."""
    return is_plain_attention(attention) and type(attention.processor) is AttnProcessor2_0 and "forward" not in vars(attention)


def _self_attention(attention: Any, tokens: Tensor) -> Tensor:
    if not _attends_plainly(attention):
        answer: Tensor = attention(tokens)
        return answer
    q, k, v = (part.unflatten(2, (attention.heads, -1)).transpose(1, 2) for part in projections(attention, tokens))
    seen: Tensor = attention.to_out[0](attend(q, k, v).transpose(1, 2).flatten(2))
    return seen


def _feed_forward(block: Any, attended: Tensor, tokens: Tensor) -> Tensor:
    """A block's end. On a card its last product is made onto the sum that it is added to, in which its bias is already."""
    if not only_run(tokens):
        tokens, normed = layer_norm(attended, block.norm3, tokens)
        ended: Tensor = block.ff(normed) + tokens
        return ended
    tokens, normed = layer_norm(attended, block.norm3, tokens, more=_last(block.ff).bias)
    hidden = gated(block.ff.net[0].proj(normed))
    tokens.flatten(0, 1).addmm_(hidden.flatten(0, 1), _last(block.ff).weight.T)
    return tokens


def _fits_wide_attention(attention: Any) -> bool:
    """An autoencoder's: of one wide head, with a norm before and the picture added behind."""
    return (
        attention.heads == 1
        and attention.to_q.out_features > WIDEST_HEAD
        and type(attention.processor) is AttnProcessor2_0
        and attention.residual_connection
        and attention.rescale_output_factor == 1
        and not any((attention.spatial_norm, attention.norm_cross, attention.norm_q, attention.norm_k))
        and _plain(attention.group_norm, attention.to_q, attention.to_k, attention.to_v, attention.to_out[0])
    )


def _wide_attention(attention: Any) -> Forward:
    plain = attention.forward

    def forward(x: Tensor, *rest: Any, **named: Any) -> Tensor:
        if x.ndim != 4 or _something(*rest, *named.values()) or not may_attend_widely(x, x.shape[2] * x.shape[3]):
            answer: Tensor = plain(x, *rest, **named)
            return answer
        x, out = channels_last(x), attention.to_out[0]
        tokens = tokens_of(group_norm(x, attention.group_norm))
        seen = wide_attention(*(_project(tokens, layer) for layer in (attention.to_q, attention.to_k, attention.to_v)))
        return add(picture_of(product(seen, out.weight), x), x, out.bias)

    return forward


def _fits_upsample(up: Any) -> bool:
    conv = up.conv
    usual = up.use_conv and not up.use_conv_transpose and up.interpolate and up.norm is None and up.name == "conv"
    return bool(usual) and _plain(conv) and conv.kernel_size == (3, 3) and conv.padding == (1, 1) and conv.stride == (1, 1)


def _upsample(up: Any) -> Forward:
    plain = up.forward
    parts: list[Tensor] = []

    def forward(x: Tensor, output_size: Any = None, *rest: Any, **named: Any) -> Tensor:
        if output_size is not None or torch.is_grad_enabled() or _something(*rest, *named.values()):
            answer: Tensor = plain(x, output_size, *rest, **named)
            return answer
        if not parts or parts[0].device != x.device:
            parts[:] = phases(up.conv.weight)
        return doubled(x, parts, up.conv.bias)

    return forward


def _is_dense(module: Any) -> bool:
    """An ESRGAN's block (Wang et al. 2018): five convolutions, each of which sees all before it; ``slope`` is its leaky ReLU's, ``share``
    that of the last which is added to the block's input."""
    convs = _convolutions(module)
    return (
        len(convs) == 5 and hasattr(module, "slope") and hasattr(module, "share")
        and all(_plain(conv) and conv.kernel_size == (3, 3) and conv.padding == (1, 1) and conv.stride == (1, 1) for conv in convs)
    )  # fmt: skip


def _convolutions(dense: Any) -> list[Any]:
    return [found for number in range(1, 6) if (found := dense._modules.get(f"conv{number}")) is not None]


def _dense(block: Any) -> Forward:
    """Each convolution's bias and ReLU are done where its channels are laid behind those that were there."""
    *convs, last = _convolutions(block)

    def forward(x: Tensor) -> Tensor:
        seen = x = channels_last(x)
        for conv in convs:
            seen = widened(seen, conv2d(seen, conv.weight, None, padding=1), conv.bias, block.slope)
        return moved(x, conv2d(seen, last.weight, None, padding=1), last.bias, block.share)

    return forward


WIDEST_HEAD = 256
"""Channels; flash attention has no kernel for wider ones."""
KINDS = {
    Attention: Quicker(_fits_wide_attention, _wide_attention),
    ResnetBlock2D: Quicker(_fits_resnet, _resnet, "input_tensor"),
    Transformer2DModel: Quicker(_fits_transformer, _transformer, everywhere=True),
    AnimateDiffTransformer3D: Quicker(_fits_motion, _motion, everywhere=True),
    UpBlockMotion: Quicker(_fits_up_block, _up_block),
    CrossAttnUpBlockMotion: Quicker(_fits_up_block, _up_block),
    Upsample2D: Quicker(_fits_upsample, _upsample, everywhere=True),
}
