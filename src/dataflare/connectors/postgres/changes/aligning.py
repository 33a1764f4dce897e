"""Finds by which name a column is known now that the log calls by one that nobody has planned with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DROPPED = "........pg.dropped."
"""How the names of dropped columns begin in the catalogue; they keep their numbers for ever."""


def aligned(logged: Sequence[str], numbers: Mapping[str, int], former: Mapping[str, str]) -> dict[str, str]:
    """Return names of now by names of the log, for those that are others.

    `logged` are the columns at a place of the log, `numbers` those of the catalogue now, the dropped ones too, `former`
    names of now by former ones that are known. Both stand in the order of their numbers, so what is unknown between two
    known columns is some of the numbers between those. A column is there before any of a greater number, so unless one
    of them was dropped, they are the first of them. Where it is not clear which were dropped, nothing is said.
    """
    found: dict[str, str] = {}
    known = [numbers.get(former.get(name, name)) for name in logged]
    names = {number: name for name, number in numbers.items()}
    low = 0
    for at, name in enumerate(logged):
        if known[at] is not None or name in found:
            low = known[at] or low
            continue
        end = next((n for n in range(at, len(logged)) if known[n] is not None), len(logged))
        high = known[end] if end < len(logged) else None
        between = [n for n in sorted(names) if n > low and (high is None or n < high)]
        dropped = any(names[n].startswith(DROPPED) for n in between)
        if dropped and len(between) != end - at:
            continue
        pairs = zip(logged[at:end], between, strict=False)
        found |= {was: names[number] for was, number in pairs if not names[number].startswith(DROPPED)}
    return found


__all__ = ["DROPPED", "aligned"]
