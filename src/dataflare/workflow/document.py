"""A workflow document: plain values that know where they stand in the file."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dataflare.errors import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DEPTH_MAX = 64
BYTES_MAX = 8 << 20
VALUES_MAX = 500_000

Path = tuple[str | int, ...]

_BLANKS = {"": re.compile(r"\s*"), "'": re.compile(r"\s*"), '"': re.compile(r"(?:\s|\\[\sntrvfN_LP])*")}
_CODE = re.compile(r"\\([xuU])((?<=x)[0-9a-fA-F]{2}|(?<=u)[0-9a-fA-F]{4}|(?<=U)[0-9a-fA-F]{8})")


@dataclass(slots=True, frozen=True)
class Mark:
    """A position in a file, 1-based; 0 where there is none."""

    line: int = 0
    column: int = 0


NOWHERE = Mark()


def position_of(source: str, start: Mark, text: str, offset: int) -> Mark | None:
    """Return where a character of a text stands in a YAML or JSON source, whose value it is from `start` on.

    Quotes, indentation and folded lines only add blanks, and escapes add signs before a character: so the characters
    that are no blanks are counted. None where the source has others, as where something was put in its place.
    """
    lines = source.split("\n")
    at = sum(len(each) + 1 for each in lines[: start.line - 1]) + start.column - 1
    quote = source[at : at + 1]
    if quote in ("|", ">"):  # the header of a block stands in a line of its own
        at, quote = source.index("\n", at), ""
    elif quote in ('"', "'"):
        at += 1
    else:
        quote = ""
    if not text[offset : offset + 1].strip():  # behind the last word
        return _position(source, at, text, offset - 1, quote, behind=1) if text[:offset].strip() else None
    return _position(source, at, text, offset, quote)


def _position(source: str, at: int, text: str, offset: int, quote: str, behind: int = 0) -> Mark | None:
    after = at
    for number, character in enumerate(text[: offset + 1]):
        if not character.strip():
            continue
        blanks = _BLANKS[quote].match(source, after)
        at = blanks.end() if blanks is not None else after
        after = _written(source, at, quote, character)
        if not after:
            return None
        if number == offset:
            break
    at = after if behind else at
    return Mark(source.count("\n", 0, at) + 1, at - source.rfind("\n", 0, at))


def _written(source: str, at: int, quote: str, character: str) -> int:
    """Return where a character ends that is written from `at` on; 0 where another one is."""
    if quote == "'" and character == quote:
        return at + 2 if source.startswith("''", at) else 0
    if quote == '"' and source[at : at + 1] == "\\":
        code = _CODE.match(source, at)
        if code is not None:
            return code.end() if chr(int(code[2], 16)) == character else 0
        at += 1
    return at + 1 if source[at : at + 1] == character else 0


@dataclass(slots=True)
class Value:
    """One value: a scalar, a list of values or a map from text to values.

    `mark` is where it starts, `key_mark` where its key does. `text` is what a number was written as. `ambiguous`:
    written as an unquoted on, off, yes or no. `hidden`: came out of the environment and must not be printed. `unknown`:
    holds a reference that stands for nothing, as was told; what else is said of it would be noise.
    """

    data: Any
    mark: Mark = NOWHERE
    key_mark: Mark = NOWHERE
    text: str | None = None
    ambiguous: bool = False
    hidden: bool = False
    unknown: bool = False

    @property
    def map(self) -> dict[str, Value]:
        """The entries of a map; none where it is not one."""
        return self.data if isinstance(self.data, dict) else {}

    @property
    def list(self) -> list[Value]:
        """The items of a list; none where it is not one."""
        return self.data if isinstance(self.data, list) else []

    def plain(self) -> Any:
        """Return the value without positions."""
        if isinstance(self.data, dict):
            return {k: v.plain() for k, v in self.data.items()}
        if isinstance(self.data, list):
            return [v.plain() for v in self.data]
        return self.data

    def copy(self) -> Value:
        """Return a copy down to the leaves; positions are those of the original."""
        if isinstance(self.data, dict):
            return replace(self, data={k: v.copy() for k, v in self.data.items()})
        if isinstance(self.data, list):
            return replace(self, data=[v.copy() for v in self.data])
        return replace(self)

    def walk(self, path: Path = ()) -> Iterator[tuple[Path, Value]]:
        """Yield this value and all below it with their paths, parents first."""
        yield path, self
        if isinstance(self.data, dict):
            for key, value in self.data.items():
                yield from value.walk((*path, key))
        elif isinstance(self.data, list):
            for index, value in enumerate(self.data):
                yield from value.walk((*path, index))

    def size(self) -> int:
        """Count this value and all below it."""
        return 1 + sum(v.size() for v in (*self.map.values(), *self.list))

    def depth(self) -> int:
        """Return how deep it is nested; 1 for a scalar."""
        return 1 + max((v.depth() for v in (*self.map.values(), *self.list)), default=0)

    def child(self, key: str | int) -> Value | None:
        """Return the entry or the item, if there is one."""
        if isinstance(key, int):
            items = self.list
            return items[key] if 0 <= key < len(items) else None
        return self.map.get(key)


@dataclass(slots=True)
class Document:
    """A whole workflow text as values with positions; `source` is the text itself, if there is one."""

    root: Value
    file: str = ""
    source: str = ""

    def at(self, path: Sequence[str | int]) -> Value | None:
        """Return the value at a path, if it is there."""
        value: Value | None = self.root
        for key in path:
            value = value.child(key) if value is not None else None
        return value

    def place(self, path: Sequence[str | int], *, key: bool = False) -> Place:
        """Return where the value at a path stands (or its key), or the deepest part of the path that is there."""
        value, mark = self.root, self.root.mark
        for step in path:
            found = value.child(step)
            if found is None:
                break
            value = found
            mark = value.mark
            if key and value.key_mark != NOWHERE:
                mark = value.key_mark
        return Place(self.file, mark.line, mark.column, dotted(path))

    def inside(self, path: Sequence[str | int], line: int, column: int) -> Place:
        """Return where a line and column, 1-based, of the text at a path stand; its beginning where nobody can tell."""
        value = self.at(path)
        if value is not None and isinstance(value.data, str) and self.source:
            before = value.data.split("\n")[: line - 1]
            found = position_of(self.source, value.mark, value.data, sum(map(len, before)) + len(before) + column - 1)
            if found is not None:
                return Place(self.file, found.line, found.column, dotted(path))
        return self.place(path)

    def plain(self) -> Any:
        """Return the whole document as plain values."""
        return self.root.plain()


def dotted(path: Sequence[str | int]) -> str:
    """Write a path as `sources.shop.config.tables[0]`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def value_of(plain: Any, mark: Mark = NOWHERE) -> Value:
    """Turn plain values into values that all stand at one position."""
    if isinstance(plain, dict):
        return Value({str(k): value_of(v, mark) for k, v in plain.items()}, mark, mark)
    if isinstance(plain, list | tuple):
        return Value([value_of(v, mark) for v in plain], mark, mark)
    return Value(plain, mark, mark)
