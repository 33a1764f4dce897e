"""The settings of `enrichment`: where rows are looked up, by which keys, what is taken, and what a miss means."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from dataflare.component import Config, Duration, Field, Size
from dataflare.expression.setting import Sql  # noqa: TC001 - pydantic reads it


class LookupRetry(Config):
    """How often a lookup that does not answer is asked again before the node's `on_error` decides."""

    attempts: int = Field(5, ge=1, le=100, description="How often it is asked in all.")
    initial: Duration = Field(0.2, ge=0, description="The time before the second try; it doubles from try to try.")
    max: Duration = Field(5.0, ge=0, le=30, description="The longest time between two tries.")


class EnrichmentConfig(Config):
    """Where rows are looked up, and what becomes of what is found."""

    keys: dict[str, str] = Field(
        min_length=1,
        description="Columns of the rows by the columns of the lookup that they equal: {customer_id: id}; a dotted "
        "path leads into a struct. A null equals nothing.",
    )
    take: list[str] | dict[str, Sql] = Field(
        [], description="Columns of the lookup, or new names and expressions over it; default: all but the keys."
    )
    prefix: str = Field("", description="What the names of the taken columns begin with.")
    into: str = Field("", description="Put what is taken into one struct of this name or dotted path, instead.")
    matched: str = Field("", description="The name of a column that tells whether a row was found.")
    rows: list[dict[str, Any]] | None = Field(None, description="The rows of the lookup themselves.")
    origin: dict[str, Any] | None = Field(
        None,
        alias="from",
        description="A lookup outside of the workflow: its `type` (file, sqlite, postgres, http ...) and its settings.",
    )
    columns: dict[str, str] | None = Field(None, description="Types of the columns of `rows`; default: guessed.")
    tags: dict[str, str | list[str]] = Field(
        {}, description="What columns of `rows` or `from` hold, such as {email: pii.email}."
    )
    miss: Literal["keep", "drop", "fail", "default", "dead_letter"] = Field(
        "keep",
        description="What becomes of a row for which nothing is found: it gets nulls, or `defaults`, is left out, "
        "fails the run, or is a dead letter.",
    )
    defaults: dict[str, Any] = Field({}, description="For `miss: default`: values by taken column; others are null.")
    multiple: Literal["error", "first", "last", "all"] = Field(
        "error",
        description="What a key means that several rows of the lookup have: a failure, its first or last row, or a row "
        "for each.",
    )
    wait: bool = Field(
        default=True,
        description="Wait until all rows of the node `lookup` are there; false, for one that never ends: rows are "
        "looked up in what has come so far, and the newest row of a key counts.",
    )
    cache: Literal["keys", "all"] = Field(
        "keys", description="Whether a database is asked for the keys that come, or once for all of its rows."
    )
    cache_bytes: Size | None = Field(
        None, description="Memory for rows of the lookup, in each task; default: half of what the task may use."
    )
    refresh: Duration | None = Field(
        None, gt=0, description="How long what was read holds, before it is read again; default: as long as it runs."
    )
    stale: Duration = Field(
        0.0, ge=0, description="How much longer it holds while the lookup does not answer; needs `refresh`."
    )
    retry: LookupRetry = Field(LookupRetry(), description="How often a lookup that does not answer is asked again.")

    @model_validator(mode="after")
    def _one_side(self) -> EnrichmentConfig:
        if self.rows is not None and self.origin is not None:
            raise ValueError("give rows or from, not both")
        if self.origin is not None and not isinstance(self.origin.get("type"), str):
            raise ValueError("from needs a type, such as {type: sqlite, path: shop.db, table: customers}")
        if self.defaults and self.miss != "default":
            raise ValueError("defaults needs miss: default")
        if self.into and (self.prefix or self.defaults):
            raise ValueError("into goes with neither prefix nor defaults")
        if self.stale and self.refresh is None:
            raise ValueError("stale needs refresh: without it nothing is read again")
        if self.columns is not None and self.rows is None:
            raise ValueError("columns are those of rows")
        return self


__all__ = ["EnrichmentConfig", "LookupRetry"]
