"""What the describer is asked: which subject some photos show, and prompts for it (the paper asks GPT-4V both, §4.2 and §5.2)."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vcd_studio.describer.client import DescriberOff, ask
from vcd_studio.describer.reading import SUBJECT, Description, coco_nouns, read_description, read_prompts
from vcd_studio.project.errors import InputError
from vcd_studio.project.identity import check_agreed
from vcd_studio.project.photos import open_photo
from vcd_studio.project.text import quoted

if TYPE_CHECKING:
    from vcd_studio.project.identity import Identity
    from vcd_studio.settings import DescriberSettings

PROMPTS = 25
"""The prompts that the paper's protocol has for each subject."""
LARGEST_SIDE = 512  # pixels
_DESCRIBE = f"""These photos show one and the same subject. Say what it is.
Answer with one JSON object and nothing else: {{"noun": "…", "class": "…", "description": "…"}}
noun: what one would call it, one to three lower-case English words without its colour or its own name, as corgi, backpack, woman.
class: the nearest of these: {", ".join(coco_nouns())}.
description: what it looks like, in one short sentence, without what is around it."""


def describe(settings: DescriberSettings, photos: Sequence[Path], stopped: Callable[[], bool] = lambda: False) -> Description:
    """What the photos show. DescriberOff, DescriberError as in ``ask``; InputError for a photo that cannot be opened."""
    return read_description(ask(settings, _DESCRIBE, _pictures(settings, photos), stopped))


def describe_identity(settings: DescriberSettings, identity: Identity, stopped: Callable[[], bool] = lambda: False) -> Description:
    """What an identity's photos show, as ``describe``; InputError where it has none, or is a person who did not agree."""
    photos = _photos(identity)
    if not photos:
        raise InputError(f"{quoted(identity.name)} has no photos to describe; add some, or say yourself what it is.")
    return describe(settings, photos, stopped)


def draft_prompts(
    settings: DescriberSettings, identity: Identity, count: int = PROMPTS, stopped: Callable[[], bool] = lambda: False
) -> list[str]:
    """Up to ``count`` prompts for an identity, fewer where some could not be used. Raises as ``describe_identity``; needs no photo."""
    photos = _photos(identity)
    question = f"""Write {count} prompts for short animations of one subject, the {identity.noun}{" in the photos" if photos else ""}.
A third put it against another background, a third let it do something that moves, a third give it an outfit or a thing to handle.
Each is one line of 5 to 20 plain English words; places, light, weather and distance differ from prompt to prompt. It holds {SUBJECT}
exactly once, which stands for the word {identity.noun}, as in: a {SUBJECT} running along the beach at sunset, waves behind it
Answer with one JSON object and nothing else: {{"prompts": ["…", "…"]}}"""
    text = ask(settings, question, _pictures(settings, photos), stopped)
    return read_prompts(text, identity.token, identity.noun, count)


def _photos(identity: Identity) -> list[Path]:
    """What may be sent: nothing that was left out, and nobody who did not agree to be shown (InputError)."""
    check_agreed([identity])
    return [photo.path for photo in identity.photos() if photo.state != "left-out"]


def _pictures(settings: DescriberSettings, photos: Sequence[Path]) -> list[bytes]:
    """The first photos as they are sent. None is opened for a describer that is off."""
    if not settings.url:
        raise DescriberOff
    return [as_sent(photo) for photo in photos[: settings.photos]]


def as_sent(photo: Path) -> bytes:
    """The photo as an upright JPEG of at most 512 pixels a side, without what its file says besides: no place, date or camera."""
    picture = open_photo(photo)
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    picture.info.clear()  # Pillow would write a comment on
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
