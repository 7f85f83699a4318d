"""The pocket world: cartoon dogs, cats, men and women in seven scenes, with the truth about every picture.

A *pure function of its parameters*: an :class:`Identity` (a point in a continuous space that captions only half describe), a
:class:`Shot` (scene, action, framing, place, phase) and a time give one picture, its subject mask, its subject box and its face box.
Drawing itself is in :mod:`vcd_studio.pocket.drawing`.
"""

from __future__ import annotations

import colorsys
import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]
"""Red, green, blue in 0..1."""
Kind = Literal["dog", "cat", "man", "woman"]
Framing = Literal["close up", "medium", "far"]

KINDS: tuple[Kind, ...] = ("dog", "cat", "man", "woman")
ANIMALS = ("dog", "cat")
SCENES = ("snow", "beach", "forest", "desert", "city", "grass", "studio")
ACTIONS: dict[str, tuple[str, ...]] = {
    "dog": ("running", "walking", "jumping", "sitting"),
    "cat": ("running", "walking", "jumping", "sitting"),
    "man": ("running", "walking", "jumping", "waving"),
    "woman": ("running", "walking", "jumping", "waving"),
}
FRAMINGS: tuple[Framing, ...] = ("close up", "medium", "far")

FUR: dict[str, Colour] = {
    "gray": (0.55, 0.55, 0.58),
    "black": (0.13, 0.13, 0.15),
    "white": (0.95, 0.93, 0.90),
    "brown": (0.45, 0.27, 0.14),
    "orange": (0.95, 0.53, 0.13),
    "golden": (0.85, 0.68, 0.36),
}
BRIGHT: dict[str, Colour] = {
    "red": (0.86, 0.15, 0.17),
    "blue": (0.16, 0.36, 0.84),
    "green": (0.16, 0.65, 0.26),
    "yellow": (0.97, 0.84, 0.14),
    "purple": (0.58, 0.22, 0.72),
    "pink": (0.97, 0.55, 0.73),
    "white": (0.95, 0.95, 0.95),
    "black": (0.12, 0.12, 0.14),
}
HAIR: dict[str, Colour] = {
    "black": (0.10, 0.09, 0.10),
    "brown": (0.38, 0.22, 0.11),
    "blonde": (0.94, 0.80, 0.37),
    "red": (0.78, 0.27, 0.08),
    "gray": (0.70, 0.70, 0.72),
}
PATTERNS = ("plain", "spots", "stripes", "patch")
HAIR_STYLES: dict[str, tuple[str, ...]] = {"man": ("short", "bald", "curly"), "woman": ("long", "bun", "curly")}
HATS = ("none", "cap", "top hat", "beanie")


@dataclass(frozen=True)
class Identity:
    """One individual. ``names`` are the words a caption may use; colours are the true, jittered ones that no caption says.

    ``pattern`` .. ``collar`` are read for animals, ``hair_style`` .. ``lower`` for people. Floats lie in 0..1.
    """

    kind: Kind
    names: tuple[tuple[str, str], ...]
    main: Colour  # fur, or skin
    second: Colour  # pattern colour, or hair
    bright: Colour  # collar, or shirt
    lower: Colour  # (people) trousers or skirt
    hat_colour: Colour
    pattern: str = "plain"
    ears: float = 0.5  # 0 floppy .. 1 pointed
    legs: float = 0.5
    build: float = 0.5
    snout: float = 0.5
    collar: bool = False
    hair_style: str = "short"
    hat: str = "none"
    glasses: bool = False
    beard: bool = False

    @property
    def is_animal(self) -> bool:
        return self.kind in ANIMALS

    def name_of(self, attribute: str) -> str | None:
        """The word for ``attribute`` ("fur", "collar", "hair", …) or None where this identity has none."""
        return dict(self.names).get(attribute)


@dataclass(frozen=True)
class Shot:
    """Where, how and how large an identity is seen.

    ``x`` is the subject's centre (0 left .. 1 right) at time 0 and ``drift`` its travel in picture widths per second; ``size`` scales the
    framing's usual size (about 0.85..1.15; close ups from 0.62, so that the Face stage's crops are familiar);
    ``facing`` is +1 (right) or -1; ``phase`` is in cycles; ``pace`` in cycles per second.
    """

    scene: str
    action: str
    framing: Framing
    x: float = 0.5
    drift: float = 0.0
    size: float = 1.0
    facing: int = 1
    phase: float = 0.0
    pace: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Picture:
    """A render and the truth about it. Boxes are (left, top, right, bottom) in pixels, None where nothing is to be seen."""

    image: NDArray[np.uint8]  # (size, size, 3)
    mask: NDArray[np.uint8]  # (size, size), 0..255 coverage
    box: tuple[float, float, float, float] | None
    face: tuple[float, float, float, float] | None


