"""Takes the text of an aggregate apart: its arguments, its order, its filter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class CallText:
    """An aggregate as text, in pieces."""

    name: str
    arguments: tuple[str, ...] = ()
    distinct: bool = False
    order: str = ""
    filter: str = ""
    within: str = ""

    def __str__(self) -> str:
        """Put the pieces together again."""
        distinct = "distinct " if self.distinct else ""
        inner = "*" if self.name == "count_star" else ",\n".join(self.arguments)
        name = "count" if self.name == "count_star" else self.name
        order = f"\norder by {self.order}" if self.order else ""
        within = f" within group ({self.within}\n)" if self.within else ""
        tail = f" filter (where {self.filter}\n)" if self.filter else ""
        return f"{name}({distinct}{inner}{order}\n){within}{tail}"


def call_text(name: str, text: str) -> CallText:
    """Take the text of a call of aggregate `name` apart; it is known to parse."""
    pieces = _Pieces(text)
    inner = pieces.within_parentheses()
    distinct = inner[:1] == ["distinct"]
    words = [w.lower() for w in inner]
    begin = 1 if words[:1] in (["distinct"], ["all"]) else 0
    at = _top_level(words, "order")
    arguments = [" ".join(words) for words in parted(inner[begin:at])]
    order = " ".join(inner[at + 2 :])
    found = CallText(name, tuple(a for a in arguments if a and name != "count_star"), distinct, order)
    while pieces.rest:
        word = pieces.rest[0].lower()
        clause = pieces.within_parentheses()
        if word == "filter":
            found = replace(found, filter=" ".join(clause[1:] if clause[0].lower() == "where" else clause))
        else:
            written = text.partition("(")[0].strip()  # the tree names another function than the text
            found = replace(found, name=written, within=" ".join(clause))
    return found


class _Pieces:
    """The tokens of a text, taken a pair of parentheses at a time."""

    def __init__(self, text: str) -> None:
        self.rest = words_of(text)

    def within_parentheses(self) -> list[str]:
        """Return the tokens of the next pair of parentheses, and go on behind it."""
        start = self.rest.index("(")
        depth, end = 0, start
        for end in range(start, len(self.rest)):
            depth += (self.rest[end] == "(") - (self.rest[end] == ")")
            if not depth:
                break
        inside, self.rest = self.rest[start + 1 : end], self.rest[end + 1 :]
        if inside and inside[0].lower() in ("distinct", "all"):
            inside[0] = inside[0].lower()
        return inside


def _top_level(words: Sequence[str], word: str) -> int:
    depth = 0
    for at, each in enumerate(words):
        depth += (each in "([{") - (each in ")]}") if each else 0
        if not depth and each == word and words[at + 1 : at + 2] == ["by"]:
            return at
    return len(words)


def words_of(text: str) -> list[str]:
    """Return the tokens of a text, without comments."""
    import duckdb

    raw = text.encode()
    tokens = [(at, kind.name) for at, kind in duckdb.tokenize(text)]
    ends = [at for at, _ in tokens[1:]] + [len(raw)]
    return [raw[at:end].decode().strip() for (at, kind), end in zip(tokens, ends, strict=True) if kind != "comment"]


def parted(words: Sequence[str]) -> list[list[str]]:
    """Split tokens at the commas that stand in no parentheses."""
    parts: list[list[str]] = [[]]
    depth = 0
    for word in words:
        depth += (word in ("(", "[", "{")) - (word in (")", "]", "}"))
        if word == "," and not depth:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


__all__ = ["CallText", "call_text", "parted", "words_of"]
