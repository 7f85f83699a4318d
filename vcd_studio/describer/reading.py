"""What an answer says, read tolerantly and trusted in nothing: a noun, a class, a sentence, prompts. The rest is one DescriberError."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vcd_studio.describer.client import DescriberError
from vcd_studio.project.errors import InputError
from vcd_studio.project.identity import check_noun
from vcd_studio.project.prompts import read_travel
from vcd_studio.project.text import plain

SUBJECT = "{subject}"
LONGEST_NOUN = 4  # words
LONGEST_LINE = 200  # characters of a description
LONGEST_PROMPT = 300  # characters: more than CLIP's 77 tokens hold
LARGEST_TEXT = 64 * 1024  # characters that are looked at, the last ones: thoughts come first
MOST_TRIES = 200  # places where JSON may begin
_BEGIN = re.compile(r"[{\[]")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_NOUN_ENDS = re.compile(r"[,.;:(/]|(?:^|\s)(?:with|in|on|at|wearing)\b")
_SYNTAX = re.compile(r"[{}|<>*#]|__|--|\$\$")  # templates, names, comments and flags of a prompt list


@dataclass(frozen=True)
class Description:
    """``noun`` as one would say it ("corgi"), ``coco_class`` its COCO noun ("dog") or "", ``line`` one sentence or ""."""

    noun: str
    coco_class: str
    line: str


@cache
def coco_nouns() -> tuple[str, ...]:
    """The 80 nouns of COCO, in its order (Lin et al., 2014)."""
    return tuple(Path(__file__).with_name("coco.txt").read_text(encoding="ascii").splitlines())


def read_description(text: str) -> Description:
    """The last JSON object in ``text`` that has a noun; DescriberError where there is none or its noun is no noun."""
    found = [value for value in _json_values(text) if isinstance(value, dict) and isinstance(value.get("noun"), str)]
    if not found:
        raise DescriberError("The describer's answer names no subject; try again, or another model.")
    answer = found[-1]
    noun = _noun(answer["noun"])
    line = answer.get("description")
    return Description(noun, _coco_class(answer.get("class")) or _coco_class(noun), _one_line(line) if isinstance(line, str) else "")


def read_prompts(text: str, token: str, noun: str, count: int) -> list[str]:
    """Up to ``count`` prompts, each naming ``token`` and ``noun`` once where the answer has ``{subject}``; DescriberError for none.

    A line that would mean more to the prompt list than its words (choices, wildcards, names, flags, travel) is dropped.
    """
    lists = [value.get("prompts") if isinstance(value, dict) else value for value in _json_values(text)]
    found = [value for value in lists if isinstance(value, list) and any(isinstance(line, str) for line in value)]
    lines = found[-1] if found else []
    prompts = dict.fromkeys(prompt for line in lines if isinstance(line, str) and (prompt := _prompt(line, token, noun)))
    if not prompts:
        raise DescriberError("The describer's answer holds no prompt that can be used; try again, or another model.")
    return list(prompts)[:count]


def _json_values(text: str) -> Iterator[Any]:
    """Every object and array in ``text``, outermost ones alone: servers put fences, remarks and thoughts around them."""
    text, decoder, at = text[-LARGEST_TEXT:], json.JSONDecoder(), 0
    for _ in range(MOST_TRIES):
        begin = _BEGIN.search(text, at)
        if begin is None:
            return
        try:
            value, at = decoder.raw_decode(text, begin.start())
        except (ValueError, RecursionError):
            at = begin.end()
        else:
            yield value


def _noun(said: str) -> str:
    """``"A small Corgi, sitting"`` → ``"small corgi"``: what stands before the first remark, its last four words."""
    line = " ".join(said.lower().split())
    words = _WORD.findall(_NOUN_ENDS.split(line, maxsplit=1)[0]) if plain(line) == line else []
    if words and words[0] in ("a", "an", "the"):
        del words[0]
    try:
        return check_noun(" ".join(words[-LONGEST_NOUN:]))
    except InputError as error:
        raise DescriberError("The describer's answer names no subject; try again, or another model.") from error


def _coco_class(said: object) -> str:
    """The COCO noun that is ``said``, stands in it or is nearest to it; "" for none."""
    if not isinstance(said, str):
        return ""
    words = " ".join(_WORD.findall(said.lower()[:LONGEST_LINE]))
    standing = [noun for noun in coco_nouns() if re.search(rf"\b{noun}s?\b", words)]
    return max([*standing, *difflib.get_close_matches(words, coco_nouns(), 1, cutoff=0.8)], key=len, default="")


def _one_line(said: str) -> str:
    return plain(" ".join(said.split()))[:LONGEST_LINE]


def _prompt(line: str, token: str, noun: str) -> str:
    """The line with the identity in its place; "" where it is no prompt."""
    parts = re.split(re.escape(SUBJECT), " ".join(line.split()), flags=re.IGNORECASE)
    if len(parts) != 2 or any(_SYNTAX.search(part) or plain(part) != part for part in parts):
        return ""
    before, after = parts
    after = re.sub(rf"^\s+{re.escape(noun)}\b", "", after, flags=re.IGNORECASE)  # models say it once more
    prompt = f"{before}{token} {noun}{after}"
    return prompt if len(prompt) <= LONGEST_PROMPT and read_travel(prompt) is None else ""