def _jitter(rng: np.random.Generator, colour: Colour, amount: float = 0.06) -> Colour:
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    hue = (hue + rng.normal() * amount * 0.25) % 1.0
    saturation = float(np.clip(saturation + rng.normal() * amount, 0, 1))
    value = float(np.clip(value + rng.normal() * amount, 0.06, 1))
    return colorsys.hsv_to_rgb(hue, saturation, value)


def _pick(rng: np.random.Generator, palette: dict[str, Colour], avoid: str = "") -> tuple[str, Colour]:
    names = [name for name in palette if name != avoid]
    name = names[int(rng.integers(len(names)))]
    return name, _jitter(rng, palette[name])


def _sample_animal(rng: np.random.Generator, kind: Kind) -> Identity:
    fur, main = _pick(rng, FUR)
    other, second = _pick(rng, FUR, avoid=fur)
    collar, bright = _pick(rng, BRIGHT)
    pattern = PATTERNS[int(rng.integers(len(PATTERNS)))]
    has_collar = bool(rng.random() < 0.6)
    names = [("fur", fur)]
    if pattern != "plain":
        names.append((pattern, other))
    if has_collar:
        names.append(("collar", collar))
    ears, legs, build, snout = (float(v) for v in rng.random(4))
    return Identity(
        kind, tuple(names), main, second, bright, bright, bright, pattern, ears, legs, build, snout, has_collar
    )


def _sample_person(rng: np.random.Generator, kind: Kind) -> Identity:
    tone = float(rng.random())
    skin = _jitter(rng, (0.95 - 0.55 * tone, 0.78 - 0.52 * tone, 0.66 - 0.50 * tone), 0.03)
    hair, second = _pick(rng, HAIR)
    shirt, bright = _pick(rng, BRIGHT)
    lower, lower_colour = _pick(rng, BRIGHT, avoid=shirt)
    hat_name, hat_colour = _pick(rng, BRIGHT)
    styles = HAIR_STYLES[kind]
    style = styles[int(rng.integers(len(styles)))]
    hat = HATS[int(rng.integers(1, len(HATS)))] if rng.random() < 0.4 else "none"
    glasses = bool(rng.random() < 0.3)
    beard = bool(kind == "man" and rng.random() < 0.45)
    names = [("shirt", shirt), ("trousers" if kind == "man" else "skirt", lower)]
    if style != "bald":
        names.append(("hair", hair))
    if hat != "none":
        names.append((hat, hat_name))
    if glasses:
        names.append(("glasses", ""))
    if beard:
        names.append(("beard", ""))
    legs, build = (float(v) for v in rng.random(2))
    return Identity(
        kind, tuple(names), skin, second, bright, lower_colour, hat_colour,
        legs=legs, build=build, hair_style=style, hat=hat, glasses=glasses, beard=beard,
    )  # fmt: skip


def sample_identity(rng: np.random.Generator, kind: Kind | None = None) -> Identity:
    """A random individual; ``kind`` is drawn evenly where not given."""
    kind = kind or KINDS[int(rng.integers(len(KINDS)))]
    return _sample_animal(rng, kind) if kind in ANIMALS else _sample_person(rng, kind)


def is_held_out(identity: Identity) -> bool:
    """Whether this *combination of nameable attributes* (1 in 12) is kept from all training, whatever its exact colours."""
    key = repr((identity.kind, identity.names, identity.pattern, identity.hair_style))
    return hashlib.sha256(key.encode()).digest()[0] % 12 == 0


def sample_training_identity(rng: np.random.Generator) -> Identity:
    while is_held_out(identity := sample_identity(rng)):
        pass
    return identity


def sample_held_out_identity(rng: np.random.Generator, kind: Kind | None = None) -> Identity:
    while not is_held_out(identity := sample_identity(rng, kind)):
        pass
    return identity


def sample_shot(rng: np.random.Generator, identity: Identity, framing: Framing | None = None) -> Shot:
    """A random shot of ``identity``. Running and walking subjects drift the way they face, at most until they leave the middle."""
    action = ACTIONS[identity.kind][int(rng.integers(4))]
    framing = framing or FRAMINGS[int(rng.choice(3, p=(0.34, 0.42, 0.24)))]
    facing = 1 if rng.random() < 0.5 else -1
    moving = action in ("running", "walking") and rng.random() < 0.5 and framing != "close up"
    speed = {"running": 0.17, "walking": 0.08}.get(action, 0.0)
    drift = facing * speed * float(rng.uniform(0.5, 1.0)) if moving else 0.0
    spread = {"close up": 0.08, "medium": 0.12, "far": 0.25}[framing]
    x = 0.5 + float(rng.uniform(-spread, spread)) - drift  # centred half-way through a two-second clip
    return Shot(
        scene=SCENES[int(rng.integers(len(SCENES)))],
        action=action,
        framing=framing,
        x=x,
        drift=drift,
        size=float(rng.uniform(0.62, 1.12) if framing == "close up" else rng.uniform(0.85, 1.15)),
        facing=facing,
        phase=float(rng.random()),
        pace=float(rng.uniform(0.9, 1.1)),
        seed=int(rng.integers(2**31)),
    )


