"""The settings of the PostgreSQL connectors, and the address that they make."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from dataflare.component import Config, Duration, Field, Size
from dataflare.security.secrets import Secret, scrub
from dataflare.sql.lookup import SqlLookupConfig
from dataflare.sql.patience import PATIENCE
from dataflare.sql.settings import SqlDestinationConfig, SqlSourceConfig

_DEFAULTS = {name: str(value) for name, value in PATIENCE.items()}
_COPY_OPTIONS = {
    *("host", "port", "dbname", "user", "password", "passfile", "options", "application_name", "connect_timeout"),
    *("sslmode", "sslrootcert", "sslcert", "sslkey", "target_session_attrs", *_DEFAULTS),
}


class PostgresConfig(Config):
    """Where the database is, and who asks."""

    url: str = Field("", description="postgresql://user@host:port/database; other settings go before it.", repr=False)
    host: str = Field("", description="The server.")
    port: int | None = Field(None, ge=1, le=65535, description="Its port.")
    database: str = Field("", description="The database.")
    user: str = Field("", description="The user.")
    password: str = Field("", description="The password; better a secret reference.", repr=False)
    sslmode: Literal["", "disable", "prefer", "require", "verify-ca", "verify-full"] = Field(
        "", description="Whether to speak TLS; require means verify-full unless verify is false."
    )
    sslrootcert: str = Field("", description="The file of the authority that signed the server; default: the system's.")
    verify: bool = Field(default=True, description="Check the server's certificate and name.")
    connect_timeout: Duration = Field(10.0, gt=0, description="How long to wait for the server.")
    lock_timeout: Duration = Field(60.0, ge=0, description="How long to wait for others who hold locks; 0s: for ever.")

    def address(self, application: str) -> str:
        """Return the URL with all settings in it, for the driver alone: it holds the password.

        TLS that is asked for is verified: `sslmode=require` would take any certificate.
        """
        told = dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))
        mine: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": self.user,
            "password": self.password,
            "sslmode": self.sslmode,
            "sslrootcert": self.sslrootcert,
        }
        merged = {**_DEFAULTS, **told, **{k: str(v) for k, v in mine.items() if v}}
        merged.setdefault("connect_timeout", str(max(2, round(self.connect_timeout))))
        merged.setdefault("application_name", application)
        if self.verify and merged.get("sslmode") in ("require", "verify-ca"):
            merged["sslmode"] = "verify-full"
        if merged.get("sslmode") == "verify-full":
            merged.setdefault("sslrootcert", "system")
        begin = self.url.partition("?")[0] or "postgresql:///"
        return f"{begin}?{urlencode(merged, quote_via=quote)}"

    def copies(self) -> bool:
        """Tell whether the driver that copies bytes understands the whole address; the other one is libpq."""
        parts = urlsplit(self.url)
        plain = parts.scheme in ("", "postgresql", "postgres") and "," not in parts.netloc
        return plain and dict(parse_qsl(parts.query, keep_blank_values=True)).keys() <= _COPY_OPTIONS

    def scrubbed(self, text: str) -> str:
        """Return a text without the password."""
        told = urlsplit(self.url).password
        return scrub(text, [Secret(p) for p in (self.password, told or "") if p])

    def shown(self) -> str:
        """Return where the server is, for messages."""
        if not self.url:
            return f"{self.host or 'localhost'}{f':{self.port}' if self.port else ''}/{self.database}"
        parts = urlsplit(self.url)
        return f"{self.host or parts.netloc.rpartition('@')[2] or 'localhost'}/{self.database or parts.path.strip('/')}"


class ChangesConfig(Config):
    """How changes are followed, for `mode: cdc` and `mode: hybrid`."""

    slot_name: str = Field(
        "", pattern="^([a-z0-9_]{1,63})?$", description="The replication slot; default: made of workflow and node."
    )
    publication_name: str = Field("", description="The publication; default: the name of the slot.")
    create: bool = Field(default=True, description="Make publication and slot where they are not there.")
    heartbeat: Duration = Field(10.0, gt=0, description="How often the slot moves on while no table changes.")
    max_wal: Size | None = Field(None, description="How much log the server may keep for the slot before it is told.")
    beyond_max_wal: Literal["alert", "stop", "drop"] = Field(
        "alert", description="What is done then: tell it, end the run, or end the run and drop the slot."
    )
    messages: list[str] = Field(
        [], description="Prefixes of `pg_logical_emit_message` that come as rows of the output `messages`; `*` is any."
    )
    truncate: Literal["fail", "skip", "apply"] = Field(
        "fail", description="What becomes of TRUNCATE; apply sends a row of that `_op`."
    )
    before: bool = Field(
        default=False, description="Add `_before`, the former row, for tables with REPLICA IDENTITY FULL."
    )
    streaming: bool = Field(
        default=True,
        description="Take large transactions while they are open, and keep them on disk here until they commit; "
        "false: the server does.",
    )
    slot_wait: Duration = Field(75.0, ge=0, description="How long to wait for a slot that somebody else reads.")


class PostgresSourceConfig(SqlSourceConfig, PostgresConfig):
    """Settings of the PostgreSQL source."""

    table: str = Field("", description="The table or view to read, as schema.table.")
    fetch_rows: int = Field(250_000, ge=1, description="Rows that one statement reads at most.")
    cdc: ChangesConfig = Field(ChangesConfig(), description="For `mode: cdc` and `hybrid`: how changes are followed.")


class PostgresLookupConfig(SqlLookupConfig, PostgresConfig):
    """Settings of the PostgreSQL lookup."""

    table: str = Field("", description="The table or view to look in, as schema.table.")


class PostgresDestinationConfig(PostgresConfig, SqlDestinationConfig):
    """Settings of the PostgreSQL destination."""

    table: str = Field(description="The table to write, as schema.table.")
