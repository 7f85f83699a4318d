"""Whatever a model says, it is a reading within bounds or the one error."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcd_studio.describer.client import DescriberError
from vcd_studio.describer.reading import LONGEST_PROMPT, Description, coco_nouns, read_description, read_prompts
from vcd_studio.project.expansion import expand
from vcd_studio.project.identity import check_noun
from vcd_studio.project.prompts import names_in
from vcd_studio.project.text import plain

json_like = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["noun", "class", "description", "prompts"]) | st.text(), inner),
)


def test_coco_has_its_80_nouns() -> None:
    assert len(set(coco_nouns())) == 80
    assert {"person", "dog", "backpack", "teddy bear", "toothbrush"} < set(coco_nouns())


@pytest.mark.parametrize(
    "text",
    [
        '{"noun": "corgi", "class": "dog", "description": "A small dog."}',
        '```json\n{"noun": "corgi",\n "class": "dog", "description": "A small dog."}\n```',
        '<think>It may be {"noun": "cat"}, [or {not}</think> Sure! {"noun": "A Corgi", "class": "Dogs", "description": "A  small\\ndog."}',
        '{"answer": {"noun": "cat"}} {"noun": "the corgi, sitting", "class": "a dog", "description": "A small dog.", "more": [1]}',
    ],
)
def test_an_answer_is_read_whatever_stands_around_it(text: str) -> None:
    assert read_description(text) == Description("corgi", "dog", "A small dog.")


@pytest.mark.parametrize(
    ("noun", "said", "read"),
    [
        ("Golden Retriever", "dog", ("golden retriever", "dog")),
        ("a very fluffy small brown poodle with a bow", "poodle dog", ("fluffy small brown poodle", "dog")),
        ("dinosaur-shaped toy", "stuffed animal", ("dinosaur-shaped toy", "")),
        ("hot dogs", "hot dogs", ("hot dogs", "hot dog")),
        ("built-in oven", "oven", ("built-in oven", "oven")),
        ("backpack", None, ("backpack", "backpack")),
        ("telephone", "cell phones", ("telephone", "cell phone")),
        ("motorbike", "motorcicle", ("motorbike", "motorcycle")),
        ("dog\n", "\x1b[31mcat\x1b[0m \x1b[0m a dog", ("dog", "dog")),
    ],
)
def test_the_noun_is_made_plain_and_the_class_is_coco(noun: str, said: str | None, read: tuple[str, str]) -> None:
    found = read_description(json.dumps({"noun": noun, "class": said}))
    assert (found.noun, found.coco_class, found.line) == (*read, "")


@pytest.mark.parametrize(
    "text",
    [
        "", "It is a corgi.", "{}", '{"name": "corgi"}', '{"noun": 7}', '{"noun": "…"}', '{"noun": "with"}', '{"noun": "cor',
        r'{"noun": "\u001b[31mdog\u001b[0m"}', '{"noun": "' + "o" * 80 + '"}', '{"noun": "dog", "n": ' + "9" * 5000 + "}",
        "[" * 100_000, '{"noun":' * 20_000,
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_nonsense_is_the_one_error(text: str) -> None:
    with pytest.raises(DescriberError, match="names no subject"):
        read_description(text)


descriptions = st.fixed_dictionaries({"noun": st.text(), "class": st.text(), "description": st.text()})


@given(st.text() | json_like.map(json.dumps) | descriptions.map(json.dumps))
def test_any_answer_is_a_reading_or_the_one_error(text: str) -> None:
    with contextlib.suppress(DescriberError):
        found = read_description(text)
        assert check_noun(found.noun) == found.noun
        assert len(found.noun.split()) <= 4
        assert found.coco_class in ("", *coco_nouns())
        assert plain(found.line) == found.line


def test_long_thoughts_before_the_answer_do_not_hide_it() -> None:
    assert read_description("It could be a cat. " * 10_000 + '{"noun": "dog"}').noun == "dog"


def test_drafts_name_the_identity_where_the_subject_stood() -> None:
    lines = ["a {subject} in  the\nsnow", "A {Subject} Dog's nap", "a {subject} in the snow", 7, {"text": "{subject}"}, "{subject}, 5 m"]
    expected = ["a <rex> dog in the snow", "A <rex> dog's nap", "<rex> dog, 5 m"]
    for answer in ({"prompts": lines}, lines):
        assert read_prompts(f"```json\n{json.dumps(answer)}\n```", "<rex>", "dog", 25) == expected
    assert read_prompts(json.dumps(lines), "<rex>", "dog", 2) == expected[:2]


@pytest.mark.parametrize(
    "line",
    [
        "", "a dog in the snow", "a {subject} and a {subject}", "a {subject} in {snow|rain}", "{subject} | a cat", "a {subject} in __it__",
        "a {subject} and <mia>", "V* and {subject}", "# {subject}", "a {subject} --s 900", "{2$$a {subject}}", "0: a {subject} 8: asleep",
        "a {subject} \x1b]52;c;x\x07", "a {subject} \u202egnp", "a {subject}" + " very" * 100,
    ],
)  # fmt: skip
def test_what_would_mean_more_than_its_words_is_dropped(line: str) -> None:
    assert read_prompts(json.dumps([line, "a {subject} asleep"]), "<rex>", "dog", 25) == ["a <rex> dog asleep"]
    with pytest.raises(DescriberError, match="no prompt that can be used"):
        read_prompts(json.dumps([line]), "<rex>", "dog", 25)


words = st.text() | st.text("{subject} |_$#<>*V-:08ab\x1b\n").map(lambda text: f"{text}{{subject}}{text}")


@given(st.lists(words).map(json.dumps) | json_like.map(json.dumps) | st.text())
def test_any_draft_is_a_plain_prompt_of_the_identity(text: str) -> None:
    with contextlib.suppress(DescriberError):
        prompts: list[Any] = read_prompts(text, "<rex>", "dog", 25)
        assert 1 <= len(prompts) <= 25
        for prompt in prompts:
            assert plain(prompt) == prompt
            assert len(prompt) <= LONGEST_PROMPT
            assert re.findall("<rex> dog", prompt) == ["<rex> dog"]
            assert names_in(prompt) == ["<rex>"]
            assert expand(prompt) == [prompt.strip()]
