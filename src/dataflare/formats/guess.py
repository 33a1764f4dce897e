"""Guesses the types of text: of whole columns by Arrow, of single JSON strings, and what two guesses have in common."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_DATE = r"\d{4}-\d\d-\d\d"
_MOMENT = _DATE + r"[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?"
_ZONE = r"(Z|[+-]\d\d(:?\d\d)?)"
_INTEGER = r"^-?(0|[1-9]\d*)$"
_FLOAT = r"^-?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][-+]?\d+)?$"
_FLOAT_WORD = r"(?i)^(nan|-?inf)$"
_STRINGS = tuple(
    (re.compile(pattern), name)
    for pattern, name in ((_DATE, "date"), (_MOMENT, "datetime"), (_MOMENT + _ZONE, "timestamp"))
)
_WIDER = {
    frozenset(("int64", "float64")): "float64",
    frozenset(("date", "datetime")): "datetime",
    frozenset(("date", "timestamp")): "timestamp",
    frozenset(("datetime", "timestamp")): "timestamp",
}


def wider(one: str | None, other: str | None) -> str:
    """Return the narrowest type that holds both; None stands for nulls only. `string` holds everything."""
    if one is None or other is None or one == other:
        return one or other or "string"
    return _WIDER.get(frozenset((one, other)), "string")


def string_type(text: str) -> str:
    """Return `date`, `datetime` or `timestamp` if a text is one, else `string`."""
    if text[:4].isdigit():
        for pattern, name in _STRINGS:
            if pattern.fullmatch(text):
                return name
    return "string"


def column_type(texts: pa.ChunkedArray) -> str | None:
    """Return the type that all values of a text column are of; None when it holds nulls only.

    Numbers with leading zeros (zip codes) and integers that do not fit in 64 bits stay strings.
    """
    import pyarrow.compute as pc

    texts = texts.drop_null()
    if len(texts) == 0:
        return None

    def all_match(pattern: str) -> bool:
        return bool(pc.all(pc.match_substring_regex(texts, pattern=pattern)).as_py())

    if all_match(r"(?i)^(true|false)$"):
        return "bool"
    if all_match(_INTEGER):
        return "int64" if _casts(texts, "int64") else "string"
    numeric = pc.match_substring_regex(texts, pattern=_FLOAT)
    if (
        pc.any(numeric).as_py()
        and pc.all(pc.or_(numeric, pc.match_substring_regex(texts, pattern=_FLOAT_WORD))).as_py()
    ):
        return "float64"
    return _moment_type(texts, all_match(f"^{_DATE}$"), all_match(f"^{_DATE}|^{_MOMENT}{_ZONE}?$"))


def _moment_type(texts: pa.ChunkedArray, dates: bool, moments: bool) -> str:  # noqa: FBT001 - two answers of one caller
    import pyarrow.compute as pc

    if dates:
        return "date" if _casts(texts, "date32[day]") else "string"
    if not moments:
        return "string"
    zoned = pc.match_substring_regex(texts, pattern=f"^{_MOMENT}{_ZONE}$")
    plain = pc.match_substring_regex(texts, pattern=f"^({_DATE}|{_MOMENT})$")
    if not pc.all(pc.or_(zoned, plain)).as_py() or not _casts(texts.filter(plain), "timestamp[us]"):
        return "string"
    return "timestamp" if pc.any(zoned).as_py() else "datetime"


def _casts(texts: pa.ChunkedArray, kind: str) -> bool:
    import pyarrow as pa

    types = {"int64": pa.int64(), "date32[day]": pa.date32(), "timestamp[us]": pa.timestamp("us")}
    try:
        texts.cast(types[kind])
    except pa.ArrowInvalid:
        return False
    return True


__all__ = ["column_type", "string_type", "wider"]
