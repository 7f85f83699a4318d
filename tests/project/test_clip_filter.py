"""A line that narrows clips, and the orders they come in."""

from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcd_studio.project.clip_filter import ORDERS, Facts, facts_of, order_named, parse_filter
from vcd_studio.project.errors import InputError
from vcd_studio.project.outputs import Clip

TODAY = date(2026, 11, 20)
FACTS = Facts(
    name="snow-001",
    prompt="a <rex> dog in the Snow, 8: asleep",
    identities=("rex",),
    rating=4,
    made=datetime(2026, 11, 20, 12).timestamp(),
    seed=7,
    stages=("t2v", "tiled"),
    pack="sd15-realistic-vision",
    failed=False,
)
texts = st.text(max_size=12)
facts = st.builds(
    Facts,
    name=texts,
    prompt=texts,
    identities=st.lists(texts, max_size=2).map(tuple),
    rating=st.none() | st.integers(1, 5),
    made=st.floats(0, 2e9),
    seed=st.none() | st.integers(),
    stages=st.lists(st.sampled_from(["t2v", "face", "tiled"]), unique=True).map(tuple),
    pack=texts,
    failed=st.booleans(),
)
words = texts | st.builds(
    "{}:{}{}".format,
    st.sampled_from(["rating", "Date", "stage", "identity", "pack", "other"]),
    st.sampled_from(["", ">", ">=", "<", "<=", "=", "=="]),
    texts | st.sampled_from(["4", "today", "yesterday", "2026-11-20"]),
)


@pytest.mark.parametrize(
    "line",
    [
        *("", "snow", "SNOW dog", "rex", "001", "8:", "rating:4", "rating:>3", "rating:<=4 snow", "date:today", "date:2026-11-20"),
        *("date:>2026-11-19", "date:<=today", "date:>yesterday", "stage:tiled", "Stage:T2V", "identity:rex", "identity:<rex>"),
        *("pack:sd15", "rating:=4 date:>=today stage:t2v identity:re"),
    ],
)
def test_lets_through(line: str) -> None:
    assert parse_filter(line, TODAY)(FACTS)


@pytest.mark.parametrize(
    "line",
    [
        *("rain", "snow cat", "rating:3", "rating:<4", "unrated", "failed", "date:yesterday", "date:>today", "stage:face", "identity:mia"),
        *("pack:pocket", "snow rating:5", "other:snow"),
    ],
)
def test_keeps_back(line: str) -> None:
    assert not parse_filter(line, TODAY)(FACTS)


def test_unrated_and_failed() -> None:
    worse = replace(FACTS, rating=None, failed=True)
    assert parse_filter("unrated failed")(worse)
    assert not parse_filter("rating:<5")(worse)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("rating:x", '"x" is no rating; write rating:4'),
        ("rating:6", "is no rating"),
        ("rating:>=", "is no rating"),
        ("snow date:2026-13-40", '"2026-13-40" is no day; write date:today'),
        ("stage:", "stage: wants a name"),
    ],
)
def test_what_is_no_value_is_told(line: str, told: str) -> None:
    with pytest.raises(InputError, match=told.replace("?", r"\?")):
        parse_filter(line)


@given(st.lists(words, max_size=4), facts)
def test_any_line_is_read_or_refused_and_each_word_only_narrows(line: list[str], one: Facts) -> None:
    try:
        passes = parse_filter(" ".join(line), TODAY)(one)
    except InputError:
        return
    assert passes == all(parse_filter(word, TODAY)(one) for word in line)


@given(st.lists(facts, max_size=8))
def test_every_order_sorts_anything(some: list[Facts]) -> None:
    for order in ORDERS.values():
        assert len(sorted(some, key=order)) == len(some)


def test_orders() -> None:
    one, two, three = (
        replace(FACTS, name="a", made=1.0, rating=None, prompt="b", seed=3),
        replace(FACTS, name="b", made=2.0, rating=5, prompt="C", seed=None),
        replace(FACTS, name="c", made=3.0, rating=2, prompt="a", seed=1),
    )
    said = {name: "".join(facts.name for facts in sorted([one, two, three], key=order_named(name))) for name in ORDERS}
    assert said == {"newest": "cba", "oldest": "abc", "best": "bca", "prompt": "cab", "seed": "cab"}
    with pytest.raises(InputError, match='"worst" is no order; give one of newest, oldest, best, prompt, seed'):
        order_named("worst")


def test_a_recipe_of_any_kind_has_facts(tmp_path: Path) -> None:
    folder = tmp_path / "dog-001"
    folder.mkdir()
    odd = {"seed": "seven", "identities": [3, {"name": "rex"}], "stages": 4, "finished": 1e300, "pack": None}
    for recipe in ({}, odd):
        found = facts_of(Clip(folder, recipe))
        assert (found.seed, found.failed) == (None, True)
        assert parse_filter("dog date:today")(found)
    assert facts_of(Clip(folder, odd)).identities == ("rex",)
