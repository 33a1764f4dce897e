"""Walks folders in the order of the names of files, with a bounded number of them in memory.

The order is that of whole paths as texts, so a folder counts with the stroke behind its name: `a-b/x` comes before
`a/x`. A folder with more entries than the window holds is read again for each window.
"""

from __future__ import annotations

import fnmatch
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Found = tuple[str, frozenset[int]]

WINDOW = 100_000
"""So many entries of one folder are kept at a time, and twice as many for a moment."""


@dataclass(frozen=True)
class Pattern:
    """The parts of a glob: each a name with `*`, `?` and `[]`, or `**` for any folders.

    Hidden names are not matched by what does not begin with a dot.
    """

    parts: tuple[str, ...]

    @classmethod
    def of(cls, path: str) -> tuple[str, Pattern]:
        """Return the folder before the first part that is a glob, with a stroke behind it, and the pattern below it."""
        parts = path.split("/")
        first = next((n for n, part in enumerate(parts) if has_signs(part)), len(parts) - 1)
        return "".join(f"{p}/" for p in parts[:first]), cls(tuple(p for p in parts[first:] if p))

    def begin(self) -> frozenset[int]:
        """Return the parts that an entry of the first folder may match."""
        return self._closed({0})

    def step(self, name: str, states: frozenset[int]) -> tuple[bool, frozenset[int]]:
        """Tell whether a file of this name matches, and which parts may match below a folder of this name."""
        below: set[int] = set()
        last = len(self.parts) - 1
        is_match = False
        for state in states:
            part = self.parts[state]
            if part == "**":
                if name[0] != ".":
                    below.add(state)
                    is_match = is_match or state == last
            elif _matches(part, name):
                is_match = is_match or state == last
                if state < last:
                    below.add(state + 1)
        return is_match, self._closed(below)

    def matches(self, path: str) -> bool:
        """Tell whether a file of this path below the first folder matches."""
        *folders, name = path.split("/")
        states = self.begin()
        for folder in folders:
            if not folder or not states:
                return False
            _, states = self.step(folder, states)
        return bool(name and states) and self.step(name, states)[0]

    def _closed(self, states: set[int]) -> frozenset[int]:
        found = set(states)
        for state in states:
            at = state
            while self.parts[at] == "**" and at + 1 < len(self.parts):
                at += 1
                found.add(at)
        return frozenset(found)


def has_signs(text: str) -> bool:
    """Tell whether a text is a glob."""
    return any(sign in text for sign in "*?[")


def walk(folder: str, pattern: Pattern, after: str = "") -> Iterator[str]:
    """Yield the paths of the files below `folder` (with a stroke behind it, or "") that match, after the path `after`.

    A folder that is not there has no files; a link that leads back to where it is in is not followed. Raises OSError
    where a folder may not be read.
    """
    yield from _walk(folder, pattern, pattern.begin(), after)


def _walk(folder: str, pattern: Pattern, states: frozenset[int], after: str) -> Iterator[str]:
    rest = after[len(folder) :] if after.startswith(folder) else ""
    head, stroke, _ = rest.partition("/")
    bound = f"{head}/" if stroke else f"{rest}\0" if rest else ""
    more = True
    while more:
        found, more = _window(_candidates(folder, pattern, states), bound)
        for key, below in found:
            if key[-1] != "/":
                yield folder + key
            else:
                yield from _walk(folder + key, pattern, below, after)
        bound = f"{found[-1][0]}\0" if found else ""


def _window(candidates: Iterator[Found], bound: str) -> tuple[Sequence[Found], bool]:
    """Return the first entries from `bound` on, in order, and whether there are more."""
    kept: list[Found] = []
    more = False
    for candidate in candidates:
        if candidate[0] < bound:
            continue
        kept.append(candidate)
        if len(kept) >= 2 * WINDOW:
            kept.sort(key=_key)
            del kept[WINDOW:]
            more = True
    kept.sort(key=_key)
    more = more or len(kept) > WINDOW
    return kept[:WINDOW], more


def _key(candidate: Found) -> str:
    return candidate[0]


def _candidates(folder: str, pattern: Pattern, states: frozenset[int]) -> Iterator[Found]:
    try:
        entries = os.scandir(folder or ".")
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            is_match, below = pattern.step(entry.name, states)
            if is_match and entry.is_file():
                yield entry.name, frozenset()
            elif below and entry.is_dir() and not (entry.is_symlink() and _leads_back(entry.path, folder)):
                yield f"{entry.name}/", below


def _leads_back(link: str, folder: str) -> bool:
    target = os.path.realpath(link)
    return f"{os.path.realpath(folder or '.')}/".startswith(f"{target.rstrip('/')}/")


def _matches(part: str, name: str) -> bool:
    if name[0] == "." and part[0] != ".":
        return False
    return part == name if not has_signs(part) else _compiled(part).match(name) is not None


@lru_cache(256)
def _compiled(part: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(part))


__all__ = ["Pattern", "has_signs", "walk"]
