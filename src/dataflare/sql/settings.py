"""The settings that every SQL destination has."""

from __future__ import annotations

from typing import Literal

from dataflare.changes import BEFORE, COMMIT_TS, OP, TX, UNCHANGED
from dataflare.component import Config, Field


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


__all__ = ["ChangeColumns", "HistoryColumns", "SqlDestinationConfig"]
