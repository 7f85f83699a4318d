"""The kernels for a card, run by Triton's interpreter on the CPU (conftest.py): blocks made of them are diffusers' own to rounding."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention
from tiny import tiny_networks
from torch import Tensor, nn
from torch.nn.functional import group_norm, layer_norm, scaled_dot_product_attention, silu

from vcd_studio.method.denoise import predict
from vcd_studio.method.fused import blocks, layers, projections, running
from vcd_studio.method.fused import group_norm as group_norms
from vcd_studio.method.protocols import Networks
from vcd_studio.models.rrdbnet import RRDBNet

pytest.importorskip("triton", reason="torch's builds for NVIDIA cards on Linux bring it")


def broken(x: Tensor) -> Tensor:
    raise RuntimeError("Failed to find C compiler.\nPlease specify via CC.")


BOTH = pytest.mark.parametrize("place", ["card", "processor"], indirect=True)


@pytest.fixture(autouse=True)
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """On a card, but for its kernels, which are interpreted; or without one."""
    if getattr(request, "param", "card") == "card":
        for module in (layers, group_norms, running):
            monkeypatch.setattr(module, "on_card", lambda x: True)
    with torch.inference_mode():
        yield


def random(*shape: int, mean: float = 0.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))) + mean


def pictures(*shape: int, mean: float = 0.0) -> Tensor:
    return random(*shape, mean=mean).contiguous(memory_format=torch.channels_last)


def with_numbers(layer: Any) -> Any:
    for parameter in layer.parameters():
        parameter.copy_(random(*parameter.shape, mean=0.5))
    return layer


@pytest.mark.parametrize(("place", "mean"), [("card", 0.0), ("card", 300.0), ("processor", 0.0)], indirect=["place"])
@pytest.mark.parametrize(("channels", "groups"), [(32, 32), (60, 6), (96, 2), (160, 16)])
def test_group_norm(channels: int, groups: int, mean: float) -> None:
    norm = with_numbers(nn.GroupNorm(groups, channels, eps=1e-5))
    x = pictures(3, channels, 9, 15, mean=mean)
    ours = group_norms.group_norm(x, norm)
    exact = norm.double()(x.double()).float()
    torch.testing.assert_close(ours, exact, atol=5e-4, rtol=1e-4)  # at a mean of 300, torch itself is 0.2 off
    assert ours.is_contiguous(memory_format=torch.channels_last)


def test_group_norm_of_many_rows_in_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_norms, "PIECES", 5)
    norm = with_numbers(nn.GroupNorm(4, 12))
    x = pictures(2, 12, 31, 33, mean=4.0)
    torch.testing.assert_close(group_norms.group_norm(x, norm, silu=True), silu(norm(x)), atol=1e-5, rtol=1e-4)


@BOTH
def test_group_norm_after_a_shift_of_channels() -> None:
    norm, x, shift = with_numbers(nn.GroupNorm(8, 32)), pictures(2, 32, 8, 8), random(2, 32)
    torch.testing.assert_close(group_norms.group_norm(x, norm, shift=shift), norm(x + shift[:, :, None, None]), atol=1e-5, rtol=1e-4)


@BOTH
def test_group_norm_of_pictures_behind_one_another() -> None:
    norm = with_numbers(nn.GroupNorm(6, 60))
    parts = pictures(2, 40, 5, 7, mean=2.0), pictures(2, 20, 5, 7)
    expected = silu(group_norm(torch.cat(parts, 1), 6, norm.weight, norm.bias, norm.eps))
    torch.testing.assert_close(group_norms.group_norm(parts, norm, silu=True), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("how", ["plain", "silu", "clips", "shift", "two"])
def test_the_way_back_through_a_group_norm(how: str) -> None:
    with torch.inference_mode(False), torch.enable_grad():
        norm = with_numbers(nn.GroupNorm(6, 60).requires_grad_(False))
        x, dy = pictures(4, 60, 9, 15, mean=3.0).clone().requires_grad_(), pictures(4, 60, 9, 15).clone()
        shift = random(4, 60).clone()
        seen = x + shift[:, :, None, None] if how == "shift" else x
        if how == "clips":
            clips = seen.unflatten(0, (2, 2)).transpose(1, 2)
            plain = group_norm(clips, 6, norm.weight, norm.bias, norm.eps).transpose(1, 2).flatten(0, 1)
        else:
            plain = group_norm(seen, 6, norm.weight, norm.bias, norm.eps)
        plain = plain if how in ("plain", "clips") else silu(plain)
        told: dict[str, Any] = {"shift": {"shift": shift}, "clips": {"instances": 2}}.get(how, {})
        parts = x.split([40, 20], 1) if how == "two" else x
        ours = group_norms.group_norm(parts, norm, silu=how not in ("plain", "clips"), **told)
        torch.testing.assert_close(ours, plain, atol=2e-5, rtol=1e-4)
        (expected,), (gradient,) = torch.autograd.grad(plain, x, dy), torch.autograd.grad(ours, x, dy)
        torch.testing.assert_close(gradient, expected, atol=2e-5, rtol=1e-4)


@BOTH
def test_group_norm_of_clips() -> None:
    norm, x = with_numbers(nn.GroupNorm(8, 32)), pictures(2 * 3, 32, 4, 5)
    clips = x.unflatten(0, (2, 3)).transpose(1, 2)
    expected = group_norm(clips, 8, norm.weight, norm.bias).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(group_norms.group_norm(x, norm, instances=2), expected, atol=1e-5, rtol=1e-4)


@BOTH
def test_sums() -> None:
    x, residual, bias = pictures(2, 70, 5, 3), pictures(2, 70, 3, 5).transpose(2, 3), random(70)
    torch.testing.assert_close(group_norms.add(x, residual, bias), x + residual + bias[:, None, None])


@BOTH
@pytest.mark.parametrize("channels", [32, 40, 320])
def test_layer_norm(channels: int) -> None:
    norm, x, residual = with_numbers(nn.LayerNorm(channels)), random(3, 7, channels), random(3, 7, channels, mean=1.0)
    total, normed = layers.layer_norm(x, norm, residual)
    torch.testing.assert_close(total, x + residual)
    torch.testing.assert_close(normed, norm(x + residual), atol=1e-5, rtol=1e-4)
    alone, normed = layers.layer_norm(x, norm)
    assert alone is x
    torch.testing.assert_close(normed, layer_norm(x, (channels,), norm.weight, norm.bias), atol=1e-5, rtol=1e-4)


@BOTH
def test_layer_norm_tells_the_frames_apart() -> None:
    clips, frames, cells, channels = 2, 3, 5, 32
    norm, x, places = with_numbers(nn.LayerNorm(channels)), random(clips * frames, cells, channels), random(frames, channels)
    _, normed = layers.layer_norm(x, norm, places=places, cells=cells)
    expected = norm(x) + places.repeat(clips, 1)[:, None]
    torch.testing.assert_close(normed, expected, atol=1e-5, rtol=1e-4)


@BOTH
@pytest.mark.parametrize("width", [8, 100, 1300])
def test_gate(width: int) -> None:
    x = random(2, 3, 2 * width)
    value, gate = x.chunk(2, -1)
    torch.testing.assert_close(layers.gated(x), value * nn.functional.gelu(gate))


@BOTH
@pytest.mark.parametrize(("frames", "size"), [(16, 40), (5, 8), (24, 16), (1, 20)])
def test_attention_through_frames(frames: int, size: int) -> None:
    q, k, v = (random(2, frames, 3, 4 * size, mean=i / 9) for i in range(3))
    apart = [t.unflatten(3, (4, size)).permute(0, 2, 3, 1, 4) for t in (q, k, v)]
    expected = scaled_dot_product_attention(*apart).permute(0, 3, 1, 2, 4).flatten(3)
    torch.testing.assert_close(layers.frame_attention(q, k, v, 4), expected)


@pytest.mark.parametrize(("cells", "held"), [(35, 1 << 26), (64, 2 * 64 * 25), (9, 1)])
def test_wide_attention(cells: int, held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "SCORES", held)
    q, k, v = (random(2, cells, 24, mean=i) for i in range(3))
    torch.testing.assert_close(layers.wide_attention(q, k, v), scaled_dot_product_attention(q, k, v))
    monkeypatch.setattr(layers, "in_fp32", lambda a, b: torch.bmm(a.float(), b.float()))  # torch has it on cards alone
    halves = [30 * t.half() for t in (q, k, v)]
    ours, expected = layers.wide_attention(*halves), scaled_dot_product_attention(*(t.float() for t in halves))
    torch.testing.assert_close(ours.float(), expected, atol=0.1, rtol=2e-3)


def test_attention_of_an_autoencoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "WIDEST_HEAD", 16)
    assert not layers.may_attend_widely(random(1), 54)
    assert [layers.may_attend_widely(random(1).half(), cells) for cells in (54, 1 << 16)] == [True, False]
    monkeypatch.setattr(blocks, "may_attend_widely", lambda *_: True)  # in 32 bits too
    attention = with_numbers(
        Attention(32, heads=1, dim_head=32, residual_connection=True, norm_num_groups=4, bias=True, _from_deprecated_attn_block=True)
    )
    x = pictures(2, 32, 6, 9)
    plain, calls = attention(x, temb=None), counted(monkeypatch)
    with running.quickly(nn.ModuleList([attention])):
        ours, masked = attention(x, temb=None), attention(x, attention_mask=torch.zeros(2, 54))
    torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(masked, plain)
    assert calls == {"group_norm": 1, "wide_attention": 1, "add": 1}


@pytest.fixture
def networks() -> Networks:
    with torch.inference_mode(False), torch.no_grad():
        made = tiny_networks(controlnet=True)
        for network in (made.vae, made.motion_unet, made.controlnet):
            for parameter in network.parameters():  # zeros (of ControlNets, of motion modules) would hide what comes before
                parameter.copy_(parameter + 0.02 * random(*parameter.shape))
            network.to(memory_format=torch.channels_last)
    return made


def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often each layer is called from now on."""
    calls: dict[str, int] = {}

    def noting(name: str) -> Any:
        layer = getattr(blocks, name)

        def call(*rest: Any, **named: Any) -> Any:
            calls[name] = calls.get(name, 0) + 1
            return layer(*rest, **named)

        return call

    for name in ("add", "doubled", "frame_attention", "gated", "group_norm", "layer_norm", "moved", "wide_attention", "widened"):
        monkeypatch.setattr(blocks, name, noting(name))
    return calls


