"""Makes rows up for a test, of the types that the plan has: the same seed gives the same rows."""

from __future__ import annotations

import random
import re
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from dataflare.batch import RESERVED
from dataflare.changes import OP, Op

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.schema import Column, Schema
    from dataflare.workflow.example_text import GenerateText

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_YEAR_SECONDS = 365 * 86_400
_WORDS = ("alpha", "Beta", "gamma delta", "", "Zoë", "x'y", "東京", "007", " padded ", "a,b;c")
"""Texts that have broken programs before."""


def made_up(schema: Schema, text: GenerateText, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return so many rows; columns of the key, and one named id, count up from 1 and are never null.

    Those of a stream of changes are inserts.
    """
    makers = {column.name: _maker(column, text, keys) for column in schema if column.name not in RESERVED}
    if OP in schema:  # changes: each of a row of its own
        makers[OP] = lambda _: Op.INSERT.value
    return [{name: make(number) for name, make in makers.items()} for number in range(1, text.rows + 1)]


def _maker(column: Column, text: GenerateText, keys: tuple[str, ...]) -> Callable[[int], Any]:
    chance = random.Random(f"{text.seed}/{column.name}")  # noqa: S311 - test data, the same each time
    if column.name in text.values:
        choices = text.values[column.name]
        return lambda _: chance.choice(choices)
    if column.name in keys or (column.name == "id" and not keys):
        return _counting(column.type)
    kind, rate = column.type, text.nulls if column.nullable else 0.0
    return lambda _: None if chance.random() < rate else _value(kind, chance)


def _counting(kind: str) -> Callable[[int], Any]:
    if re.match(r"u?int|float|decimal|json", kind):
        return lambda number: number
    if kind in ("date", "timestamp", "datetime"):
        return lambda number: _moment(kind, _EPOCH + timedelta(days=number))
    return lambda number: f"{number:08d}"


def _value(kind: str, chance: random.Random) -> Any:
    if kind.startswith(("list<", "struct<", "map<")):
        return _nested(kind, chance)
    if bits := re.fullmatch(r"(u?)int(\d+)", kind):
        top = min((1 << (int(bits[2]) - 1)) - 1, 100_000)
        return chance.randint(0 if bits[1] else -top, top)
    if found := re.fullmatch(r"decimal\((\d+),(\d+)\)", kind):
        digits, scale = min(int(found[1]), 12), int(found[2])
        number = chance.randint(0, 10 ** max(digits - 1, 1))
        return f"{number // 10**scale}.{number % 10**scale:0{scale}d}" if scale else str(number)
    if kind in ("date", "timestamp", "datetime"):
        return _moment(kind, _EPOCH - timedelta(seconds=chance.randint(0, 5 * _YEAR_SECONDS)))
    plain: dict[str, Callable[[], Any]] = {
        "bool": lambda: chance.random() < 0.5,  # noqa: PLR2004 - as often true as false
        "float32": lambda: chance.randint(-1000, 1000) / 4,
        "float64": lambda: round(chance.uniform(-1000, 1000), 3),
        "time": lambda: time(chance.randint(0, 23), chance.randint(0, 59), chance.randint(0, 59)).isoformat(),
        "json": lambda: {"n": chance.randint(0, 9)},
        "null": lambda: None,
    }
    make = plain.get(kind, lambda: chance.choice(_WORDS))
    return make()


def _nested(kind: str, chance: random.Random) -> Any:
    if kind.startswith("list<"):
        inner = kind.removeprefix("list<").removesuffix(">")
        return [_value(inner, chance) for _ in range(chance.randint(0, 3))]
    if kind.startswith("struct<"):
        return {name: _value(inner, chance) for name, inner in fields_of(kind)}
    return {}


def _moment(kind: str, moment: datetime) -> str:
    if kind == "date":
        return date(moment.year, moment.month, moment.day).isoformat()
    plain = moment.replace(tzinfo=None).isoformat()
    return f"{plain}Z" if kind == "timestamp" else plain


def fields_of(kind: str) -> list[tuple[str, str]]:
    """Return the names and types of the fields of a struct type."""
    inside = kind.removeprefix("struct<").removesuffix(">")
    parts: list[str] = [""]
    depth = 0
    for sign in inside:
        depth += (sign in "<(") - (sign in ">)")
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    split = (part.strip().partition(":") for part in parts if part.strip())
    return [(name.strip().strip('"'), kind.strip()) for name, _, kind in split]


__all__ = ["fields_of", "made_up"]
