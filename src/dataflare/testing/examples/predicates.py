"""What a test may say of a value instead of the value: `{regex: ...}`, `{close: 1.0}`, `{null: false}` and the like."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from dataflare.workflow.findings import near

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CLOSE = 1e-9
"""How far from a number `close` lets a value be, as a share of it, unless `within` says."""


class PredicateError(ValueError):
    """A condition that cannot be understood; `hint` is the cure."""

    def __init__(self, what: str, hint: str = "") -> None:
        """Say what is wrong."""
        super().__init__(what)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Predicate:
    """A condition of a value, as it was written."""

    text: str
    holds: Callable[[Any], bool]

    def __str__(self) -> str:
        """Render as it was written."""
        return self.text


def predicate_of(value: Any, column_type: str) -> Predicate | None:
    """Return the condition that a map is; None where it is a plain value. Raises PredicateError where it is wrong.

    In columns that hold maps themselves, a map is a value unless its one key is a word that the column does not have.
    """
    if not isinstance(value, dict) or not value:
        return None
    holds_maps = column_type.startswith(("struct<", "map<")) or column_type == "json"
    words = set(value) - {"within"}
    if holds_maps and (len(value) > 1 or not words <= _MAKERS.keys() or f'{next(iter(value))}"' in column_type):
        return None
    unknown = sorted(str(w) for w in words - _MAKERS.keys())
    if unknown or not words:
        word = unknown[0] if unknown else "within"
        raise PredicateError(f"{word!r} is not a condition", near(word, _MAKERS) or f"known: {', '.join(_MAKERS)}")
    conditions = [_MAKERS[word](argument, value) for word, argument in value.items() if word != "within"]
    text = ", ".join(f"{word} {shown(argument)}" for word, argument in value.items())
    return Predicate(text, lambda found: all(condition(found) for condition in conditions))


def shown(value: Any, most: int = 80) -> str:
    """Write a value for people; long ones are cut."""
    if isinstance(value, Predicate):
        return f"<{value}>"
    if isinstance(value, bool) or value is None:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, datetime):
        text = value.isoformat().replace("+00:00", "Z")
    elif isinstance(value, Decimal | int | float | date | time):
        text = str(value)
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{k}: {shown(v)}" for k, v in value.items()) + "}"
    elif isinstance(value, list | tuple):
        text = "[" + ", ".join(shown(v) for v in value) + "]"
    else:
        text = repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise PredicateError(f"{value!r} is not a number")
    try:
        return float(value)
    except ValueError as error:
        raise PredicateError(f"{value!r} is not a number") from error


def _close(argument: Any, whole: Mapping[str, Any]) -> Callable[[Any], bool]:
    wanted = _number(argument)
    far = _number(whole["within"]) if "within" in whole else max(abs(wanted) * CLOSE, CLOSE)

    def holds(value: Any) -> bool:
        return isinstance(value, int | float | Decimal) and math.fabs(float(value) - wanted) <= far

    return holds


def _regex(argument: Any, _: Mapping[str, Any]) -> Callable[[Any], bool]:
    try:
        pattern = re.compile(str(argument))
    except re.error as error:
        raise PredicateError(f"{argument!r} is not a regular expression: {error}") from error
    return lambda value: isinstance(value, str) and pattern.search(value) is not None


def _null(argument: Any, _: Mapping[str, Any]) -> Callable[[Any], bool]:
    if not isinstance(argument, bool):
        raise PredicateError("null is true or false")
    return lambda value: (value is None) is argument


def _contains(argument: Any, _: Mapping[str, Any]) -> Callable[[Any], bool]:
    def holds(value: Any) -> bool:
        if isinstance(value, str):
            return str(argument) in value
        return isinstance(value, list) and argument in value

    return holds


def _order(sign: str) -> Callable[[Any, Mapping[str, Any]], Callable[[Any], bool]]:
    compare: Callable[[Any, Any], bool] = {
        "gt": lambda one, other: one > other,
        "ge": lambda one, other: one >= other,
        "lt": lambda one, other: one < other,
        "le": lambda one, other: one <= other,
    }[sign]

    def make(argument: Any, _: Mapping[str, Any]) -> Callable[[Any], bool]:
        return lambda value: value is not None and compare(*_alike(value, argument))

    return make


def _one_of(argument: Any, _: Mapping[str, Any]) -> Callable[[Any], bool]:
    if not isinstance(argument, list):
        raise PredicateError("one_of takes a list")
    return lambda value: any(_equal(value, one) for one in argument)


def _not(argument: Any, _: Mapping[str, Any]) -> Callable[[Any], bool]:
    return lambda value: not _equal(value, argument)


def _equal(value: Any, written: Any) -> bool:
    if value is None or written is None:
        return value is written
    one, other = _alike(value, written)
    return bool(one == other)


def _alike(value: Any, written: Any) -> tuple[Any, Any]:
    """Return a value and what a test compares it with as values of one kind; texts where nothing else will do."""
    try:
        if isinstance(value, Decimal):
            return value, Decimal(str(written))
        if isinstance(value, datetime):
            moment = datetime.fromisoformat(str(written))
            return value, moment.replace(tzinfo=moment.tzinfo or value.tzinfo)
        if isinstance(value, date):
            return value, date.fromisoformat(str(written))
        if isinstance(value, int | float) and not isinstance(written, str):
            return value, written
    except (ValueError, ArithmeticError):
        return str(value), str(written)
    return (value, written) if type(value) is type(written) else (str(value), str(written))


_MAKERS: Mapping[str, Callable[[Any, Mapping[str, Any]], Callable[[Any], bool]]] = {
    "regex": _regex,
    "close": _close,
    "null": _null,
    "contains": _contains,
    "one_of": _one_of,
    "not": _not,
    **{sign: _order(sign) for sign in ("gt", "ge", "lt", "le")},
}

__all__ = ["Predicate", "PredicateError", "predicate_of", "shown"]