def test_unet_with_motion(networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    unet, noisy, t = networks.motion_unet, random(2, 4, 3, 4, 4), torch.tensor(500)
    text = random(2, 24, 32).repeat_interleave(3, 0)
    plain = unet(noisy, t, encoder_hidden_states=text).sample
    calls, anew, sum_up = counted(monkeypatch), [], group_norms._sum_up

    def summed(x: Tensor, residual: Tensor | None = None, bias: Tensor | None = None) -> Any:
        if residual is None:
            anew.append(x)
        return sum_up(x, residual, bias)

    monkeypatch.setattr(group_norms, "_sum_up", summed)
    with running.quickly(unet):
        ours = unet(noisy, t, encoder_hidden_states=text).sample
    torch.testing.assert_close(ours, plain, atol=2e-5, rtol=1e-4)
    kinds = [type(module).__name__ for module in unet.modules()]
    resnets, spatial, motion = (kinds.count(name) for name in ("ResnetBlock2D", "Transformer2DModel", "AnimateDiffTransformer3D"))
    assert calls["group_norm"] == 2 * resnets + spatial + motion + 1
    assert calls["add"] == resnets + spatial + motion
    assert calls["layer_norm"] == 3 * (spatial + motion)
    assert calls["gated"] == spatial + motion
    assert calls["frame_attention"] == 2 * motion
    assert calls["doubled"] == 1
    of_convolutions = 2 + 1 + 1 + 1  # conv_in's, into the first block and as the last skip; down, its skip; up
    assert len(anew) == resnets + of_convolutions, "behind sums they are known"


@BOTH
def test_sides_of_guidance_are_one_until_the_prompt(networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    unet, noisy, t = networks.motion_unet, random(1, 4, 3, 4, 4), torch.tensor(500)
    text = torch.cat([random(1, 24, 32), random(1, 24, 32, mean=1.0)]).repeat_interleave(3, 0)
    plain = predict(unet, noisy, t, text)
    block = unet.down_blocks[0]
    spatial = block.attentions[0].transformer_blocks[0]
    rows: list[int] = []
    looked_at = (block.resnets[0].time_emb_proj, spatial.attn1.to_out[0], spatial.attn2.to_out[0], unet.mid_block.resnets[0].time_emb_proj)
    for layer in looked_at:
        layer.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    with running.quickly(unet):
        ours = predict(unet, noisy, t, text)
    torch.testing.assert_close(ours, plain, atol=2e-5, rtol=1e-4)
    assert rows == [3, 3, 6, 6]


def test_projections_made_in_one(networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    unet, noisy, t = networks.motion_unet, random(2, 4, 3, 4, 4), torch.tensor(500)
    text = random(2, 24, 32).repeat_interleave(3, 0)
    plain = unet(noisy, t, encoder_hidden_states=text).sample
    before = {key: value.clone() for key, value in unet.state_dict().items()}
    selves = [m for name, m in unet.named_modules() if type(m) is Attention and (name.endswith("attn1") or "motion_modules" in name)]
    assert selves
    assert not any(projections.merged(attention) is not None for attention in selves)
    for attention in selves:
        projections.merge_projections(attention)
        assert projections.merged(attention) is not None
    torch.testing.assert_close(dict(unet.state_dict()), before, atol=0, rtol=0)
    with running.quickly(unet):
        ours = unet(noisy, t, encoder_hidden_states=text).sample
    torch.testing.assert_close(ours, plain, atol=2e-5, rtol=1e-4)
    moved = copy.deepcopy(selves[0])  # wherever its weights lie now
    tokens = random(2, 6, moved.to_q.in_features)
    alone = [layer(tokens) for layer in (moved.to_q, moved.to_k, moved.to_v)]
    torch.testing.assert_close(list(projections.projections(moved, tokens)), alone, atol=1e-5, rtol=1e-4)


@BOTH
def test_a_picture_doubled_and_convolved() -> None:
    conv = with_numbers(nn.Conv2d(10, 70, 3, padding=1))
    x = pictures(2, 10, 5, 7)
    ours = layers.doubled(x, layers.phases(conv.weight), conv.bias)
    torch.testing.assert_close(ours, conv(nn.functional.interpolate(x, scale_factor=2.0)), atol=1e-4, rtol=1e-4)
    assert ours.is_contiguous(memory_format=torch.channels_last)


@BOTH
@pytest.mark.parametrize(("before", "added"), [(8, 4), (64, 32), (40, 24)])
def test_channels_laid_behind_those_that_were_there(before: int, added: int) -> None:
    x, more, bias = pictures(2, before, 9, 15), pictures(2, added, 9, 15), random(added)
    ours = layers.widened(x, more, bias, 0.2)
    expected = torch.cat([x, nn.functional.leaky_relu(more + bias[:, None, None], 0.2)], 1)
    torch.testing.assert_close(ours, expected)
    assert ours.is_contiguous(memory_format=torch.channels_last)


@BOTH
def test_a_picture_moved_by_a_share_of_another() -> None:
    x, by, bias = pictures(2, 70, 5, 7), pictures(2, 70, 5, 7, mean=2.0), random(70)
    torch.testing.assert_close(layers.moved(x, by, bias, 0.2), x + 0.2 * (by + bias[:, None, None]))


@BOTH
def test_upscaler(monkeypatch: pytest.MonkeyPatch) -> None:
    upscaler = RRDBNet(2, 16, 2, 8).to(memory_format=torch.channels_last)
    frames = random(2, 3, 8, 12)
    plain = upscaler.upscale(frames)
    calls = counted(monkeypatch)
    with running.quickly(upscaler):
        ours = upscaler.upscale(frames)
    torch.testing.assert_close(ours, plain, atol=2e-6, rtol=1e-5)
    assert calls == ({"widened": 4 * 6, "moved": 6} if running.on_card(frames) else {})


def test_what_learns_through_a_unet_is_told_the_same(networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.inference_mode(False), torch.enable_grad():
        unet = networks.unet.requires_grad_(False).to(memory_format=torch.channels_last)
        noisy, t = random(2, 4, 8, 8).clone(), torch.tensor(500)
        text = random(2, 24, 32).clone().requires_grad_()
        (plain,) = torch.autograd.grad(unet(noisy, t, encoder_hidden_states=text).sample.pow(2).mean(), text)
        calls = counted(monkeypatch)
        with running.quickly(unet):
            (ours,) = torch.autograd.grad(unet(noisy, t, encoder_hidden_states=text).sample.pow(2).mean(), text)
        torch.testing.assert_close(ours, plain, atol=1e-7, rtol=1e-3)
        kinds = [type(module).__name__ for module in unet.modules()]
        assert calls["group_norm"] == 2 * kinds.count("ResnetBlock2D") + kinds.count("Transformer2DModel") + 1
        assert "doubled" not in calls


def test_vae(networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    vae, latents, picture = networks.vae, random(2, 4, 4, 4), random(2, 3, 16, 16)
    plain = vae.decode(latents).sample, vae.encode(picture).latent_dist.mean
    calls = counted(monkeypatch)
    with running.quickly(vae):
        ours = vae.decode(latents).sample, vae.encode(picture).latent_dist.mean
    torch.testing.assert_close(ours, plain, atol=2e-5, rtol=1e-4)
    assert calls["add"] == sum(type(m).__name__ == "ResnetBlock2D" for m in vae.modules())


def test_controlnet(networks: Networks) -> None:
    condition = random(2, 3, 16, 16)
    given: Any = (random(2, 4, 4, 4), torch.tensor(500)), {"encoder_hidden_states": random(2, 24, 32), "controlnet_cond": condition}
    plain = networks.controlnet(*given[0], **given[1])
    with running.quickly(networks.controlnet):
        ours = networks.controlnet(*given[0], **given[1])
    torch.testing.assert_close(ours.mid_block_res_sample, plain.mid_block_res_sample, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(ours.down_block_res_samples, plain.down_block_res_samples, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("capability", "first", "said"),
    [
        ((7, 5), torch.zeros, "they are for NVIDIA cards since Ampere"),
        ((9, 0), broken, "Failed to find C compiler."),
        ((9, 0), lambda x: x[..., :16], "gated reckons wrongly"),
        ((9, 0), layers._gated_by_torch, None),
    ],
)
def test_a_card_does_without_kernels_that_cannot_be_made_or_reckon_wrongly(
    capability: tuple[int, int], first: Any, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(layers, "_gated", first)
    assert layers.refusal.__wrapped__(torch.device("cpu")) == said


@pytest.mark.parametrize(
    ("layer", "named"), [("_gated", "gated"), ("_widened", "widened"), ("_moved", "moved"), ("wide_attention", "powers")]
)
def test_each_kernel_that_is_tried_can_be_found_wrong(layer: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    works = getattr(layers, layer)
    monkeypatch.setattr(layers, layer, lambda *given: works(*given) + 0.01)
    assert layers.refusal.__wrapped__(torch.device("cpu")) == f"{named} reckons wrongly"


def test_pictures_of_any_size_have_programs_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA takes 2³¹ of them in a grid's first dimension, and 65 535 in the others."""
    grids: list[tuple[int, ...]] = []

    class Grids:
        def __getattr__(self, name: str) -> Any:
            return self

        def __getitem__(self, grid: tuple[int, ...]) -> Any:
            grids.append(grid)
            return lambda *_, **__: None

    for module in (layers, group_norms):
        monkeypatch.setattr(module, "kernels", Grids)
    with torch.device("meta"):
        x, norm, bias = torch.empty(1, 512, 4096, 4096), nn.GroupNorm(32, 512), torch.empty(512)
        group_norms.group_norm(x, norm)
        group_norms.add(x, x, bias)
        layers.doubled(x[..., :2048, :2048], layers.phases(torch.empty(512, 512, 3, 3)), bias)
        layers.layer_norm(torch.empty(1, 4096 * 4096, 320), nn.LayerNorm(320))
        layers.gated(torch.empty(1, 4096 * 4096, 2560))
        layers.frame_attention(*torch.empty(3, 1, 32, 512 * 512, 320), heads=8)
        layers.wide_attention(*torch.empty(3, 1, 1 << 15, 512))
        layers.widened(x, x[:, :32], bias[:32], 0.2)
        layers.moved(x, x, bias, 0.2)
    assert len(grids) == 10 + 16
    assert all(max(grid[1:], default=0) <= 65535 for grid in grids)
