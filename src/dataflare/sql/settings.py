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


class SqlDestinationConfig(Config):
    """What becomes of the table and of changes."""

    create: bool = Field(default=True, description="Make the table if it is not there.")
    new_columns: Literal["add", "error"] = Field("add", description="What becomes of columns that the table lacks.")
    changes: ChangeColumns = Field(ChangeColumns(), description="Columns for what changes say besides their values.")
    deletes: Literal["hard", "soft", "ignore"] = Field(
        "hard", description="What a deleted row becomes in a merge: nothing, a row that is marked, what it was."
    )
    deleted_at: str = Field("_deleted_at", description="deletes: soft: the column that tells when; null: it is there.")


__all__ = ["ChangeColumns", "SqlDestinationConfig"]
