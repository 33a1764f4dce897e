"""The settings of the generator: columns by kind, pace, partitions, and faults to rehearse."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal, get_args

from pydantic import ConfigDict, field_validator, model_validator

from dataflare.component import Config, Duration, Field

Kind = Literal["sequence", "int", "float", "bool", "choice", "string", "uuid", "timestamp"]

TYPES: dict[str, str] = {
    "sequence": "int64",
    "int": "int64",
    "float": "float64",
    "bool": "bool",
    "string": "string",
    "uuid": "string",
    "timestamp": "timestamp",
}


def microseconds(text: str) -> int:
    """Return a moment in microseconds since 1970; without a zone it is UTC."""
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)


class ColumnConfig(Config):
    """One made-up column."""

    model_config = ConfigDict(json_schema_extra={"x-short": [{"enum": list(get_args(Kind))}, "array"]})

    kind: Kind = Field(description="sequence, int, float, bool, choice, string, uuid or timestamp.")
    start: int | str = Field(0, description="sequence: first number. timestamp: first moment.")
    step: int = Field(1, description="sequence: distance.")
    every: Duration = Field(1.0, description="timestamp: time from row to row.")
    min: float | None = Field(None, description="int, float, string: least number.")
    max: float | None = Field(None, description="int, float, string: greatest number.")
    decimals: int | None = Field(None, ge=0, le=15, description="float: rounded to so many digits.")
    values: list[Any] = Field([], description="choice: what to choose from.")
    prefix: str = Field("", description="string: before the number.")
    null_rate: float = Field(0.0, ge=0, le=1, description="Share of nulls.")

    @model_validator(mode="before")
    @classmethod
    def _one_word(cls, value: Any) -> Any:
        """Let a word stand for a kind, and a list for a choice."""
        if isinstance(value, str):
            return {"kind": value}
        return {"kind": "choice", "values": value} if isinstance(value, list) else value

    @model_validator(mode="after")
    def _possible(self) -> ColumnConfig:
        if self.kind == "choice" and not self.values:
            raise ValueError("choice needs values")
        if self.kind == "timestamp":
            self.begin_microseconds()
        elif not isinstance(self.start, int):
            raise ValueError("start is a number here")
        if self.low(0) > self.high(self.low(0)):
            raise ValueError("min is above max")
        return self

    def low(self, default: float) -> float:
        """Return the least number."""
        return default if self.min is None else self.min

    def high(self, default: float) -> float:
        """Return the greatest number."""
        return default if self.max is None else self.max

    def begin_microseconds(self) -> int:
        """Return the first moment in microseconds since 1970."""
        return self.start if isinstance(self.start, int) else microseconds(self.start)

    def type(self) -> str:
        """Return the type text of the column."""
        if self.kind != "choice":
            return TYPES[self.kind]
        kinds = {type(v) for v in self.values}
        if kinds <= {int, float} and float in kinds:
            return "float64"
        return {bool: "bool", int: "int64"}.get(kinds.pop(), "string") if len(kinds) == 1 else "string"


class FaultConfig(Config):
    """Something that goes wrong on purpose, before a row."""

    at_row: int = Field(ge=0, description="The number of the row (over all partitions).")
    kind: Literal["error", "abort", "delay"] = Field(
        description="error: fails once a process, may be tried again. abort: the process dies, in the first attempt. "
        "delay: waits."
    )
    seconds: Duration = Field(1.0, description="delay: how long.")


PRESET: dict[str, Any] = {
    "id": "sequence",
    "ts": {"kind": "timestamp", "start": "2026-01-01T00:00:00+00:00"},
    "user_id": {"kind": "int", "min": 1, "max": 1000},
    "status": ["new", "paid", "shipped", "returned"],
    "amount": {"kind": "float", "min": 1, "max": 500, "decimals": 2},
}


class GeneratorConfig(Config):
    """Settings of the generator source."""

    rows: int | None = Field(1000, ge=0, description="Rows in all; null: without end.")
    rate: float | None = Field(
        None, gt=0, description="Rows a second, over all partitions; default: as fast as it goes."
    )
    begin: str | None = Field(
        None,
        description="With rate: the moment from which rows come, such as 2026-01-01T00:00:00Z; those that are due are "
        "there at once. Default: when a task begins to read.",
    )
    columns: dict[str, ColumnConfig] = Field(
        default_factory=lambda: {n: ColumnConfig.model_validate(v) for n, v in PRESET.items()},
        description="Columns by name: a kind, a list of values to choose from, or the settings below.",
    )
    partitions: int = Field(1, ge=1, description="Splits that tasks read side by side.")
    seed: int = Field(0, ge=0, description="Same seed, same rows.")
    batch_rows: int = Field(1 << 16, ge=1, description="Rows in a batch at most.")
    faults: list[FaultConfig] = Field([], description="What goes wrong, and before which row.")

    @field_validator("columns")
    @classmethod
    def _some(cls, value: dict[str, ColumnConfig]) -> dict[str, ColumnConfig]:
        if not value:
            raise ValueError("give at least one column")
        return value

    @model_validator(mode="after")
    def _paced(self) -> GeneratorConfig:
        if self.begin is not None:
            if self.rate is None:
                raise ValueError("begin needs a rate")
            microseconds(self.begin)
        return self
