"""Which clips are shown, and in what order: one line such as ``dog rating:>=3 date:today``, for the screen and the verb alike."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from vcd_studio.project.errors import InputError
from vcd_studio.project.text import quoted

if TYPE_CHECKING:
    from vcd_studio.project.outputs import Clip

HOW = "rating:4 rating:>=3 unrated date:today date:>2026-11-20 stage:face identity:rex pack:sd15 failed"
"""Everything but plain words, by example."""


@dataclass(frozen=True)
class Facts:
    """What a filter and an order ask of a clip, read once: its files are not looked at for every letter that is typed."""

    name: str
    prompt: str
    identities: tuple[str, ...]
    rating: int | None
    made: float
    seed: int | None
    stages: tuple[str, ...]
    pack: str
    failed: bool


Test = Callable[[Facts], bool]


def facts_of(clip: Clip) -> Facts:
    """Out of the clip's recipe, which may come from anyone: what is of another kind than it should be is not there."""
    recipe = clip.recipe
    told, identities, seed = recipe.get("stages"), recipe.get("identities"), recipe.get("seed")
    return Facts(
        name=clip.id,
        prompt=str(recipe.get("prompt", recipe.get("written", ""))),
        identities=tuple(str(each.get("name")) for each in identities if isinstance(each, Mapping)) if isinstance(identities, list) else (),
        rating=clip.rating,
        made=clip.made,
        seed=seed if isinstance(seed, int) else None,
        stages=tuple(told) if isinstance(told, Mapping) else tuple(clip.stages()),
        pack=str(recipe.get("pack", "")),
        failed=clip.problem is not None or not clip.has_video,
    )


@dataclass(frozen=True)
class ClipFilter:
    """All ``tests`` must hold."""

    tests: tuple[Test, ...] = ()

    def __call__(self, facts: Facts) -> bool:
        return all(test(facts) for test in self.tests)


def parse_filter(line: str, today: date | None = None) -> ClipFilter:
    """The filter of a line, whose words are all wanted; ``today`` is the day here unless given. InputError for a value that is none.

    A word with a colon that names nothing we know is looked for as it stands: prompts may hold such.
    """
    return ClipFilter(tuple(_test(word, today or date.today()) for word in line.split()))


def _test(word: str, today: date) -> Test:
    key, colon, value = word.partition(":")
    key = key.casefold()
    if colon and key in _READERS:
        return _READERS[key](value.casefold(), today)
    return _FLAGS.get(word.casefold()) or _holds(word.casefold())


def _holds(word: str) -> Test:
    return lambda facts: word in f"{facts.name} {facts.prompt} {' '.join(facts.identities)}".casefold()


_FLAGS: Mapping[str, Test] = {"unrated": lambda facts: facts.rating is None, "failed": lambda facts: facts.failed}

Compare = Callable[[Any, Any], bool]
_SIGNS: Mapping[str, Compare] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
    "": operator.eq,
}


def _signed(value: str) -> tuple[Compare, str]:
    sign = next(sign for sign in _SIGNS if value.startswith(sign))
    return _SIGNS[sign], value.removeprefix(sign)


def _rating(value: str, today: date) -> Test:
    compare, stars = _signed(value)
    if stars not in ("1", "2", "3", "4", "5"):
        raise InputError(f"{quoted(stars)} is no rating; write rating:4 or rating:>=3.")
    return lambda facts: facts.rating is not None and compare(facts.rating, int(stars))


def _date(value: str, today: date) -> Test:
    compare, words = _signed(value)
    try:
        day = {"today": today, "yesterday": today - timedelta(days=1)}.get(words) or date.fromisoformat(words)
    except ValueError as error:
        raise InputError(f"{quoted(words)} is no day; write date:today or date:>2026-11-20.") from error
    return lambda facts: compare(datetime.fromtimestamp(facts.made).date(), day)


def _named(what: str, of: Callable[[Facts], Sequence[str]]) -> Callable[[str, date], Test]:
    """A reader of ``what:name``: the clip has one whose name begins so."""

    def read(value: str, today: date) -> Test:
        name = value.strip("<>")
        if not name:
            raise InputError(f"{what}: wants a name after it.")
        return lambda facts: any(each.casefold().startswith(name) for each in of(facts))

    return read


_READERS: Mapping[str, Callable[[str, date], Test]] = {
    "rating": _rating,
    "date": _date,
    "stage": _named("stage", lambda facts: facts.stages),
    "identity": _named("identity", lambda facts: facts.identities),
    "pack": _named("pack", lambda facts: (facts.pack,)),
}

ORDERS: Mapping[str, Callable[[Facts], Any]] = {
    "newest": lambda facts: (-facts.made, facts.name),
    "oldest": lambda facts: (facts.made, facts.name),
    "best": lambda facts: (-(facts.rating or 0), -facts.made, facts.name),
    "prompt": lambda facts: (facts.prompt.casefold(), facts.seed or 0, -facts.made, facts.name),
    "seed": lambda facts: (facts.seed is None, facts.seed or 0, -facts.made, facts.name),
}
"""Sort keys by their names; what they leave open is settled by the newest."""


def order_named(name: str) -> Callable[[Facts], Any]:
    """The order of this name. InputError names them all."""
    if name not in ORDERS:
        raise InputError(f"{quoted(name)} is no order; give one of {', '.join(ORDERS)}.")
    return ORDERS[name]
