"""Finds out what to read next of a table by a column that grows, and says what it left out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from pydantic import field_validator, model_validator

from dataflare.component import Config, Duration, Field
from dataflare.component.settings import seconds_of
from dataflare.errors import DataError, WorkflowError
from dataflare.sql.windows import BOUNDARY_KEYS_MAX, Mark, Window

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.schema import Schema
    from dataflare.sql.reading import ReadRelation, Values

TAIL_ROWS = 100
COUNTED_MAX = 1000
_NUMBERS = ("int", "uint", "float", "decimal")
_TIMES = ("timestamp", "datetime", "date")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:([ T])(\d\d:\d\d(?::\d\d)?)(\.\d+)?( ?[Zz]|[+-][\d:]+)?)?")

Conditions = Callable[["Values"], Iterable[str]]
"""Makes the conditions of one statement; values get into it by the argument."""


class Deletes(Config):
    """How rows are found that are not there any more."""

    compare: Literal["keys"] = Field("keys", description="keys: those that were read, with those that are there.")
    every: Duration = Field(0.0, ge=0, description="How long after a comparison the next one is due; 0s: in each run.")


class Incremental(Config):
    """The column by which new rows are found."""

    cursor_field: str = Field(description="A column that grows: a number or a time.")
    cursor_value: int | float | str | None = Field(
        None, description="Where to begin, that value included; default: all rows."
    )
    end_value: int | float | str | None = Field(
        None, description="Where to end for good, that value included; default: nowhere."
    )
    lag: int | float | str | None = Field(
        None, description="How far to look back behind the newest value: a number, or for times such as 1h."
    )
    overlap: Literal["new", "all"] = Field(
        "new", description="What is read of the lag: rows that were not read before, or all (for merge destinations)."
    )
    missing: Literal["skip", "fail", "first"] = Field(
        "skip", description="What becomes of rows in which the column is null; `first` reads them once, at the start."
    )
    row_order: Literal["asc", "desc"] = Field("asc", description="desc: of what is new, the newest rows come first.")
    deletes: Deletes | None = Field(
        None, description="Rows are changes then: those that are gone come as deletes; default: nobody looks for them."
    )

    @field_validator("lag")
    @classmethod
    def _some(cls, value: Any) -> Any:
        if value is not None and (seconds_of(value) if isinstance(value, str) else value) <= 0:
            raise ValueError("lag must be more than nothing")
        return value

    @model_validator(mode="after")
    def _needs_lag(self) -> Self:
        if self.overlap == "all" and self.lag is None:
            raise ValueError("overlap: all needs a lag, such as lag: 1h")
        return self

    @property
    def comes_again(self) -> bool:
        """Whether rows come in more than one run, though nothing about them changed."""
        return self.lag is not None and self.overlap == "all"


class Ask(Protocol):
    """Asks for values of the columns of an order, as JSON, of the rows that fulfil conditions."""

    def __call__(self, names: Iterable[str], conditions: Conditions, ending: str) -> list[tuple[Any, ...]]:
        """Return rows of one value for each name; `ending` stands behind the conditions."""
        ...


def check_incremental(settings: Incremental | None, name: str, relation: ReadRelation) -> None:
    """Raise WorkflowError where new rows of a relation cannot be found so."""
    if settings is None:
        raise WorkflowError(
            "mode: incremental needs a column that grows", hint="add incremental: {cursor_field: updated_at}"
        )
    cursor = settings.cursor_field
    if cursor not in relation.schema:
        known = ", ".join(relation.schema.names)
        raise WorkflowError(f"{name or 'it'} has no column {cursor}", hint=f"it has {known}")
    if not relation.order:
        message = f"mode: incremental needs a key to tell the rows of {name or 'it'} apart"
        raise WorkflowError(message, hint="add key: [id]")
    if settings.deletes is not None and not relation.unique:
        message = f"deletes of {name or 'it'} cannot be found: no key tells its rows apart"
        raise WorkflowError(message, hint="add a primary key to the table, or read it by a query with key: [id]")
    if settings.lag is not None:
        _check_lag(settings, relation.schema)


def _check_lag(settings: Incremental, schema: Schema) -> None:
    cursor, kind, lag = settings.cursor_field, schema[settings.cursor_field].type, settings.lag
    if kind.startswith(_TIMES):
        if not isinstance(lag, str):
            raise WorkflowError(f"lag: {lag} has no unit, and {cursor} is a {kind}", hint="write it as 90s, 1h or 2d")
    elif not kind.startswith(_NUMBERS):
        raise WorkflowError(
            f"lag needs a number or a time, and {cursor} is {kind}", hint="remove lag, or take another cursor_field"
        )
    elif isinstance(lag, str):
        raise WorkflowError(f"lag: {lag} is a time, and {cursor} is {kind}", hint="write a number, such as lag: 1000")


class Finding:
    """Looks for what is new in one table; `notice` is told (code, message) of what a person should know."""

    def __init__(
        self, settings: Incremental, relation: ReadRelation, ask: Ask, shown: str, notice: Callable[[str, str], None]
    ) -> None:
        """Ask nothing yet; `shown` is how the table is called in messages."""
        self._settings, self._ask, self._shown, self._notice = settings, ask, shown, notice
        self._cursor = settings.cursor_field
        self._order = relation.by_cursor(self._cursor).order
        self._at, self._name = next(iter(self._order.values())), next(iter(self._order))
        self._keys = [name for name in self._order if name != self._name]
        self._kind = relation.schema[self._cursor].type

    def window(self, low: Mark | None) -> Window | None:
        """Return the window after a mark; None where nothing is new."""
        self._tell_late(low)
        high = self._mark(low)
        if high is None:
            return None
        if low is not None and self._settings.comes_again:
            return Window(None, high, self._back(low.value))
        return Window(low, high, None if low else self._settings.cursor_value)

    def missing(self, low: Mark | None) -> bool:
        """Tell whether rows without a value are to be read now; raise DataError where there may be none."""
        what = self._settings.missing
        if what == "first" and low is not None:
            return False
        found = len(self._ask(self._keys[:1], lambda _: [f"{self._at} is null"], f"limit {COUNTED_MAX}"))
        if not found or what == "first":
            return bool(found)
        many = f"{found:,}{' or more' if found == COUNTED_MAX else ''} row{'s' if found > 1 else ''}"
        said = f"{self._shown} has {many} without {self._cursor}"
        if what == "fail":
            raise DataError(said, hint="give them a value, or say incremental: {missing: skip} or {missing: first}")
        self._notice("incremental.missing", f"{said}: left out")
        return False

    def _mark(self, low: Mark | None) -> Mark | None:
        """Return the mark after everything that is there now; None where nothing is new."""
        lag = self._settings.lag is not None
        value = self._newest(low)
        if value is None:
            if low is None or not lag:
                return None
            value = low.value
        tail = None if lag else self._tail(value, TAIL_ROWS)
        number = low.number + 1 if low else 1
        if self._settings.comes_again:
            return Mark(value, None, number)
        edge = self._back(value) if lag else None
        mark = Mark(value, self._taken(value, edge), number, edge, tail)
        return mark if mark.goes_beyond(low) else None

    def _newest(self, low: Mark | None) -> Any:
        since = low.value if low else self._settings.cursor_value

        def conditions(values: Values) -> Iterable[str]:
            yield f"{self._at} is not null"
            if since is not None:
                yield f"{self._at} >= {values(self._name, since)}"
            if self._settings.end_value is not None:
                yield f"{self._at} <= {values(self._name, self._settings.end_value)}"

        found = self._ask([self._name], conditions, f"order by {self._at} desc limit 1")
        return found[0][0] if found else None

    def _taken(self, value: Any, edge: Any) -> list[list[Any]] | None:
        """Return the keys at a value; with an edge, the rows from there on. None: more than can be listed."""
        names = self._keys if edge is None else [self._name, *self._keys]
        most = BOUNDARY_KEYS_MAX // len(names)

        def conditions(values: Values) -> Iterable[str]:
            if edge is None:
                return [f"{self._at} = {values(self._name, value)}"]
            return [f"{self._at} >= {values(self._name, edge)}", f"{self._at} <= {values(self._name, value)}"]

        order = ", ".join(self._order[name] for name in names)
        found = self._ask(names, conditions, f"order by {order} limit {most + 1}")
        if len(found) <= most:
            return [list(row) for row in found]
        if edge is None:
            return None
        raise DataError(
            f"more than {most:,} rows of {self._shown} lie within a lag of {self._settings.lag}",
            hint="take a shorter lag, or merge by key and say incremental: {overlap: all}",
        )

    def _back(self, value: Any) -> Any:
        lag = self._settings.lag
        return earlier(value, self._kind, seconds_of(lag) if isinstance(lag, str) else lag or 0)

    # ---- rows that come late ------------------------------------------------------------------------------------

    def _tail(self, value: Any, limit: int, floor: Any = None) -> list[list[Any]]:
        """Return some rows below a value, the newest ones first; `floor`: none older than that one."""

        def conditions(values: Values) -> Iterable[str]:
            yield f"{self._at} < {values(self._name, value)}"
            if floor is not None:
                yield f"{self._at} >= {values(self._name, floor)}"

        order = ", ".join(f"{text} desc" for text in self._order.values())
        return [list(row) for row in self._ask(self._order, conditions, f"order by {order} limit {limit}")]

    def _tell_late(self, low: Mark | None) -> None:
        """Tell of rows that came with a value older than what was read, as far as the tail of the mark reaches."""
        if low is None or low.tail is None or self._settings.lag is not None:
            return
        # Those that share the value of the last one of a full tail were perhaps there, and not listed.
        oldest = low.tail[-1][0] if len(low.tail) == TAIL_ROWS else None
        found = self._tail(low.value, 2 * TAIL_ROWS, oldest)
        late = sum(1 for row in found if row[0] != oldest and row not in low.tail)
        if late:
            many = f"{late} row{'s' if late > 1 else ''}"
            message = f"{self._shown} got {many} whose {self._cursor} is older than what was read, perhaps never read"
            self._notice("incremental.late_rows", f"{message}: a lag finds them, such as incremental: {{lag: ...}}")


def earlier(value: Any, kind: str, lag: float) -> Any:
    """Return a value of a position so much before another one, in its form; `lag` in seconds for times.

    Raises DataError for a time beyond what there is.
    """
    if not kind.startswith(_TIMES):
        back = Decimal(math.ceil(lag)) if "int" in kind else Decimal(str(lag))
        if isinstance(value, str):
            return str(Decimal(value) - back)
        return value - (int(back) if isinstance(value, int) and back == int(back) else float(back))
    try:
        day, sign, clock, fraction, zone = _time(str(value))
        at = datetime.fromisoformat(f"{day}T{clock or '00:00'}") + timedelta(
            microseconds=int((fraction or ".")[1:7].ljust(6, "0"))
        )
        at -= timedelta(seconds=lag)
    except (ValueError, OverflowError):
        # Without the value, which may be private.
        raise DataError(
            f"no time is {lag:g} seconds before the newest value", hint="remove lag, or correct the value"
        ) from None
    if clock is None:
        return at.date().isoformat()
    digits = len(fraction) - 1 if fraction else 6 if at.microsecond else 0
    behind = f".{at.microsecond:06d}"[: digits + 1] if digits else ""
    return f"{at:%Y-%m-%d}{sign}{at:%H:%M:%S}{behind}{zone or ''}"


def _time(text: str) -> tuple[str | Any, ...]:
    """Return the day, what stands behind it, the clock, the fraction and the zone of a time in ISO form."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return found.groups()


def windows(
    names: Iterable[str], since: Mapping[str, Any] | None, finding: Callable[[str], Finding]
) -> Iterable[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Yield (split, table, data, where enumeration goes on) of what is new in each table, rows without a value first.

    `since` is what the last one told.
    """
    marks, nulls = dict((since or {}).get("marks", {})), list((since or {}).get("nulls", ()))

    def resume() -> dict[str, Any]:
        return {"marks": dict(marks), **({"nulls": list(nulls)} if nulls else {})}

    for name in names:
        low = Mark.from_json(marks[name]) if name in marks else None
        looking = finding(name)
        if name not in nulls and looking.missing(low):
            nulls.append(name)
            yield f"{name}#null", name, {"missing": True}, resume()
        window = looking.window(low)
        if window is None:
            continue
        marks[name] = window.high.to_json()
        # The next window needs the tail, reading this one does not.
        lean = replace(window, high=replace(window.high, tail=None), low=window.low and replace(window.low, tail=None))
        yield f"{name}#{window.high.number}", name, {"window": lean.to_json()}, resume()


__all__ = ["Ask", "Conditions", "Deletes", "Finding", "Incremental", "check_incremental", "earlier", "windows"]
