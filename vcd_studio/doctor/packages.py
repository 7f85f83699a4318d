"""Which optional packages are installed, by looking alone: nothing is imported here. And the versions a report of a fault should name."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable
from importlib.util import find_spec

from vcd_studio import __version__
from vcd_studio.doctor.finding import Finding

EXTRAS = {
    "grounded-sam": {"segment-anything": "segment_anything", "groundingdino-py": "groundingdino", "opencv-python": "cv2"},
    "realesrgan": {"spandrel": "spandrel"},
}
"""Extra → package → the module that it brings (opencv has more than one package for it). spandrel is what reads Real-ESRGAN's weights."""


def check_extras(installed: Callable[[str], bool] = lambda module: find_spec(module) is not None) -> list[Finding]:
    """A finding an extra, with what of it is there. ``installed``: whether a module could be imported."""
    found = []
    for extra, packages in EXTRAS.items():
        there = [f"{package} {_version(package)}".strip() for package, module in packages.items() if installed(module)]
        missing = [package for package, module in packages.items() if not installed(module)]
        words = "; ".join([*([", ".join(there)] if there else []), *([f"without {', '.join(missing)}"] if missing else [])])
        remedy = f"pip install 'vcd-studio[{extra}]'" if missing else ""
        found.append(Finding(f"extra {extra}", "warning" if missing else "ok", words, remedy))
    return found


def check_versions() -> Finding:
    """Python and VCD Studio."""
    return Finding("versions", "ok", f"VCD Studio {__version__}, Python {platform.python_version()} on {platform.platform()}")


def _version(package: str) -> str:
    """ "" for a module that another package brought."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
