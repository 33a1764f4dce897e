"""First and last of an order, and the few least or greatest, with a state of as many values as are asked for.

DuckDB's own state of `first(v order by t)` holds all values, and it exports none for `min(v, 3)` or `arg_min(v, t, 3)`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dataflare.errors import WorkflowError
from dataflare.expression.pieces import parted, words_of

if TYPE_CHECKING:
    from dataflare.expression.pieces import CallText

_ENDS = ("first", "last", "arbitrary")
_LEAST = ("min", "arg_min", "argmin", "min_by")
_GREATEST = ("max", "arg_max", "argmax", "max_by")
FEW_MAX = 10_000
"""The most values that `min(v, n)` and its like may be asked for."""


@dataclass(frozen=True, slots=True)
class Few:
    """How the n least or greatest are made: the call that makes a sorted list of them, its merge, the result of it."""

    call: CallText
    merge: str
    final: str


def by_extremes(call: CallText) -> CallText:
    """Return the call of an extreme that equals first or last of an order; the call itself where there is none.

    There is none where some columns of the order ascend and others descend. Of rows that are equal in the order the
    first one to arrive counts, as in DuckDB.
    """
    if call.name not in _ENDS or not call.order or call.distinct or len(call.arguments) != 1:
        return call
    items = [_item(part) for part in parted(words_of(call.order))]
    descends = {item.descends for item in items}
    if len(descends) > 1:
        return call
    (down,) = descends
    greatest = down != (call.name == "last")
    parts: list[str] = []
    for item in items:  # in a struct null is the greatest
        apart = item.nulls_first != item.descends
        parts += [f"({item.text}\n) is not null", item.text] if apart else [item.text]
    name = "arg_max_null" if greatest else "arg_min_null"
    key = f"row({', '.join(f'({p}{chr(10)})' for p in parts)})"
    return replace(call, name=name, arguments=(*call.arguments, key), order="")


@dataclass(frozen=True, slots=True)
class _Item:
    text: str
    descends: bool
    nulls_first: bool


def _item(words: list[str]) -> _Item:
    """Read one column of an order; nulls come last unless it says otherwise."""
    low = [w.lower() for w in words]
    nulls_first = False
    if low[-2:-1] == ["nulls"]:
        nulls_first = low[-1] == "first"
        words, low = words[:-2], low[:-2]
    descends = low[-1] in ("desc", "descending")
    if low[-1] in ("asc", "ascending", "desc", "descending"):
        words = words[:-1]
    return _Item(" ".join(words), descends, nulls_first)


def few(call: CallText) -> Few | None:
    """Return how a call that asks for the n least or greatest is computed; None for any other."""
    by_key = call.name not in ("min", "max")
    if call.name not in (*_LEAST, *_GREATEST) or len(call.arguments) != (3 if by_key else 2):
        return None
    count = call.arguments[-1].strip()
    if not count.isdigit() or not 1 <= int(count) <= FEW_MAX:
        raise WorkflowError(
            f"{call.name}: {count} values are asked for", hint=f"write a whole number from 1 to {FEW_MAX:,}"
        )
    least = call.name in _LEAST
    made = replace(call, name="min" if least else "max")
    if by_key:
        value, key = call.arguments[:2]
        there = f"({key}\n) is not null and ({value}\n) is not null"
        where = f"{there} and ({call.filter}\n)" if call.filter else there
        pair = f"struct_pack(k := ({key}\n), v := ({value}\n))"
        made = replace(made, arguments=(pair, count), filter=where)
    sort = "list_sort" if least else "list_reverse_sort"
    merge = f"list_slice({sort}(flatten(list({{0}}) filter (where {{0}} is not null))), 1, {count})"
    return Few(made, merge, f"list_transform({merge}, lambda pair: pair.v)" if by_key else merge)


__all__ = ["FEW_MAX", "Few", "by_extremes", "few"]
