"""Text from outside is shown, never obeyed."""

from __future__ import annotations

import re
import unicodedata

_DIRECTION = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def _visible(character: str, lines: bool) -> str:
    code = ord(character)
    if lines and character == "\n":
        return character
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if character in _DIRECTION or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return f"\\u{code:04x}"
    return character


def plain(text: str, *, lines: bool = False) -> str:
    """``text`` with control characters, escapes and direction marks made visible; ``lines`` keeps line breaks."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(character, lines) for character in text)


def in_place(text: str) -> str:
    """``text`` for an editor, where every character keeps its place: those that a terminal would obey become a sign of their own."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(shown if len(shown := _visible(character, lines=False)) == 1 else "\ufffd" for character in text)


def quoted(value: object, limit: int = 80) -> str:
    """A value inside an error sentence: plain, in quotes, cut to ``limit`` characters."""
    text = plain(str(value))
    return f'"{text if len(text) <= limit else text[: limit - 1] + "…"}"'


def slug(text: str, limit: int = 48, otherwise: str = "clip") -> str:
    """A short file name of lower-case ASCII letters, digits and single hyphens made from any text."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")[:limit].strip("-") or otherwise
