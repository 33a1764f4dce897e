"""Finds by which name a column is known now that the log calls by one that nobody has planned with."""

from __future__ import annotations

from itertools import combinations, islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

DROPPED = "........pg.dropped."
"""How the names of dropped columns begin in the catalogue; they keep their numbers for ever."""
_READINGS_MAX = 1_000


def aligned(logged: Sequence[str], numbers: Mapping[str, int], former: Mapping[str, str]) -> dict[str, str]:
    """Return names of now by names of the log, for those that are others.

    `logged` are the columns at a place of the log, `numbers` those of the catalogue now, the dropped ones too, `former`
    names of now by former ones that are known. Both stand in the order of their numbers, so what is unknown between two
    known columns is some of the numbers between those. A column that is not dropped is there before any of a greater
    number. What that leaves open, as it is not clear which dropped ones were there, is not said.
    """
    found: dict[str, str] = {}
    known = [numbers.get(former.get(name, name)) for name in logged]
    names = {number: name for name, number in numbers.items()}
    gone = {number for number, name in names.items() if name.startswith(DROPPED)}
    low = at = 0
    while at < len(logged):
        end = next((n for n in range(at, len(logged)) if known[n] is not None), len(logged))
        high = known[end] if end < len(logged) else None
        between = [n for n in sorted(names) if n > low and (high is None or n < high)]
        readings = _readings(between, gone, end - at, closed=high is not None) if end > at else []
        for was, choices in zip(logged[at:end], zip(*readings, strict=True), strict=False):
            if len(set(choices)) == 1 and choices[0] not in gone:
                found[was] = names[choices[0]]
        low, at = high or low, end + 1
    return found


def _readings(numbers: Sequence[int], gone: AbstractSet[int], count: int, *, closed: bool) -> list[list[int]]:
    """Return which `count` of the numbers may have been there; nothing where that may be too many to tell.

    All that are not dropped were there, up to the greatest that was; `closed`: up to the end.
    """
    found: list[list[int]] = []
    for last in numbers[-1:] if closed else numbers:
        must = [n for n in numbers if n <= last and (n not in gone or (n == last and not closed))]
        may = [n for n in numbers if n <= last and n not in must]
        if len(must) > count:
            continue
        found += (sorted([*must, *some]) for some in islice(combinations(may, count - len(must)), _READINGS_MAX))
        if len(found) >= _READINGS_MAX:
            return []
    return found


__all__ = ["DROPPED", "aligned"]
