"""The prior against eq. 4 and against torch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vcd_studio.method.noise_prior import noise_prior


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=20)
@given(gamma=st.floats(0, 1), frames=st.integers(1, 12))
def test_covariance_is_that_of_equation_4(gamma: float, frames: int) -> None:
    noise = noise_prior((1, 4, frames, 64, 64), gamma, seeded())
    samples = noise[0].transpose(0, 1).flatten(1)
    covariance = samples @ samples.T / samples.shape[1]
    place = torch.arange(frames)
    toeplitz = torch.tensor(gamma) ** (place[:, None] - place).abs()
    assert (covariance - toeplitz).abs().max() < 6 / samples.shape[1] ** 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_gamma_zero_is_bit_equal_to_randn(dtype: torch.dtype) -> None:
    shape = (2, 4, 16, 8, 8)
    plain = torch.randn(shape, generator=seeded(), dtype=dtype)
    assert torch.equal(noise_prior(shape, 0, seeded(), dtype=dtype), plain)


def test_gamma_one_is_a_still_picture_and_batches_are_independent() -> None:
    noise = noise_prior((2, 4, 5, 8, 8), 1, seeded())
    assert torch.equal(noise[:, :, :1].expand_as(noise), noise)
    assert not torch.equal(noise[0], noise[1])


def test_gamma_outside_of_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="gamma"):
        noise_prior((1, 4, 2, 2, 2), 1.1, seeded())
