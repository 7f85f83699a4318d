"""Attention that saves work gives what the ordinary one gives, and leaves the network as it was."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

from vcd_studio.method.attention import FEW, MOST_ROWS, attend, attend_plainly, distinct_rows, plainly_attending, remembered_prompts
from vcd_studio.method.one_dnn import by_one_dnn
from vcd_studio.method.protocols import Networks


def gradient(networks: Networks, noisy: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A prediction, and how its square depends on the prompt."""
    text = text.clone().requires_grad_()
    predicted = networks.unet(noisy, 7, encoder_hidden_states=text).sample
    (slope,) = torch.autograd.grad(predicted.square().sum(), text)
    return predicted.detach(), slope


def test_plain_steps_predict_the_same_and_lead_back_the_same(networks: Networks) -> None:
    width = networks.unet.config.cross_attention_dim
    noisy, text = torch.randn(2, networks.latent_channels, 8, 8), torch.randn(2, 5, width)
    fused = gradient(networks, noisy, text)
    before = attend_plainly(networks.unet)
    assert {type(p) for p in networks.unet.attn_processors.values()} == {AttnProcessor}
    plain = gradient(networks, noisy, text)
    networks.unet.set_attn_processor(before)
    for a, b in zip(fused, plain, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def test_learning_attends_in_plain_steps_where_numbers_are_in_sixteen_bits(networks: Networks) -> None:
    def kinds() -> set[type]:
        return {type(processor) for processor in networks.unet.attn_processors.values()}

    with plainly_attending(networks.unet):
        assert kinds() == {AttnProcessor2_0}, "the quicker in fp32"
    with torch.autocast("cpu", torch.bfloat16), plainly_attending(networks.unet):
        assert kinds() == {AttnProcessor}
    networks.unet.to(torch.bfloat16)
    with plainly_attending(networks.unet):
        assert kinds() == {AttnProcessor}
    assert kinds() == {AttnProcessor2_0}


def test_a_processor_of_ones_own_is_left_alone(networks: Networks) -> None:
    class Own(AttnProcessor2_0):
        pass

    before = dict(networks.unet.attn_processors)
    name = next(iter(before))
    try:
        networks.unet.set_attn_processor({**before, name: (own := Own())})
        attend_plainly(networks.unet)
        assert networks.unet.attn_processors[name] is own
    finally:
        networks.unet.set_attn_processor(before)


def test_prompts_are_remembered_by_their_distinct_rows() -> None:
    words = torch.randn(2, 5, 3)
    clip = words.repeat_interleave(4, 0)
    assert torch.equal(distinct_rows(clip), words)
    travel = torch.randn(8, 5, 3)
    assert torch.equal(distinct_rows(travel), travel)
    uneven = torch.cat([words[:1].expand(3, -1, -1), words[1:]])
    assert torch.equal(distinct_rows(uneven), uneven)


@pytest.mark.parametrize("travel", [False, True])
def test_a_clip_is_predicted_as_ever_while_prompts_are_remembered_and_layers_run_in_one_dnn(networks: Networks, travel: bool) -> None:
    width = networks.unet.config.cross_attention_dim
    noisy = torch.randn(2, networks.latent_channels, 4, 8, 8)
    text = torch.randn(8, 5, width) if travel else torch.randn(2, 5, width).repeat_interleave(4, 0)
    with torch.inference_mode():
        plain = networks.motion_unet(noisy, 7, encoder_hidden_states=text).sample
        with remembered_prompts(networks.motion_unet), by_one_dnn(networks.motion_unet):
            for _ in range(2):
                assert torch.allclose(networks.motion_unet(noisy, 7, encoder_hidden_states=text).sample, plain, rtol=1e-4, atol=1e-5)
            changed = [block for block in networks.motion_unet.modules() if "forward" in vars(block)]
        assert changed
        assert not any("forward" in vars(block) for block in networks.motion_unet.modules())
        assert torch.equal(networks.motion_unet(noisy, 7, encoder_hidden_states=text).sample, plain)


@pytest.mark.parametrize(("rows", "remembered"), [(2, True), (MOST_ROWS + 1, False)])
def test_a_prompt_that_travels_is_not_kept_frame_by_frame(networks: Networks, rows: int, remembered: bool) -> None:
    width, unet = networks.unet.config.cross_attention_dim, networks.motion_unet
    noisy, text = torch.randn(1, networks.latent_channels, rows, 8, 8), torch.randn(rows, 5, width)
    keys = next(module for name, module in unet.named_modules() if name.endswith("attn2.to_k") and "motion" not in name)
    calls: list[int] = []
    handle = keys.register_forward_hook(lambda *_: calls.append(1))
    try:
        with torch.inference_mode(), remembered_prompts(unet):
            once, again = (unet(noisy, 7, encoder_hidden_states=text).sample for _ in range(2))
    finally:
        handle.remove()
    assert len(calls) == (1 if remembered else 2)
    assert torch.equal(once, again)


@pytest.mark.parametrize(("keys", "fused"), [(FEW, 0), (FEW + 1, 1)])
def test_few_keys_are_attended_to_in_plain_steps(keys: int, fused: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(keys)
    q, k, v = (torch.randn(2, 4, length, 8, generator=generator) for length in (20, keys, keys))
    kernel, calls = torch.nn.functional.scaled_dot_product_attention, []
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", lambda *given: calls.append(given) or kernel(*given))
    torch.testing.assert_close(attend(q, k, v), kernel(q, k, v), atol=1e-6, rtol=1e-5)
    assert len(calls) == fused


def test_scores_are_worked_on_in_place_where_nothing_learns() -> None:
    """With the axes of attention through frames too, which lie apart in memory."""
    q, k, v = torch.randn(3, 2, 6, 5, 4, 8).transpose(2, 4)
    learnt = attend(q, k, v)
    with torch.inference_mode():
        run = attend(q, k, v)
    torch.testing.assert_close(run, learnt, atol=1e-6, rtol=1e-5)
    assert run.shape == learnt.shape
