"""The 3D Gaussian noise prior (paper section 4.1, eq. 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def noise_prior(
    shape: Sequence[int],
    gamma: float,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Noise (batch, channels, frames, height, width) whose frames m and n have covariance γ^|m−n| at each place.

    Σ_f(γ) is the covariance of a stationary walk, ε₀ = η₀ and εₜ = γ εₜ₋₁ + √(1−γ²) ηₜ: unit variance in every frame, any length,
    no Cholesky. One draw of the whole shape on the generator's own device, so that γ = 0 is bit-equal to ``torch.randn``.
    """
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma must lie in 0..1, but is {gamma}.")
    eta = torch.randn(tuple(shape), generator=generator, device=generator.device, dtype=dtype).to(device)
    frames = [eta[:, :, 0]]
    for fresh in eta.unbind(2)[1:]:
        frames.append(gamma * frames[-1] + math.sqrt(1 - gamma**2) * fresh)
    return torch.stack(frames, 2)
