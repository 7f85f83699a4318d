"""Twins: two pictures that differ in one thing alone, and their captions in the word for it.

Whether somebody runs or walks changes the plain loss by a thousandth, and in a batch of unlike pictures that drowns in everything else
that differs. Of two twins under the very same noise all the rest is equal, and what is left over is the word.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vcd_studio.pocket.world import ACTIONS, BRIGHT, HAIR, HATS, PATTERNS, Identity, Kind, Shot, caption, describe, is_held_out

KIND_OF_TWIN: dict[Kind, Kind] = {"dog": "cat", "cat": "dog", "man": "woman", "woman": "man"}
STYLE_OF_TWIN = {"short": "long", "long": "short", "bun": "short", "curly": "curly"}
NEARLY = {"running": "walking", "walking": "running"}
"""Actions that are told apart with the greatest pains."""


def twin(rng: np.random.Generator, who: Identity, shot: Shot) -> tuple[Identity, Shot]:
    """``who`` in ``shot`` with one thing changed that captions can name; never somebody held out."""
    bare = who.hat == "none"  # as most people are
    heads = [_other_hat] * (1 if bare else 8) + [_other_hair] * (1 if bare else 3)
    own = [_other_pattern, _other_collar] if who.is_animal else [_glasses, *heads]
    changes = [_other_action, _other_action, _other_kind, *own]
    while True:
        other, seen = changes[int(rng.integers(len(changes)))](rng, who, shot)
        if (other, seen) != (who, shot) and not is_held_out(other):
            return other, seen


def twin_captions(rng: np.random.Generator, one: tuple[Identity, Shot], other: tuple[Identity, Shot]) -> tuple[str, str]:
    """A caption of each, worded alike; nearly all is named, for what goes unsaid teaches no word."""
    seed = int(rng.integers(2**31))

    def worded(identity: Identity, shot: Shot) -> str:
        again = np.random.default_rng(seed)
        return caption(identity, shot, again, describe(identity, again, keep=0.9))

    return worded(*one), worded(*other)


def _other_action(rng: np.random.Generator, who: Identity, shot: Shot) -> tuple[Identity, Shot]:
    choices = [action for action in ACTIONS[who.kind] if action != shot.action]
    near = NEARLY.get(shot.action)
    action = near if near and rng.random() < 0.7 else choices[int(rng.integers(len(choices)))]
    return who, replace(shot, action=action)


def _other_kind(rng: np.random.Generator, who: Identity, shot: Shot) -> tuple[Identity, Shot]:
    kind = KIND_OF_TWIN[who.kind]
    if who.is_animal:
        return replace(who, kind=kind), shot
    if who.hair_style == "bald":
        return who, shot
    below = {"trousers": "skirt", "skirt": "trousers"}
    names = tuple((below.get(part, part), colour) for part, colour in who.names if part != "beard")
    return replace(who, kind=kind, names=names, hair_style=STYLE_OF_TWIN[who.hair_style], beard=False), shot


def _other_pattern(rng: np.random.Generator, who: Identity, shot: Shot) -> tuple[Identity, Shot]:
    if who.pattern == "plain":
        return who, shot
    pattern = str(rng.choice([p for p in PATTERNS if p not in ("plain", who.pattern)]))
    return replace(who, pattern=pattern, names=tuple((pattern if part == who.pattern else part, c) for part, c in who.names)), shot


def _other_collar(rng: np.random.Generator, who: Identity, shot: Shot) -> tuple[Identity, Shot]:
    """Of another colour, or off, or on."""
    if who.collar and rng.random() < 0.5:
        return replace(who, collar=False, names=_named(who, "collar")), shot
    colour = str(rng.choice([c for c in sorted(BRIGHT) if c != who.name_of("collar")]))
    return replace(who, collar=True, bright=BRIGHT[colour], names=_named(who, "collar", ("collar", colour))), shot


def _other_hair(rng: np.random.Generator, who: Identity, shot: Shot) -> tuple[Identity, Shot]:
    """Of another colour; under a hat there is little of it to see."""
    if who.hair_style == "bald":
        return who, shot
    colour = str(rng.choice([c for c in HAIR if c != who.name_of("hair")]))
    return replace(who, second=HAIR[colour], names=tuple((part, colour if part == "hair" else c) for part, c in who.names)), shot


def _other_hat(rng: np.random.Generator, who: Identity, shot: Shot) -> tuple[Identity, Shot]:
    """Another hat of the same colour; any for who has none."""
    hat = str(rng.choice([h for h in HATS if h not in ("none", who.hat)]))
    colour = who.name_of(who.hat) or str(rng.choice(sorted(BRIGHT)))
    true_colour = BRIGHT[colour] if who.hat == "none" else who.hat_colour
    return replace(who, hat=hat, hat_colour=true_colour, names=_named(who, who.hat, (hat, colour))), shot


def _glasses(rng: np.random.Generator, who: Identity, shot: Shot) -> tuple[Identity, Shot]:
    new = () if who.glasses else (("glasses", ""),)
    return replace(who, glasses=not who.glasses, names=_named(who, "glasses", *new)), shot


def _named(who: Identity, less: str, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """``who``'s names without one and with others, in the world's own order: who is held out is told by the names as they stand."""
    last = (*HATS, "glasses", "beard")
    names = [*(name for name in who.names if name[0] != less), *more]
    return tuple(sorted(names, key=lambda name: last.index(name[0]) if name[0] in last else -1))
