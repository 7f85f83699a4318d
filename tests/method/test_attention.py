"""Attention that saves work gives what the ordinary one gives, and leaves the network as it was."""

from __future__ import annotations

import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

from vcd_studio.method.attention import attend_plainly, plainly_attending
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
    with plainly_attending(networks.unet):
        assert {type(p) for p in networks.unet.attn_processors.values()} == {AttnProcessor}
        plain = gradient(networks, noisy, text)
    assert {type(p) for p in networks.unet.attn_processors.values()} == {AttnProcessor2_0}
    for a, b in zip(fused, plain, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)


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
