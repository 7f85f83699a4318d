"""What can be asked of a pocket picture, and the true answers: what captions may say of it, and what no caption can."""

from __future__ import annotations

from vcd_studio.pocket.world import ACTIONS, BRIGHT, FRAMINGS, FUR, HAIR, HATS, KINDS, PATTERNS, SCENE_PHRASES, SCENES, Identity, Shot

COLOURS = ("", *sorted({*FUR, *BRIGHT, *HAIR}))
QUESTIONS: dict[str, tuple[str, ...]] = {
    "kind": KINDS,
    "action": tuple(sorted({action for actions in ACTIONS.values() for action in actions})),
    "scene": SCENES,
    "framing": FRAMINGS,
    "pattern": PATTERNS,
    "hat": HATS,
    "glasses": ("", "yes"),
    "beard": ("", "yes"),
    "fur": COLOURS,
    "second": COLOURS,  # of the pattern
    "collar": COLOURS,
    "shirt": COLOURS,
    "lower": COLOURS,  # trousers or skirt
    "hair": COLOURS,
    "hat colour": COLOURS,
}


def answers(identity: Identity, shot: Shot) -> list[int]:
    """The true answer to each question, as its index. What the caption left out stays a guess; the loss is then least at the odds."""
    named = dict(identity.names)
    told = {
        "kind": identity.kind,
        "action": shot.action,
        "scene": shot.scene,
        "framing": shot.framing,
        "pattern": identity.pattern if identity.is_animal else "plain",
        "hat": identity.hat,
        "glasses": "yes" if identity.glasses else "",
        "beard": "yes" if identity.beard else "",
        "second": named.get(identity.pattern, ""),
        "lower": named.get("trousers", named.get("skirt", "")),
        "hat colour": named.get(identity.hat, ""),
        **{part: named.get(part, "") for part in ("fur", "collar", "shirt", "hair")},
    }
    return [choices.index(told[question]) for question, choices in QUESTIONS.items()]


MEASURES = (
    "ears", "legs", "build", "snout",
    "main red", "main green", "main blue", "second red", "second green", "second blue",
    "bright red", "bright green", "bright blue", "lower red", "lower green", "lower blue",
)  # fmt: skip
"""The continuous half of an identity, each 0..1."""
ANIMAL_QUESTIONS = ("fur", "pattern", "second", "collar")
PERSON_QUESTIONS = ("hair", "shirt", "lower", "hat", "hat colour", "glasses", "beard")


def measures(identity: Identity) -> list[float]:
    """The true value of each of :data:`MEASURES`."""
    who = identity
    return [who.ears, who.legs, who.build, who.snout, *who.main, *who.second, *who.bright, *who.lower]


def questions_of(identity: Identity) -> tuple[str, ...]:
    """The questions whose answers make this individual: of its kind, never of its shot."""
    return ("kind", *(ANIMAL_QUESTIONS if identity.is_animal else PERSON_QUESTIONS))


def measures_of(identity: Identity) -> tuple[str, ...]:
    """The measures that can be seen of this individual."""
    colours = ["main", *(["second"] if identity.pattern != "plain" or (not identity.is_animal and identity.hair_style != "bald") else [])]
    colours += ["bright"] if not identity.is_animal or identity.collar else []
    colours += [] if identity.is_animal else ["lower"]
    shape = ("ears", "legs", "build", "snout") if identity.is_animal else ("build",)
    return (*shape, *(f"{colour} {channel}" for colour in colours for channel in ("red", "green", "blue")))


def said(text: str, identity: Identity, shot: Shot) -> dict[str, str]:
    """The questions that a caption of this identity and shot answers in words, with their answers."""
    named = dict(identity.names)
    below = "trousers" if identity.kind == "man" else "skirt"
    phrases = {
        "kind": (identity.kind, identity.kind),
        "action": (shot.action, shot.action),
        "fur": (f"{named.get('fur')} {identity.kind}", named.get("fur", "")),
        "second": (f"{named.get(identity.pattern)} {identity.pattern}", named.get(identity.pattern, "")),
        "pattern": (f"{named.get(identity.pattern)} {identity.pattern}", identity.pattern),
        "collar": (f"{named.get('collar')} collar", named.get("collar", "")),
        "shirt": (f"{named.get('shirt')} shirt", named.get("shirt", "")),
        "lower": (f"{named.get(below)} {below}", named.get(below, "")),
        "hair": (f"{named.get('hair')} hair", named.get("hair", "")),
        "hat": (f"{named.get(identity.hat)} {identity.hat}", identity.hat),
        "hat colour": (f"{named.get(identity.hat)} {identity.hat}", named.get(identity.hat, "")),
        "glasses": ("glasses", "yes"),
        "beard": ("beard", "yes"),
    }
    told = {question: answer for question, (phrase, answer) in phrases.items() if phrase in text}
    if any(phrase in text for phrase in SCENE_PHRASES[shot.scene]):
        told["scene"] = shot.scene
    return told
