"""Which column types hold all values of which: by it, a column of a table becomes wider when its source's did.

Exactly, unlike `component.deviations.wider_type`, by which sources that guess types agree on one: no value that is
there is rounded, and none that comes.
"""

from __future__ import annotations

import re

DIGITS_MAX = 38

_WHOLE = {f"{sign}int{bits}": (sign == "", bits) for sign in ("", "u") for bits in (8, 16, 32, 64)}
_DIGITS = {8: 3, 16: 5, 32: 10}
_FLOATS = {"float32": 24, "float64": 53}
"""So many bits of a whole number are exact."""
_DECIMAL = re.compile(r"decimal\((\d+),(-?\d+)\)")
_LIST = re.compile(r"list<(.+)>", re.DOTALL)
_NO_TEXT = ("binary", "list<", "struct<", "map<")


def holds(wide: str, narrow: str) -> bool:
    """Tell whether a column of one type keeps every value of the other as it is; text keeps what has a text."""
    text = wide == "string" and not narrow.startswith(_NO_TEXT)
    return text or joined(wide, narrow) == wide


def joined(one: str, other: str) -> str | None:
    """Return the narrowest type that holds all values of both exactly; None where there is none."""
    if "null" in (one, other) or one == other:
        return other if one == "null" else one
    lists = _LIST.fullmatch(one), _LIST.fullmatch(other)
    if lists[0] and lists[1]:
        items = joined(lists[0][1], lists[1][1])
        return None if items is None else f"list<{items}>"
    if "date" in (one, other):
        moment = other if one == "date" else one
        return moment if moment in ("datetime", "timestamp") else None
    return _number(one, other)


def _number(one: str, other: str) -> str | None:
    if one in _FLOATS or other in _FLOATS:
        return _float(one, other)
    return _whole(one, other) if one in _WHOLE and other in _WHOLE else _decimal(one, other)


def _float(one: str, other: str) -> str | None:
    if one in _FLOATS and other in _FLOATS:
        return "float64"
    number, whole = (one, other) if one in _FLOATS else (other, one)
    if whole not in _WHOLE:
        return None
    signed, bits = _WHOLE[whole]
    fits = [name for name, exact in _FLOATS.items() if bits - signed <= exact and exact >= _FLOATS[number]]
    return fits[0] if fits else None


def _whole(one: str, other: str) -> str | None:
    (signed, bits), (others_sign, others_bits) = _WHOLE[one], _WHOLE[other]
    if signed == others_sign:
        return one if bits >= others_bits else other
    unsigned, with_sign = (others_bits, bits) if signed else (bits, others_bits)
    wide = max(with_sign, 2 * unsigned)
    return f"int{wide}" if wide <= 64 else _decimal(one, other)  # noqa: PLR2004 - the widest


def _decimal(one: str, other: str) -> str | None:
    sizes = [_size(one), _size(other)]
    if sizes[0] is None or sizes[1] is None:
        return None
    before, behind = (max(pair) for pair in zip(sizes[0], sizes[1], strict=True))
    return f"decimal({before + behind},{behind})" if before + behind <= DIGITS_MAX else None


def _size(text: str) -> tuple[int, int] | None:
    """Return how many digits stand before and behind the point; None for what is no exact number."""
    if text in _WHOLE:
        signed, bits = _WHOLE[text]
        return (_DIGITS.get(bits, 19 if signed else 20), 0)
    found = _DECIMAL.fullmatch(text)
    return (int(found[1]) - int(found[2]), int(found[2])) if found else None


__all__ = ["holds", "joined"]
