"""Upscalers of every ESRGAN layout there has been, through spandrel (extra ``realesrgan``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vcd_studio.method.protocols import MethodError


class SpandrelUpscaler(torch.nn.Module):
    """(f, 3, h, w) in −1..1 → (f, 3, scale·h, scale·w) in −1..1."""

    def __init__(self, network: torch.nn.Module, scale: int) -> None:
        super().__init__()
        self.network, self.scale = network, scale

    @classmethod
    def load(cls, path: Path, dtype: torch.dtype) -> SpandrelUpscaler:
        try:
            import spandrel
        except ImportError as error:
            raise MethodError(f"{path} is an upscaler that spandrel reads; pip install 'vcd-studio[realesrgan]'.") from error
        try:
            loaded: Any = spandrel.ModelLoader(device="cpu").load_from_file(path)
        except spandrel.UnsupportedModelError as error:
            raise MethodError(f"{path} cannot be loaded as an upscaler: spandrel knows no network with its keys.") from error
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise MethodError(f"{path} cannot be loaded as an upscaler: {str(error).splitlines()[0]}") from error
        return cls(loaded.model.to(dtype).eval(), int(loaded.scale))

    @torch.inference_mode()
    def upscale(self, frames: torch.Tensor) -> torch.Tensor:
        weight = next(self.network.parameters())
        grown: torch.Tensor = self.network((frames.to(weight) + 1) / 2)
        return (grown.float() * 2 - 1).clamp(-1, 1)
