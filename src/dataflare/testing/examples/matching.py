"""Pairs rows that are expected with rows that came, in any order, so that as many as possible have a partner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.testing.examples.predicates import Predicate

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = dict[str, Any]


def fits(wanted: Row, row: Row) -> bool:
    """Tell whether a row has what is wanted of it."""
    return all(holds(value, row.get(column)) for column, value in wanted.items())


def holds(wanted: Any, value: Any) -> bool:
    """Tell whether a value is the one that is wanted, or fits the condition."""
    return wanted.holds(value) if isinstance(wanted, Predicate) else bool(wanted == value)


def matched(wanted: Sequence[Row], rows: Sequence[Row]) -> dict[int, int]:
    """Return a row number for each number of a wanted row that has a partner.

    Rows of plain values that name the same columns are counted; only what is left is tried pair by pair.
    """
    pairs = _equal(wanted, rows)
    taken = set(pairs.values())
    left = [w for w in range(len(wanted)) if w not in pairs]
    free = [r for r in range(len(rows)) if r not in taken]
    if left and free and _needs_search(wanted):
        pairs = _searched(wanted, rows)
    return pairs


def _needs_search(wanted: Sequence[Row]) -> bool:
    shapes = {tuple(row) for row in wanted}
    return len(shapes) > 1 or any(isinstance(v, Predicate) for row in wanted for v in row.values())


def _equal(wanted: Sequence[Row], rows: Sequence[Row]) -> dict[int, int]:
    """Pair rows whose values are equal, first come first served."""
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for columns in dict.fromkeys(tuple(row) for row in wanted):
        at: dict[str, list[int]] = {}
        for number, row in enumerate(rows):
            if number not in taken:
                at.setdefault(_key([row.get(c) for c in columns]), []).append(number)
        for number, row in enumerate(wanted):
            if tuple(row) != columns or any(isinstance(v, Predicate) for v in row.values()):
                continue
            same = at.get(_key([row[c] for c in columns]))
            if same:
                pairs[number] = same.pop(0)
                taken.add(pairs[number])
    return pairs


def _searched(wanted: Sequence[Row], rows: Sequence[Row]) -> dict[int, int]:
    """Return a largest matching, by augmenting paths: no choice made early keeps another row from its partner."""
    possible = [[r for r, row in enumerate(rows) if fits(want, row)] for want in wanted]
    owner: dict[int, int] = {}

    def place(start: int) -> None:
        path: list[tuple[int, int]] = []
        seen: set[int] = set()
        stack = [(start, iter(possible[start]))]
        while stack:
            number, choices = stack[-1]
            row = next((r for r in choices if r not in seen), None)
            if row is None:
                stack.pop()
                if path:
                    path.pop()
                continue
            seen.add(row)
            path.append((number, row))
            if row not in owner:
                owner.update({taken: want for want, taken in path})
                return
            stack.append((owner[row], iter(possible[owner[row]])))

    for number in range(len(wanted)):
        place(number)
    return {want: row for row, want in owner.items()}


def _key(values: list[Any]) -> str:
    """Return a text that is the same for values that are equal."""
    return "\x1f".join(_text(v) for v in values)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + "\x1e".join(f"{k}\x1d{_text(v)}" for k, v in sorted(value.items())) + "}"
    if isinstance(value, list | tuple):
        return "[" + "\x1e".join(_text(v) for v in value) + "]"
    if value is None or isinstance(value, bool | str):
        return f"{type(value).__name__}:{value}"
    return repr(value)  # both sides have the type of the column


__all__ = ["fits", "holds", "matched"]
