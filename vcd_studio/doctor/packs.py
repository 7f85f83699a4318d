"""Packs: whether there is one for clips of real subjects, and what is wrong with those that cannot be used."""

from __future__ import annotations

from pathlib import Path

from vcd_studio.catalog.headers import WeightsError
from vcd_studio.catalog.packs import find_pack, packs_in
from vcd_studio.doctor.finding import Finding

CHECK = "pack"
ADD = "vcd-studio models add NAME CHECKPOINT MOTION_MODULE"
WITHOUT = {
    ("segmenter",): "no segmenter, so masks cannot be made",
    ("faces", "grounding"): "nothing to find faces by, so the stage face cannot run",
    ("upscaler",): "no upscaler, so tiled enlarges by bicubic alone",
}
"""What it means that a pack has none of these parts."""


def check_packs(packs_dir: Path) -> list[Finding]:
    """A finding a pack; where pocket is the only one, that is one too."""
    names = packs_in(packs_dir)
    found = [_check_pack(name, packs_dir) for name in names]
    if names == ["pocket"]:
        found.append(Finding(CHECK, "warning", "only pocket, which draws its own invented animals: add one for SD 1.5", ADD))
    return found


def _check_pack(name: str, packs_dir: Path) -> Finding:
    try:
        pack = find_pack(name, packs_dir)
    except WeightsError as error:
        what, _, remedy = str(error).rpartition("; ")
        ours = name == "pocket"  # every new project begins with it
        return Finding(CHECK, "fix" if ours else "warning", what or remedy, "install VCD Studio anew" if ours else remedy)
    lacks = [meaning for parts, meaning in WITHOUT.items() if all(pack.part(part) is None for part in parts)]
    if lacks:
        return Finding(CHECK, "warning", f"{name} has {'; '.join(lacks)}", f"name the parts under [parts] in {pack.folder / 'pack.toml'}")
    return Finding(CHECK, "ok", f"{name}: {pack.description}" if pack.description else name)
