"""What a join makes of two inputs: its settings, the columns that come out, and the statement that makes them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from dataflare.component import Config, Duration, Field
from dataflare.errors import WorkflowError
from dataflare.processors.columns import known
from dataflare.processors.ordering import NUMBER
from dataflare.schema import Column, Schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

LEFT, RIGHT = "l", "r"
_TIMES = ("timestamp", "datetime", "date")
_INTEGER = re.compile(r"(u?)int(\d+)")
_LAST = (1 << 63) - 1
_NULLABLE = {"left": (False, True), "right": (True, False), "full": (True, True), "asof": (False, True)}


class JoinConfig(Config):
    """How the rows of two inputs come together."""

    how: Literal["inner", "left", "right", "full", "semi", "anti", "asof"] = Field(
        "inner",
        description="Which rows come out: `inner` pairs; `left`, `right`, `full` also rows of that side, or of both, "
        "that have no partner; `semi` and `anti` rows of the left side that have one, or none; `asof` each row of the "
        "left side with the nearest one of the right side in `at`.",
    )
    keys: list[str] | dict[str, str] = Field(
        [],
        description="Columns in which partners are equal: names that both sides have, or columns of the left side by "
        "those of the right: {customer_id: id}. A null equals nothing.",
    )
    at: str | dict[str, str] | None = Field(
        None, description="asof: the column of a time or number, the same on both sides or {left: right}."
    )
    direction: Literal["backward", "forward"] = Field(
        "backward", description="asof: the partner is the last one at or before, or the first at or after."
    )
    within: Duration | None = Field(None, gt=0, description="asof: a partner that is farther away is none.")
    take: list[str] | dict[str, str] | None = Field(
        None,
        description="Columns of the right side, or new names for them: {segment: kind}; default: all but the keys.",
    )
    suffix: str = Field(
        "_right", min_length=1, description="What is put behind a name of the right side that the left has, too."
    )

    @model_validator(mode="after")
    def _fitting(self) -> JoinConfig:
        asof = self.how == "asof"
        if not asof and not self.keys:
            raise ValueError("keys: name the columns in which the rows of both sides are equal")
        if asof != (self.at is not None):
            raise ValueError(
                "at: name the column in which the nearest row is meant" if asof else "at goes with how: asof"
            )
        if not asof and ("direction" in self.model_fields_set or self.within is not None):
            raise ValueError("direction and within go with how: asof")
        if self.how in ("semi", "anti") and self.take is not None:
            raise ValueError(f"how: {self.how} yields nothing of the right side: leave take out")
        return self

    @property
    def pairs(self) -> dict[str, str]:
        """The keys: columns of the right side by those of the left."""
        return self.keys if isinstance(self.keys, dict) else {k: k for k in self.keys}

    @property
    def near(self) -> tuple[str, str] | None:
        """The columns of both sides in which the nearest row is meant."""
        if self.at is None or isinstance(self.at, str):
            return None if self.at is None else (self.at, self.at)
        if len(self.at) != 1:
            raise WorkflowError("at: name one column of each side", hint="such as at: {ordered_at: changed_at}")
        return next(iter(self.at.items()))


@dataclass(frozen=True, slots=True)
class JoinPlan:
    """A join of two schemas. `right` are the columns of the right side that it needs, `output` those that come out."""

    config: JoinConfig
    left: Schema
    right: Schema
    output: Schema
    taken: tuple[str, ...]

    def sql(self, *, swapped: bool = False) -> str:
        """Return the statement over `l` and `r`, whose columns are l0, l1 and r0, r1; `swapped` builds on the left."""
        how, config = self.config.how, self.config
        on = [f"{self._of(LEFT, a)} = {self._of(RIGHT, b)}" for a, b in config.pairs.items()]
        source = RIGHT
        if config.near is not None:
            on.append(self._nearest())
            there = self._of(RIGHT, config.near[1], bare=True)
            source = f"(select * from {RIGHT} where {there} is not null) as {RIGHT}"  # noqa: S608 - ours
        word = {"asof": "asof left"}.get(how, how)
        sides = f"{RIGHT} join {LEFT}" if swapped and how == "inner" else f"{LEFT} {word} join {source}"
        columns = ", ".join(f"{value} as c{n}" for n, value in enumerate(self._values()))
        return f"select {columns} from {sides} on {' and '.join(on)}"  # noqa: S608 - names and words of ours

    def reads(self, wanted: AbstractSet[str] | None) -> list[AbstractSet[str] | None]:
        """Return what is looked at of both sides, where only `wanted` of the output is; None: all columns."""
        if wanted is None:
            return [None, {*self.right.names}]
        config, near = self.config, self.config.near or ()
        mine, other = {*config.pairs, *near[:1]}, {*config.pairs.values(), *near[1:]}
        names = {n.lower(): n for n in self.left.names}
        made = _taken(config, self.right)
        for told, (name, origin) in zip(self.output.names[len(self.left.names) :], made.items(), strict=True):
            if told in wanted or config.take is not None:
                other.add(origin)
                mine |= {names[name.lower()]} if name.lower() in names else set()
        return [mine | {n for n in self.left.names if n in wanted}, other]

    def _values(self) -> Iterator[str]:
        pairs = self.config.pairs
        for column in self.left:
            mine = self._of(LEFT, column.name)
            both = self.config.how in ("right", "full") and column.name in pairs
            yield f"coalesce({mine}, {self._of(RIGHT, pairs[column.name])})" if both else mine
        valid = self._valid()
        for name in self.taken:
            value = self._of(RIGHT, name)
            yield f"case when {valid} then {value} end" if valid else value

    def _nearest(self) -> str:
        """Return the condition of an as-of join; of several that are equally near, the order of arrival decides.

        Backward the last one that came, forward the first.
        """
        assert self.config.near is not None
        mine, other = self._of(LEFT, self.config.near[0]), self._of(RIGHT, self.config.near[1])
        if self.config.direction == "backward":
            return f"row({mine}, {_LAST}) >= row({other}, {RIGHT}.{NUMBER})"
        return f"row({mine}, -1) <= row({other}, {RIGHT}.{NUMBER})"

    def _valid(self) -> str:
        """Return when what an as-of join found is a partner."""
        if self.config.near is None:
            return ""
        mine, other = self._of(LEFT, self.config.near[0]), self._of(RIGHT, self.config.near[1])
        if self.config.within is None:
            return f"{mine} is not null"
        far = f"abs(epoch_us(cast({mine} as timestamp)) - epoch_us(cast({other} as timestamp)))"
        return f"{mine} is not null and {far} <= {round(self.config.within * 1_000_000)}"

    def _of(self, side: str, name: str, *, bare: bool = False) -> str:
        place = (self.left if side == LEFT else self.right).names.index(name)
        return f"{side}{place}" if bare else f"{side}.{side}{place}"


def join_plan(config: JoinConfig, inputs: Sequence[Schema]) -> JoinPlan:
    """Check a join against its inputs; raise WorkflowError."""
    if len(inputs) != 2:  # noqa: PLR2004 - left and right
        raise WorkflowError(
            f"a join has two inputs, left and right, not {len(inputs)}",
            hint="such as inputs: [orders, customers]; a node that is joined with itself needs a mapping between",
        )
    left, right = inputs
    known(config.pairs, left.names, "keys, left side")
    known(config.pairs.values(), right.names, "keys, right side")
    for mine, other in config.pairs.items():
        _comparable(left[mine], right[other], "keys")
    near = config.near
    if near is not None:
        known(near[:1], left.names, "at, left side")
        known(near[1:], right.names, "at, right side")
        _comparable(left[near[0]], right[near[1]], "at")
        if config.within is not None and left[near[0]].type not in _TIMES:
            raise WorkflowError(f"within: {near[0]!r} is {left[near[0]].type}", hint="it goes with a time")
    taken = _taken(config, right)
    needed = [*config.pairs.values(), *(near[1:] if near is not None else ()), *taken.values()]
    output = _output(config, left, right, taken)
    return JoinPlan(config, left, right.select(dict.fromkeys(needed)), output, tuple(taken.values()))


def _comparable(left: Column, right: Column, setting: str) -> None:
    """Refuse columns of different types: their values would be equal in ways that nobody foresees."""
    if left.type == right.type or _wider(left.type, right.type) is not None:
        return
    raise WorkflowError(
        f"{setting}: {left.name!r} is {left.type} and {right.name!r} is {right.type}",
        hint=f'cast one of them in a mapping before: {{set: {{{right.name}: "cast({right.name} as ...)"}}}}',
    )


def _wider(one: str, other: str) -> str | None:
    """Return the wider of two integer types of one kind."""
    found = _INTEGER.fullmatch(one), _INTEGER.fullmatch(other)
    if found[0] is None or found[1] is None or found[0][1] != found[1][1]:
        return None
    return max(one, other, key=lambda t: int(t.rpartition("t")[2]))


def _taken(config: JoinConfig, right: Schema) -> dict[str, str]:
    """Return the columns of the right side that come out, by the names that are meant for them."""
    if config.how in ("semi", "anti"):
        return {}
    if config.take is None:
        return {n: n for n in right.names if n not in config.pairs.values()}
    taken = config.take if isinstance(config.take, dict) else {n: n for n in config.take}
    known(taken.values(), right.names, "take")
    return taken


def _output(config: JoinConfig, left: Schema, right: Schema, taken: dict[str, str]) -> Schema:
    nullable = _NULLABLE.get(config.how, (False, False))
    columns = [_left_column(c, config, right, nullable[0]) for c in left]
    used = {c.name.lower() for c in left}
    for name, origin in taken.items():
        told = f"{name}{config.suffix}" if name.lower() in used else name
        if told.lower() in used:
            raise WorkflowError(f"two columns would be called {told!r}", hint="give one another name: take: {new: old}")
        used.add(told.lower())
        column = right[origin]
        columns.append(replace(column, name=told, nullable=column.nullable or nullable[1]))
    return Schema(tuple(columns))


def _left_column(column: Column, config: JoinConfig, right: Schema, nullable: bool) -> Column:  # noqa: FBT001
    """Return a column of the left side; a key also stands for that of the right side."""
    other = config.pairs.get(column.name)
    if other is None:
        return replace(column, nullable=column.nullable or nullable)
    key = right[other]
    if config.how in ("left", "semi", "anti", "asof"):
        return column.marked([*column.marks, *key.marks])
    found = {"inner": False, "right": key.nullable, "full": column.nullable or key.nullable}[config.how]
    wide = _wider(column.type, key.type) if config.how in ("right", "full") else None
    return replace(column, type=wide or column.type, nullable=found).marked([*column.marks, *key.marks])


__all__ = ["LEFT", "RIGHT", "JoinConfig", "JoinPlan", "join_plan"]
