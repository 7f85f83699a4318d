"""``python -m vcd_studio.worker.installed``: what torch is here and what it makes of the cards, as one line of JSON on stdout.

A process of its own, because the front ends have no torch, and because one that is broken may take its process with it.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

NETWORKS = {"torchvision": "ops", "diffusers": "UNetMotionModel", "transformers": "CLIPTextModel"}
"""Each package, and something of it that is only there where it fits the others: two of them load lazily."""


def torch_here() -> dict[str, Any]:
    """``version``, ``cuda`` (what it was built with), ``archs``, ``cards`` (name, capability), ``refused``: why no card can be used."""
    import torch

    about: dict[str, Any] = {"version": torch.__version__, "cuda": torch.version.cuda, "archs": [], "cards": [], "refused": ""}
    if torch.version.cuda is None:
        return about
    try:
        about["archs"] = torch.cuda.get_arch_list()
        torch.cuda.init()
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            about["cards"].append({"name": card.name, "capability": [card.major, card.minor]})
    except (RuntimeError, AssertionError) as error:
        about["refused"] = _first_line(error)
    return about


def package_here(name: str, part: str) -> dict[str, str]:
    """``version``, and ``problem`` where it, or its ``part``, cannot be imported; both "" where it is not installed."""
    try:
        package = importlib.import_module(name)
        getattr(package, part)
        return {"version": str(package.__version__), "problem": ""}
    except ModuleNotFoundError as error:
        return {"version": "", "problem": "" if error.name == name else _first_line(error)}
    except Exception as error:  # a package that does not fit the others fails in its own way: that is what is asked
        return {"version": "", "problem": _first_line(error)}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def main() -> int:
    """0 after the line of JSON."""
    torch_or_not = package_here("torch", "cuda")
    about = torch_here() if torch_or_not["version"] else torch_or_not
    packages = {name: package_here(name, part) for name, part in NETWORKS.items()} if torch_or_not["version"] else {}
    sys.stdout.write("\n" + json.dumps({"torch": about, "packages": packages}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
