"""The shape of a test of a workflow: rows in, what breaks on the way, rows expected."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from dataflare.component.settings import Config

Rows = list[dict[str, Any]]

CRASHES = ("reading", "prepared", "sealed", "committing", "committed")
"""The moments of an epoch at which a run can be cut off, in their order."""


def _short(value: Any) -> Any:
    """Let a list stand for rows, and a number for how many."""
    return {"rows": value} if isinstance(value, list) or (isinstance(value, int) and value is not True) else value


class GivenText(Config):
    """What a source output, a lookup or a node answers with."""

    model_config = ConfigDict(json_schema_extra={"x-short": ["array"]})

    rows: Rows = Field([], description="The rows.")
    columns: dict[str, str] = Field({}, description="Types of columns that the workflow does not tell.")

    _from_list = model_validator(mode="before")(_short)


class GenerateText(Config):
    """Rows that are made up, of the types that the plan has."""

    model_config = ConfigDict(json_schema_extra={"x-short": ["integer"]})

    rows: int = Field(ge=0, le=1_000_000, description="How many.")
    seed: int = Field(0, description="The same seed gives the same rows.")
    values: dict[str, list[Any]] = Field({}, description="What to choose from, by column.")
    nulls: float = Field(0.0, ge=0, le=1, description="The share of nulls in each column.")
    columns: dict[str, str] = Field({}, description="Types of columns that the workflow does not tell.")

    _from_number = model_validator(mode="before")(_short)


class ExpectText(Config):
    """What the rows of an output or a destination must be. Columns that a row does not name are not compared."""

    model_config = ConfigDict(json_schema_extra={"x-short": ["array", "integer"]})

    rows: Rows | int | None = Field(None, description="All rows, or how many there are.")
    ordered: bool = Field(default=False, description="The order of `rows` counts.")
    exact: bool = Field(default=False, description="`rows` name all columns.")
    contains: Rows = Field([], description="Rows that are there, among others.")
    lacks: Rows = Field([], description="Rows that are not there.")
    each: dict[str, Any] = Field({}, description="What holds for every row, by column.")
    empty: bool | None = Field(None, description="Whether there are no rows.")

    _from_list = model_validator(mode="before")(_short)


class ErrorsText(ExpectText):
    """What a node rejected: rows of its output `errors`. A text is part of a reason."""

    @model_validator(mode="before")
    @classmethod
    def _from_texts(cls, value: Any) -> Any:
        value = _short(value)
        if not isinstance(value, dict):
            return value
        return {k: _reasons(v) if k in ("rows", "contains", "lacks") else v for k, v in value.items()}


class FaultText(Config):
    """Something that breaks during the test; the rows must be the same all the same."""

    crash: Literal["reading", "prepared", "sealed", "committing", "committed", "every"] | None = Field(
        None,
        description="The process dies at this moment of an epoch and is started again; every: one run for each moment.",
    )
    epoch: int = Field(1, ge=1, le=100, description="crash: in which epoch.")
    fail: str | None = Field(None, description="The source or destination that fails.")
    at: Literal["open", "read", "write", "prepare", "commit"] | None = Field(
        None, description="fail: while it does what; default: read or write."
    )
    times: int = Field(1, ge=1, le=1000, description="fail: how often in a row.")
    after_rows: int = Field(0, ge=0, description="fail: not before so many rows went through it.")

    @model_validator(mode="after")
    def _one_of_both(self) -> FaultText:
        if (self.crash is None) == (self.fail is None):
            raise ValueError("give either crash or fail")
        return self


class ExampleText(Config):
    """One test of the workflow."""

    name: str = Field(min_length=1, description="What it shows.")
    given: dict[str, GivenText] = Field({}, description="Rows by source output; a source that is not named has none.")
    generate: dict[str, GenerateText] = Field({}, description="Made-up rows by source output.")
    mocks: dict[str, GivenText] = Field(
        {}, description="Answers by node: what it finds in its lookup, or what comes out of it."
    )
    now: str | None = Field(None, description="The time at which the test stands still, such as 2026-01-31T12:00:00Z.")
    secrets: dict[str, str] = Field({}, description="Secrets by store/key; others are made up.")
    expect: dict[str, ExpectText] = Field({}, description="Rows by node, node output or destination.")
    expect_errors: dict[str, ErrorsText] = Field({}, description="Rejected rows by node.")
    expect_failure: str | None = Field(None, description="The run fails, and this is part of the reason.")
    faults: list[FaultText] = Field([], description="What breaks on the way.")
    epochs: int | None = Field(None, ge=1, le=100, description="Into how many epochs the rows are cut; 3 with faults.")


class ExamplesText(Config):
    """A file of tests beside a workflow file."""

    workflow: str = Field("", description="The workflow file; default: the same name without `.test`.")
    tests: list[ExampleText] = Field(description="Rows in, rows expected.")


def _reasons(rows: Any) -> Any:
    """Return rows in which a text stands for part of a reason, and `reason` for the column `error`."""
    if not isinstance(rows, list):
        return rows
    return [{"error": {"contains": row}} if isinstance(row, str) else _renamed(row) for row in rows]


def _renamed(row: Any) -> Any:
    return {("error" if k == "reason" else k): v for k, v in row.items()} if isinstance(row, dict) else row


__all__ = [
    "CRASHES",
    "ErrorsText",
    "ExampleText",
    "ExamplesText",
    "ExpectText",
    "FaultText",
    "GenerateText",
    "GivenText",
    "Rows",
]
