"""The settings that every SQL source has, and every SQL destination."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import model_validator

from dataflare.changes import BEFORE, COMMIT_TS, OP, TX, UNCHANGED
from dataflare.component import Config, Field
from dataflare.schema import canonical
from dataflare.sql.incremental import Incremental  # noqa: TC001 - pydantic


class SqlSourceConfig(Config):
    """Settings that every SQL source has."""

    table: str = Field("", description="The table or view to read.")
    tables: list[str] = Field([], description="Several of them; each is an output of its name.")
    query: str = Field("", description="A SELECT to read instead of tables.")
    key: list[str] = Field(
        [], description="Columns that tell rows apart where no primary key does; rows are read in their order."
    )
    types: dict[str, str] = Field({}, description="Types by column, where those of the database do not serve.")
    split_rows: int = Field(500_000, ge=1, description="About how many rows one task reads at a time.")
    columns: dict[str, str] | None = Field(
        None, description="Columns to read, with their types; default: all, with the types of the database."
    )
    incremental: Incremental | None = Field(None, description="For `mode: incremental`: how new rows are found.")

    @model_validator(mode="before")
    @classmethod
    def _one_way(cls, value: Any) -> Any:
        if isinstance(value, dict) and sum(bool(value.get(k)) for k in ("table", "tables", "query")) != 1:
            raise ValueError("name a table, tables or a query, and only one of the three")
        return value

    @model_validator(mode="after")
    def _of_one_table(self) -> Self:
        if self.columns is not None and (self.tables or self.types):
            raise ValueError("columns are those of one table, and say the types too: leave out tables and types")
        return self

    def told_types(self) -> dict[str, str]:
        """Return the types by column that the settings say."""
        return {name: canonical(kind) for name, kind in (self.columns or self.types).items()}


class ChangeColumns(Config):
    """The columns of the table that keep what changes say besides their values; those not named are not kept."""

    op: str = Field("", description="What happened: read, insert, update, delete or truncate.")
    commit_ts: str = Field("", description="When it was committed at the source.")
    tx: str = Field("", description="Where in the source's log; a merge then leaves out what is older than the row.")
    unchanged: str = Field("", description="append: the columns whose values the source left out.")
    before: str = Field("", description="append: the row before the change.")

    def named(self) -> dict[str, str]:
        """Return the columns of the table by reserved column, those that are named."""
        told = {OP: self.op, COMMIT_TS: self.commit_ts, TX: self.tx, UNCHANGED: self.unchanged, BEFORE: self.before}
        return {reserved: name for reserved, name in told.items() if name}


class HistoryColumns(Config):
    """The columns of the table that tell when a version of a row was the current one."""

    valid_from: str = Field("valid_from", min_length=1, description="Since when.")
    valid_to: str = Field("valid_to", min_length=1, description="Till when; null: it is the current one.")
    is_current: str = Field("is_current", min_length=1, description="Whether it is the current one.")
    at: str = Field("", description="A column of the rows that tells since when; default: when they came.")


class SqlDestinationConfig(Config):
    """What becomes of the table and of changes."""

    create: bool = Field(default=True, description="Make the table if it is not there.")
    new_columns: Literal["add", "error"] = Field("add", description="What becomes of columns that the table lacks.")
    changes: ChangeColumns = Field(ChangeColumns(), description="Columns for what changes say besides their values.")
    deletes: Literal["hard", "soft", "ignore"] = Field(
        "hard", description="What a deleted row becomes in a merge: nothing, a row that is marked, what it was."
    )
    deleted_at: str = Field(
        "_deleted_at", min_length=1, description="deletes: soft: the column that tells when; null: it is there."
    )
    history: HistoryColumns = Field(HistoryColumns(), description="scd2: the columns of versions.")
    replaces: Literal["run", "epoch"] = Field(
        "run", description="delete_insert: rows of a key are replaced at the end of the run, or by those of each epoch."
    )


__all__ = ["ChangeColumns", "HistoryColumns", "SqlDestinationConfig", "SqlSourceConfig"]
