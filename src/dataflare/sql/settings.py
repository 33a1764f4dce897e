"""The settings that every SQL source has, and every SQL destination."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import PrivateAttr, model_validator

from dataflare.changes import BEFORE, COMMIT_TS, OP, TX, UNCHANGED
from dataflare.component import Config, Field
from dataflare.schema import canonical
from dataflare.sql.incremental import Incremental  # noqa: TC001 - pydantic
from dataflare.sql.patterns import is_pattern
from dataflare.sql.quoting import split_name

if TYPE_CHECKING:
    from collections.abc import Callable


class SqlSourceConfig(Config):
    """Settings that every SQL source has."""

    table: str = Field("", description="The table or view to read.")
    tables: list[str] = Field(
        [],
        description="Several of them; each is an output of its name. `public.*` names all that are called so, and "
        "`!public.audit_*` leaves some of them out; what becomes of tables that come later, `schema: {contract: "
        "{tables: ...}}` says.",
    )
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
    dotted: ClassVar[bool] = True
    _patterns: list[str] = PrivateAttr([])

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
        if self.tables and all(t.startswith("!") for t in self.tables):
            raise ValueError("tables: name some before others are left out, such as public.*")
        return self

    @property
    def by_pattern(self) -> bool:
        """Whether tables are named by what they are called."""
        return bool(self._patterns) or any(map(is_pattern, self.tables))

    def names(self, table: str) -> bool:
        """Tell whether the settings name a table as it is called, of settings that `found` returned."""
        return table in self._patterns

    def found(self, names: list[str]) -> Self:
        """Return the settings with these tables in the place of patterns."""
        found = self.model_copy(update={"tables": names})
        found._patterns = self._patterns or list(self.tables)  # noqa: SLF001 - of its kind
        return found

    def found_again(self, matching: Callable[[list[str]], list[str]]) -> Self:
        """Return the settings with the tables that there are by now, of settings that `found` returned."""
        return self.found(matching(self._patterns))

    def outputs(self) -> dict[str, str]:
        """Return the tables to read by output: several have outputs of their names, without schemas where clear.

        The name of an output is the same whatever other tables a pattern finds.
        """
        if self.table:
            return {"": self.table}
        if not self.dotted:
            return {name: name for name in self.tables}
        several = len({split_name(t)[0] for t in self._patterns if not t.startswith("!")}) > 1
        short = [split_name(t)[1] for t in self.tables]
        return {s if short.count(s) == 1 and not several else t: t for s, t in zip(short, self.tables, strict=True)}

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
