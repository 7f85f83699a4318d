"""Noise schedules: diffusers' schedulers behind the three acts that the denoising loop needs."""

from __future__ import annotations

import copy
from typing import Any, Literal

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, LCMScheduler
from torch import Tensor

SchedulerName = Literal["ddim", "euler", "dpm++", "lightning", "lcm"]
SOLVERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ddim": (DDIMScheduler, {"clip_sample": False}),
    "euler": (EulerDiscreteScheduler, {}),
    "dpm++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": True}),
    "lightning": (EulerDiscreteScheduler, {"timestep_spacing": "trailing"}),
    "lcm": (LCMScheduler, {"clip_sample": False}),
}
"""``lightning``: what AnimateDiff-Lightning (Lin and Yang 2024) was distilled for: 1, 2, 4 or 8 steps that begin in pure noise, guidance 1.
``lcm``: AnimateLCM's (Wang et al. 2024), 4 to 8 steps, guidance 1 to 2; between two steps the clip is noised anew."""
RENEWED = ("lcm",)


class Schedule:
    """The timesteps of one run, from noise to clean. A scheduler remembers where it is: each run takes a ``fresh`` one."""

    def __init__(self, scheduler: Any, timesteps: Tensor, begin: int = 0, seed: int | None = None) -> None:
        """``seed``: of the noise between two steps, for a scheduler that renews it; another ``begin`` draws other noise from it, because a
        clip noised again with the very noise it grew from comes out burnt."""
        self._pristine, self._seed = scheduler, seed
        self.renewal = None if seed is None else _generator(seed, begin)
        self._scheduler = copy.deepcopy(scheduler)
        self._begin = begin
        self.timesteps = timesteps
        if hasattr(self._scheduler, "set_begin_index"):
            self._scheduler.set_begin_index(begin)

    def __len__(self) -> int:
        return len(self.timesteps)

    @property
    def places(self) -> list[float]:
        """Where on the whole way from noise (0) to clean (1) each timestep begins; a tail's are those that it has on the whole."""
        whole = len(self._pristine.timesteps)
        return [(self._begin + step) / whole for step in range(len(self))]

    def fresh(self) -> Schedule:
        """The same way again, from its beginning."""
        return Schedule(self._pristine, self.timesteps, self._begin, self._seed)

    def tail(self, strength: float) -> Schedule:
        """The last part of the way, for a clip noised to ``strength`` (0..1): at least one step unless strength is 0."""
        if not 0 <= strength <= 1:
            raise ValueError(f"A denoising strength must lie in 0..1, but is {strength}.")
        steps = min(max(int(len(self) * strength), 1 if strength > 0 else 0), len(self))
        begin = len(self) - steps
        return Schedule(self._pristine, self.timesteps[begin:], self._begin + begin, self._seed)

    def start(self, noise: Tensor) -> Tensor:
        """Unit noise as this schedule's latents of pure noise."""
        scaled: Tensor = noise * self._scheduler.init_noise_sigma
        return scaled

    def renoise(self, clean: Tensor, noise: Tensor) -> Tensor:
        """A clean clip noised up to this schedule's first timestep."""
        if not len(self):
            return clean
        noisy: Tensor = self._scheduler.add_noise(clean, noise, self.timesteps[:1].repeat(len(clean)))
        return noisy

    def scale(self, latents: Tensor, t: Tensor) -> Tensor:
        """Latents as the network wants to see them at t."""
        scaled: Tensor = self._scheduler.scale_model_input(latents, t)
        return scaled

    def step(self, predicted: Tensor, t: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        """One step towards clean: (the next latents, the clean latents as expected now)."""
        renewed = {} if self.renewal is None else {"generator": self.renewal}
        out = self._scheduler.step(predicted, t, latents, **renewed)
        clean = getattr(out, "pred_original_sample", getattr(out, "denoised", None))
        if clean is None:  # multistep solvers of the ++ kind keep it as their own model output
            clean = self._scheduler.model_outputs[-1]
        return out.prev_sample, clean


def _generator(seed: int, begin: int) -> torch.Generator:
    words = np.random.SeedSequence((abs(seed), begin, 1)).generate_state(2)
    return torch.Generator("cpu").manual_seed(int(words[0]) << 32 | int(words[1]))


def schedule(name: SchedulerName, config: Any, steps: int, seed: int = 1) -> Schedule:
    """``steps`` steps with the betas and the prediction type of a scheduler's config. DDIM runs with η 0.

    Its timesteps stay on the CPU wherever the latents lie: schedulers look their numbers up by them, and for one on a card they would
    wait at every step until all that the card was told before is done.

    Latents have no range, so nothing is ever clipped to -1..1. Raises ValueError for an unknown name.
    """
    if steps < 1:
        raise ValueError(f"At least one step is needed, not {steps}.")
    if name not in SOLVERS:
        raise ValueError(f'Unknown scheduler "{name}": choose {", ".join(SOLVERS)}.')
    solver, options = SOLVERS[name]
    scheduler = solver.from_config(config, **options)
    if name == "lcm" and steps > scheduler.config["original_inference_steps"]:
        most = scheduler.config["original_inference_steps"]
        raise ValueError(f"The scheduler lcm takes at most {most} steps, not {steps}; 4 to 8 are its own.")
    scheduler.set_timesteps(steps)
    return Schedule(scheduler, scheduler.timesteps, seed=seed if name in RENEWED else None)
