"""The settings of the MariaDB connectors, and the address that they make."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from dataflare.component import Config, Duration, Field
from dataflare.errors import WorkflowError
from dataflare.security.secrets import Secret, scrub
from dataflare.sql.lookup import SqlLookupConfig
from dataflare.sql.settings import SqlDestinationConfig, SqlSourceConfig

PORT = 3306


class MariaConfig(Config):
    """Where the database is, and who asks."""

    url: str = Field("", description="mysql://user@host:port/database; other settings go before it.", repr=False)
    host: str = Field("", description="The server.")
    port: int | None = Field(None, ge=1, le=65535, description="Its port.")
    database: str = Field("", description="The database.")
    user: str = Field("", description="The user.")
    password: str = Field("", description="The password; better a secret reference.", repr=False)
    tls: bool = Field(default=False, description="Speak TLS.")
    tls_ca: str = Field("", description="The file of the authority that signed the server; default: the system's.")
    verify: bool = Field(default=True, description="Check the server's certificate and name.")
    connect_timeout: Duration = Field(10.0, gt=0, description="How long to wait for the server.")
    lock_timeout: Duration = Field(60.0, gt=0, description="How long to wait for others who hold locks.")

    def address(self) -> dict[str, Any]:
        """Return host, port, database, user and password, for the driver alone."""
        parts = urlsplit(self.url)
        if self.url and (parts.scheme not in ("mysql", "mariadb") or parts.query):
            raise WorkflowError("url is no address of a database", hint="write mysql://user@host:3306/database")
        try:
            told = parts.port
        except ValueError:
            raise WorkflowError("the port in url is no number", hint="write mysql://user@host:3306/database") from None
        return {
            "host": self.host or unquote(parts.hostname or "localhost"),
            "port": self.port or told or PORT,
            "database": self.database or unquote(parts.path.strip("/")) or None,
            "user": self.user or unquote(parts.username or "") or None,
            "password": self.password or unquote(parts.password or ""),
        }

    def scrubbed(self, text: str) -> str:
        """Return a text without the password."""
        told = urlsplit(self.url).password
        return scrub(text, [Secret(p) for p in (self.password, told or "", unquote(told or "")) if p])

    def shown(self) -> str:
        """Return where the server is, for messages."""
        place = self.address()
        return f"{place['host']}:{place['port']}/{place['database'] or ''}"


FOLLOWING = ("cdc", "hybrid")
"""The modes in which changes are followed."""


class MariaChangesConfig(Config):
    """How changes are followed, for `mode: cdc` and `mode: hybrid`."""

    server_id: int | None = Field(
        None, ge=1, le=(1 << 32) - 1, description="The id under which the log is read; default: one by chance."
    )
    domain: int | None = Field(
        None,
        ge=0,
        le=(1 << 32) - 1,
        description="The GTID domain in which the tables change; default: the log's own.",
    )
    heartbeat: Duration = Field(10.0, gt=0, description="How often the position moves on while no table changes.")
    truncate: Literal["fail", "skip", "apply"] = Field(
        "fail", description="What becomes of TRUNCATE; apply sends a row of that `_op`."
    )
    cascades: Literal["fail", "skip"] = Field(
        "fail", description="What becomes of tables whose rows a foreign key changes: the log does not tell that."
    )
    before: bool = Field(default=False, description="Add `_before`, the former row.")


class MariaSourceConfig(SqlSourceConfig, MariaConfig):
    """Settings of the MariaDB source."""

    table: str = Field("", description="The table or view to read, as table or database.table.")
    fetch_rows: int = Field(100_000, ge=1, description="Rows that one statement reads at most.")
    zero_dates: Literal["error", "null"] = Field(
        "error", description="What becomes of days that no calendar has, such as 0000-00-00."
    )
    cdc: MariaChangesConfig = Field(
        MariaChangesConfig(), description="For `mode: cdc` and `mode: hybrid`: how changes are followed."
    )

    def outputs(self) -> dict[str, str]:
        """Return the tables that are named, by output."""
        return {"": self.table} if self.table else {name: name for name in self.tables}


class MariaLookupConfig(SqlLookupConfig, MariaConfig):
    """Settings of the MariaDB lookup."""

    table: str = Field("", description="The table or view to look in, as table or database.table.")


class MariaDestinationConfig(MariaConfig, SqlDestinationConfig):
    """Settings of the MariaDB destination."""

    table: str = Field(description="The table to write, as table or database.table.")
