"""A long clip is coded a few pictures at a time: what is in memory at once does not grow with it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import tiny_networks

from vcd_studio.method.pictures import decode_frames, decode_latents, encode_frames, to_frames


@pytest.mark.parametrize("at_once", [1, 3])
def test_no_more_pictures_wait_than_the_vae_sees_at_a_time(at_once: int) -> None:
    networks = replace(tiny_networks(), pixels_at_once=at_once * 32 * 32)
    alive: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def pictures() -> Iterator[torch.Tensor]:
        nonlocal most
        for brightness in torch.linspace(-1, 1, 12):
            gc.collect()
            most = max(most, sum(picture() is not None for picture in alive))
            picture = torch.full((3, 32, 32), float(brightness))
            alive.append(weakref.ref(picture))
            yield picture
            del picture

    latents = encode_frames(pictures(), networks)
    assert latents.shape[2] == 12
    assert most <= at_once + 1
    whole = torch.linspace(-1, 1, 12)[:, None, None, None].expand(-1, 3, 32, 32)
    assert torch.allclose(latents, encode_frames(whole, networks), atol=1e-6)


@pytest.mark.parametrize("at_once", [1, 4, 5, 99])
def test_frames_are_what_the_decoded_pictures_are(at_once: int) -> None:
    networks = replace(tiny_networks(), pixels_at_once=at_once * 32 * 24)
    latents = torch.randn((1, networks.latent_channels, 5, 32 // networks.vae_scale, 24 // networks.vae_scale))
    assert np.array_equal(decode_frames(latents, networks), to_frames(decode_latents(latents, networks)))
