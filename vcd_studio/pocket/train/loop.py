"""One training loop for every part of the pocket pack: warm-up, constant rate, linear cool-down, EMA, resumable at any step."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """How long and how fast. ``steps`` may be changed between runs: only the cool-down (the last quarter) moves."""

    steps: int
    learning_rate: float
    ema_decay: float = 0.999
    warm_up: int = 200
    cool_down: float = 0.25  # share of the steps at the end
    weight_decay: float = 0.01
    save_every: int = 200

    def rate(self, step: int) -> float:
        """The learning rate at ``step`` (0-based)."""
        start = self.steps * (1 - self.cool_down)
        down = 1.0 if step < start else max(0.02, (self.steps - step) / (self.steps - start))
        return self.learning_rate * min(1.0, (step + 1) / self.warm_up) * down


def train(
    name: str,
    model: nn.Module,
    loss_at: Callable[[np.random.Generator], torch.Tensor],
    recipe: Recipe,
    folder: Path,
    say: Callable[[str], None] = print,
    half: bool = False,
) -> nn.Module:
    """Train ``model``'s parameters that require gradients and return it with their EMA in place.

    ``loss_at(rng)`` draws one batch and returns its loss (under bf16 autocast where ``half``; weights stay
    fp32). ``folder/<name>.pt`` is the checkpoint (replaced atomically every
    ``save_every`` steps), ``folder/<name>.csv`` the loss curve. A run that was killed goes on from its checkpoint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / f"{name}.pt"
    parameters: Weights = {key: p for key, p in model.named_parameters() if p.requires_grad}
    optimiser = torch.optim.AdamW(
        parameters.values(), recipe.learning_rate, betas=(0.9, 0.99), weight_decay=recipe.weight_decay, fused=True
    )
    device = next(iter(parameters.values())).device.type
    average: Weights = {key: p.detach().clone() for key, p in parameters.items()}
    step, seconds = 0, 0.0
    if checkpoint.exists():
        step, seconds = _load(checkpoint, parameters, average, optimiser)
        say(f"{name}: going on from step {step}")
    running, since, last = 0.0, 0, time.perf_counter()
    model.train()
    while step < recipe.steps:
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate(step)
        with torch.autocast(device, torch.bfloat16, enabled=half):
            loss = loss_at(np.random.default_rng([step, 2026]))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimiser.step()
        step += 1
        decay = min(recipe.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.values()), list(parameters.values()), 1 - decay)
        running, since = running + float(loss.detach()), since + 1
        if step % 50 == 0 or step == recipe.steps:
            now = time.perf_counter()
            seconds, last = seconds + now - last, now
            with (folder / f"{name}.csv").open("a", newline="") as file:
                csv.writer(file).writerow([step, f"{running / since:.5f}", f"{seconds:.0f}"])
            left = (recipe.steps - step) * seconds / step / 60
            say(f"{name}: step {step}/{recipe.steps} loss {running / since:.4f}, {left:.1f} min left")
            running, since = 0.0, 0
        if step % recipe.save_every == 0 or step == recipe.steps:
            _save(checkpoint, parameters, average, optimiser, step, seconds)
    with torch.no_grad():
        for key, p in parameters.items():
            p.copy_(average[key])
    model.eval()
    return model


def _save(
    checkpoint: Path, parameters: Weights, average: Weights, optimiser: torch.optim.Optimizer, step: int, seconds: float
) -> None:
    """Everything a resumed run needs, whole or not at all."""
    state = {
        "model": {key: p.detach() for key, p in parameters.items()},
        "average": average,
        "optimiser": optimiser.state_dict(),
        "step": step,
        "seconds": seconds,
        "rng": torch.get_rng_state(),
    }
    torch.save(state, checkpoint.with_suffix(".part"))
    checkpoint.with_suffix(".part").replace(checkpoint)


def _load(checkpoint: Path, parameters: Weights, average: Weights, optimiser: torch.optim.Optimizer) -> tuple[int, float]:
    """Put a checkpoint back where it came from; the step and the seconds it stood at."""
    saved = torch.load(checkpoint, map_location=next(iter(parameters.values())).device, weights_only=True)
    with torch.no_grad():
        for key, p in parameters.items():
            p.copy_(saved["model"][key])
            average[key] = saved["average"][key].to(p)
    optimiser.load_state_dict(saved["optimiser"])
    torch.set_rng_state(saved["rng"].cpu())
    return int(saved["step"]), float(saved["seconds"])
