"""Photos of held-out identities, as a person would take them: ``python -m vcd_studio.pocket.examples`` fills projects/pocket-park."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from vcd_studio.pocket.world import FRAMINGS, SCENES, Identity, Kind, Picture, Shot, render, sample_held_out_identity, sample_shot

REX = 5  # a gray dog with orange spots
MIA = 6  # a woman with long red hair, a green shirt and a blue skirt


def held_out(seed: int, kind: Kind | None = None) -> Identity:
    """The held-out identity with this number; the same for ever."""
    return sample_held_out_identity(np.random.default_rng([seed, 4242]), kind)


def photos(identity: Identity, count: int = 6, size: int = 256, seed: int = 0, scene: str | None = None) -> list[Picture]:
    """``count`` photos of ``identity``, mostly near; each in another scene, or all in ``scene``."""
    rng = np.random.default_rng([seed, 99])
    taken = []
    for index in range(count):
        shot: Shot = sample_shot(rng, identity, framing=FRAMINGS[0] if index % 3 == 0 else FRAMINGS[1])
        shot = replace(shot, scene=scene or SCENES[index % len(SCENES)], size=0.8 if index % 3 == 0 else 1.15)
        taken.append(render(identity, shot, 0.3, size))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m vcd_studio.pocket.examples", description=__doc__)
    parser.add_argument("project", type=Path, nargs="?", default=Path("projects/pocket-park"))
    folder: Path = parser.parse_args().project / "identities"
    for name, identity, scene in (("rex", held_out(REX, "dog"), None), ("mia", held_out(MIA, "woman"), "grass")):
        place = folder / name / "photos"
        place.mkdir(parents=True, exist_ok=True)
        for index, picture in enumerate(photos(identity, scene=scene)):
            Image.fromarray(picture.image).save(place / f"{index + 1:02}.png", optimize=True)


if __name__ == "__main__":
    main()
