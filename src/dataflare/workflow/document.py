"""A workflow document: plain values that know where they stand in the file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dataflare.errors import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DEPTH_MAX = 64
BYTES_MAX = 8 << 20
VALUES_MAX = 500_000

Path = tuple[str | int, ...]


@dataclass(slots=True, frozen=True)
class Mark:
    """A position in a file, 1-based; 0 where there is none."""

    line: int = 0
    column: int = 0


NOWHERE = Mark()


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
    """A whole workflow text as values with positions."""

    root: Value
    file: str = ""

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
