"""The rules of `validate`: what is written, the condition that it means, and what is said of a row that fails it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from dataflare.component import Config, Field
from dataflare.component.settings import Rate  # noqa: TC001 - pydantic reads it
from dataflare.expression.session import quoted
from dataflare.expression.setting import Sql  # noqa: TC001 - pydantic reads it
from dataflare.processors.columns import Names  # noqa: TC001 - pydantic reads it
from dataflare.sql.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
Severity = Literal["error", "warn", "fail"]
Scalar = bool | int | float | str


class Rule(Config):
    """What must hold of each row; several tests in one rule must all hold. A null meets every test but `not_null`."""

    check: Sql | None = Field(None, description="An SQL condition. Where it is null the row meets it, as in a CHECK.")
    columns: Names = Field([], description="The column, or the columns, that the tests below look at.")
    not_null: bool = Field(default=False, description="None of the columns is null.")
    unique: bool = Field(
        default=False,
        description="No earlier row has the same values in the columns; one with a null is never a duplicate.",
    )
    within: int | None = Field(
        None, ge=1, description="How many rows back `unique` remembers, in one task; default: all rows."
    )
    min: Scalar | None = Field(None, description="No column is less.")
    max: Scalar | None = Field(None, description="No column is greater.")
    values: list[Scalar] | None = Field(None, min_length=1, description="Each column is one of these.")
    matches: str | None = Field(None, description="An RE2 pattern; it may match anywhere: write ^ and $ for all of it.")
    where: Sql | None = Field(None, description="Only rows that meet this condition are judged.")
    severity: Severity = Field(
        "error", description="error: the row follows on_error; warn: it goes on; fail: the run ends at once."
    )
    rate_max: Rate | None = Field(
        None, description="The share of judged rows, such as 1%, that may fail it by the end of a bounded input."
    )
    message: str = Field("", description="What is said of a row that fails it; default: what the rule asks for.")

    @model_validator(mode="after")
    def _tests_something(self) -> Rule:
        tests = (self.not_null, self.unique, *(t is not None for t in (self.min, self.max, self.values, self.matches)))
        if any(tests) != bool(self.columns):
            raise ValueError("columns go with not_null, unique, min, max, values or matches")
        if not any(tests) and self.check is None:
            raise ValueError("write a check, or columns and a test of them")
        if self.within is not None and not self.unique:
            raise ValueError("within goes with unique")
        return self

    def condition(self) -> str:
        """Return the SQL that is true of rows that meet it, uniqueness aside; null where it cannot be evaluated."""
        tests = [*self._tests()]
        test = " and ".join(f"coalesce({t}, true)" for t in tests) or "true"
        return f"case when (\n{self.where}\n) then {test} else true end" if self.where is not None else test

    def _tests(self) -> Iterator[str]:
        if self.check is not None:
            yield f"(\n{self.check}\n)"
        for name in self.columns:
            column = quoted(name)
            if self.not_null:
                yield f"({column} is not null)"
            if self.min is not None:
                yield f"({column} >= {_written(self.min)})"
            if self.max is not None:
                yield f"({column} <= {_written(self.max)})"
            if self.values is not None:
                yield f"({column} in ({', '.join(map(_written, self.values))}))"
            if self.matches is not None:
                yield f"regexp_matches({column}, {literal(self.matches)})"

    def told(self) -> str:
        """Return what a row must be, without any value of one."""
        if self.message:
            return self.message
        names = ", ".join(self.columns)
        asked = [f"not {self.check}"] if self.check is not None else []
        asked += [f"{names} is null"] if self.not_null else []
        asked += [f"{names} is less than {self.min}"] if self.min is not None else []
        asked += [f"{names} is greater than {self.max}"] if self.max is not None else []
        asked += [f"{names} is none of the accepted values"] if self.values is not None else []
        asked += [f"{names} does not match {self.matches}"] if self.matches is not None else []
        asked += [f"{names} was there before"] if self.unique else []
        return " or ".join(asked)


class Bounds(Config):
    """How many rows there must be in the end."""

    min: int | None = Field(None, ge=0, description="The fewest.")
    max: int | None = Field(None, ge=0, description="The most.")

    @model_validator(mode="after")
    def _in_order(self) -> Bounds:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is greater than max")
        return self

    def problem(self, rows: int) -> str:
        """Return what is wrong with so many rows, or ""."""
        if self.min is not None and rows < self.min:
            return f"fewer than {self.min:,}"
        return f"more than {self.max:,}" if self.max is not None and rows > self.max else ""


class Expectations(Config):
    """What must hold of all rows by the end of a bounded input; else the run fails before its last epoch."""

    rows: Bounds | None = Field(None, description="How many rows came in: {min: 1}.")
    passed: Bounds | None = Field(None, description="How many rows went on.")
    rejected_max: Rate | None = Field(None, description="The share of rows, such as 1%, that may have been rejected.")


class ValidateConfig(Config):
    """The rules by name, and what is expected of all rows."""

    rules: dict[str, Rule] = Field({}, description="Names of rules and what they ask for.")
    expect: Expectations = Field(Expectations(), description="What must hold of all rows in the end.")
    warnings: str = Field(
        "", description="A column for the names of the `warn` rules that a row fails, with commas; empty: none."
    )

    @model_validator(mode="after")
    def _asks_for_something(self) -> ValidateConfig:
        if not self.rules and self.expect == Expectations():
            raise ValueError("write rules, or what to expect")
        for name in self.rules:
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a rule: write letters, digits, _ and -")
        if sum(rule.unique for rule in self.rules.values()) > 1:
            raise ValueError("one rule of a node may be unique: write the second one in a node behind")
        return self

    @property
    def unique(self) -> tuple[str, Rule] | None:
        """The rule that asks for unique rows, and its name."""
        return next(((n, r) for n, r in self.rules.items() if r.unique), None)


def _written(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return literal(value) if isinstance(value, str) else repr(value)


def broken(config: ValidateConfig, totals: Mapping[str, int]) -> Sequence[str]:
    """Return what does not hold of the counts of a node over a whole run."""
    came, out = totals.get("in", 0), totals.get("out", 0)
    expect, found = config.expect, []
    for what, rows, bounds in (("came in", came, expect.rows), ("passed", out, expect.passed)):
        if bounds is not None and (problem := bounds.problem(rows)):
            found.append(f"{rows:,} rows {what}, {problem}")
    rejected = totals.get("dead", 0) + totals.get("skipped", 0)
    shares = [(rejected, "were rejected", expect.rejected_max)]
    shares += [(totals.get(f"rule.{n}", 0), f"fail the rule {n!r}", r.rate_max) for n, r in config.rules.items()]
    for rows, what, most in shares:
        if most is not None and rows > most * came:
            found.append(f"{rows:,} of {came:,} rows {what}, more than {most:.2%}")
    return found


__all__ = ["Expectations", "Rule", "ValidateConfig", "broken"]
