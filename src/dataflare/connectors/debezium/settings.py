"""The settings of the Debezium source, and the properties that the engine is given."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from pydantic import field_validator

from dataflare.component import Config, Duration, Field, Size
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Mapping

Connector = Literal["postgresql", "mysql", "sqlserver", "oracle", "db2"]
CLASSES: Mapping[str, str] = {
    "postgresql": "io.debezium.connector.postgresql.PostgresConnector",
    "mysql": "io.debezium.connector.mysql.MySqlConnector",
    "sqlserver": "io.debezium.connector.sqlserver.SqlServerConnector",
    "oracle": "io.debezium.connector.oracle.OracleConnector",
    "db2": "io.debezium.connector.db2.Db2Connector",
}
DATABASE = {"sqlserver": "database.names", "postgresql": "database.dbname", "oracle": "database.dbname"}
PLACEHOLDER = "__dataflare-unchanged-4f1b7c9e"
"""Stands where a long value was not sent; no value of a table may be this text."""
NAME = "dataflare"
FORMS: Mapping[str, str] = {
    "name": NAME,
    "topic.prefix": NAME,
    "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
    "offset.storage.file.filename": "offsets",
    "offset.flush.interval.ms": "0",
    "schema.history.internal": "io.debezium.storage.file.history.FileSchemaHistory",
    "schema.history.internal.file.filename": "history",
    "provide.transaction.metadata": "true",
    "tombstones.on.delete": "false",
    "skipped.operations": "none",
    "decimal.handling.mode": "string",
    "binary.handling.mode": "hex",
    "unavailable.value.placeholder": PLACEHOLDER,
}
"""What the rows of ours, and where they go on, are made of: no other value would do."""
_SECRET = re.compile(r"password|secret|token|credential|passphrase|\.key$", re.IGNORECASE)


class DebeziumTable(Config):
    """A table whose changes are followed."""

    columns: dict[str, str] = Field(min_length=1, description="The wanted columns with their types.")
    key: list[str] = Field(min_length=1, description="The columns that tell rows apart: those of its primary key.")

    @field_validator("columns")
    @classmethod
    def _types(cls, value: dict[str, str]) -> dict[str, str]:
        Schema.of(value)
        return value


class DebeziumConfig(Config):
    """Settings of the Debezium source."""

    connector: Connector = Field(description="Which connector of Debezium reads the database.")
    host: str = Field("localhost", description="The server.")
    port: int | None = Field(None, ge=1, le=65535, description="Its port; default: the usual one of the database.")
    user: str = Field("", description="The user.")
    password: str = Field("", description="The password; better a secret reference.", repr=False)
    database: str = Field("", description="The database; of mysql none.")
    tables: dict[str, DebeziumTable] = Field(
        min_length=1, description="The tables by name, as Debezium names them: schema.table, of mysql database.table."
    )
    unchanged: bool | None = Field(
        None,
        description="Whether long values may be left out of updates; default: of postgresql and oracle they may. "
        "Say false where the log has whole rows.",
    )
    before: bool = Field(default=False, description="Add `_before`, the former row, where the log has it whole.")
    truncate: Literal["fail", "skip", "apply"] = Field(
        "fail", description="What becomes of TRUNCATE, where the log tells it; apply sends a row of that `_op`."
    )
    slot_name: str = Field(
        "", pattern="^([a-z0-9_]{1,63})?$", description="Of postgresql: the slot; default: of workflow and node."
    )
    heartbeat: Duration = Field(
        10.0, gt=0, description="How often the place in the log moves on while nothing changes."
    )
    memory: Size = Field(512 << 20, ge=128 << 20, description="The heap of the Java machine.")
    properties: dict[str, str] = Field(
        {}, description="More properties of Debezium's connector, as its documentation names them.", repr=False
    )

    @field_validator("properties")
    @classmethod
    def _ours(cls, value: dict[str, str]) -> dict[str, str]:
        taken = sorted(value.keys() & FORMS.keys())
        if taken:
            raise ValueError(f"{taken[0]} is set by the source: leave it out")
        return value

    def outputs(self) -> dict[str, str]:
        """Return the tables by output: one has the output without a name, several have those of their own."""
        if len(self.tables) == 1:
            return {"": next(iter(self.tables))}
        short = [t.rpartition(".")[2] for t in self.tables]
        return {s if short.count(s) == 1 else t: t for s, t in zip(short, self.tables, strict=True)}

    def may_leave_out(self) -> bool:
        """Tell whether values may be left out as unchanged."""
        return self.connector in ("postgresql", "oracle") if self.unchanged is None else self.unchanged

    def secrets(self) -> list[str]:
        """Return what must not be told."""
        return [self.password, *(v for k, v in self.properties.items() if _SECRET.search(k))]

    def engine(self, slot: str, mode: str) -> dict[str, str]:
        """Return the properties of the engine, for it alone: the password is among them."""
        listed = ",".join(re.escape(t) for t in self.tables)
        told = {
            "connector.class": CLASSES[self.connector],
            "database.hostname": self.host,
            "database.port": str(self.port or ""),
            "database.user": self.user,
            "database.password": self.password,
            DATABASE.get(self.connector, "database.dbname"): self.database,
            "table.include.list": listed,
            "snapshot.mode": "initial" if mode == "hybrid" else "no_data",
            "heartbeat.interval.ms": str(max(1, round(self.heartbeat * 1000))),
            "poll.interval.ms": "50",
            "max.queue.size.in.bytes": str(64 << 20),
            "schema.history.internal.store.only.captured.tables.ddl": "true",
            "message.key.columns": ";".join(f"{re.escape(n)}:{','.join(t.key)}" for n, t in self.tables.items()),
        }
        if self.connector == "postgresql":
            told |= {
                "plugin.name": "pgoutput",
                "slot.name": slot,
                "publication.name": slot,
                "publication.autocreate.mode": "filtered",
            }
        return {**{k: v for k, v in told.items() if v}, **self.properties, **FORMS}


__all__ = ["NAME", "PLACEHOLDER", "Connector", "DebeziumConfig", "DebeziumTable"]