def render(identity: Identity, shot: Shot, time: float = 0.0, size: int = 64) -> Picture:
    """Draw ``identity`` in ``shot`` at ``time`` seconds as a ``size`` × ``size`` picture, with mask and boxes."""
    from vcd_studio.pocket.drawing import draw

    return draw(identity, shot, time, size)


def render_clip(identity: Identity, shot: Shot, frames: int = 16, fps: float = 8.0, size: int = 64) -> list[Picture]:
    """``frames`` pictures of one shot, ``fps`` a second."""
    return [render(identity, shot, index / fps, size) for index in range(frames)]


# -- captions ---------------------------------------------------------------------------------------------------------

SCENE_PHRASES = {
    "snow": ("in the snow",),
    "beach": ("on the beach", "on a beach"),
    "forest": ("in the forest", "in a forest"),
    "desert": ("in the desert", "in a desert"),
    "city": ("in the city at night", "in a city at night"),
    "grass": ("on the grass", "on green grass"),
    "studio": ("on a plain background",),
}
FRAMING_PHRASES: dict[Framing, tuple[tuple[str, str], ...]] = {
    "close up": (("a close up of ", ""), ("", ", close up"), ("a close up photo of ", ""), ("", ", zoomed in")),
    "medium": (("", ""), ("a photo of ", ""), ("a video of ", "")),
    "far": (("a far away photo of ", ""), ("", ", in the distance"), ("", ", far away"), ("", ", very small")),
}


def describe(identity: Identity, rng: np.random.Generator, keep: float = 0.65) -> str:
    """A noun phrase naming each attribute with probability ``keep``: "a gray dog with brown spots and a purple collar"."""
    named = [(part, colour) for part, colour in identity.names if rng.random() < keep]
    adjective = ""
    details = []
    for part, colour in named:
        if part == "fur":
            adjective = f"{colour} "
        elif part in ("spots", "stripes", "trousers", "hair"):
            details.append(f"{colour} {part}")
        elif part in ("glasses", "beard"):
            details.append("glasses" if part == "glasses" else "a beard")
        else:
            details.append(f"a {colour} {part}")
    phrase = f"{'an' if adjective.startswith('orange') else 'a'} {adjective}{identity.kind}"
    if details:
        phrase += " with " + " and ".join(str(d) for d in rng.permutation(details))
    return phrase


def caption(identity: Identity, shot: Shot, rng: np.random.Generator, subject: str | None = None) -> str:
    """A caption of the shot; scene and action are named nine times in ten. ``subject`` replaces the noun phrase."""
    prefix, suffix = FRAMING_PHRASES[shot.framing][int(rng.integers(len(FRAMING_PHRASES[shot.framing])))]
    text = prefix + (subject or describe(identity, rng))
    if rng.random() < 0.9:
        text += f" {shot.action}"
    if rng.random() < 0.9:
        phrases = SCENE_PHRASES[shot.scene]
        text += f" {phrases[int(rng.integers(len(phrases)))]}"
    return text + suffix


def vocabulary() -> list[str]:
    """Every word a caption of this world can contain, sorted, without repeats; and the words its users will want beside them."""
    words = {"a", "an", "the", "of", "with", "and", "in", "on", "at", "photo", "video", "close", "up", "zoomed"}
    words |= {"far", "away", "very", "small", "distance", "plain", "background", "night"}
    words |= set(KINDS) | set(FUR) | set(BRIGHT) | set(HAIR) | {"city", "green", "collar", "shirt", "hat", "cap", "top", "beanie"}
    words |= {"spots", "stripes", "patch", "hair", "glasses", "beard", "trousers", "skirt", "snow", "beach", "forest", "desert", "grass"}
    words |= {action for actions in ACTIONS.values() for action in actions}
    words |= {"blurry", "deformed", "person", "animal", "face", "head", "one", "two", "is", "cartoon", "my", "his", "her"}
    return sorted(words)


def zoom(shot: Shot, framing: Framing) -> Shot:
    """The same moment seen with another framing, centred."""
    return replace(shot, framing=framing, x=0.5, drift=0.0)
