"""The settings of the webhook source."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator, model_validator

from dataflare.component import Config, Duration, Field, Size
from dataflare.listening.settings import LOOPBACK, CallerAuth


class WebhookJournal(Config):
    """Where requests are kept until they are committed."""

    path: str = Field(
        "",
        description="A folder on a local disk, relative to the workflow file, which may serve many; default: `journal` "
        "in the folder of the state.",
    )
    bytes_max: Size = Field(1 << 30, ge=1 << 16, description="What it may take; if it is full, senders are told 503.")


class WebhookConfig(Config):
    """Settings of the webhook source."""

    host: str = Field("127.0.0.1", description="The address to listen at; 0.0.0.0 for all of this machine.")
    port: int = Field(8080, ge=1, le=65535, description="The port.")
    path: str = Field("/", description="The path; all others are answered with 404.")
    methods: list[Literal["POST", "PUT", "PATCH"]] = Field(["POST"], description="The methods that bring rows.")
    auth: CallerAuth | None = Field(None, description="Who may come in; only a loopback address may do without.")
    cert_file: str = Field("", description="The file of the server's certificate, for https.")
    key_file: str = Field("", description="The file of its key; default: it is in cert_file.")
    format: Literal["json", "jsonl"] = Field("json", description="What bodies are: an object or a list of them; lines.")
    records: str = Field("", description="json: where the rows stand in the body, such as data.items; default: it.")
    columns: dict[str, str] | None = Field(
        None, description="Columns to read, with their types; default: one column `body` of type json."
    )
    rest_column: str = Field(
        "", description="A column of this name holds the fields that no other column does, as JSON."
    )
    header_columns: dict[str, str] = Field(
        {}, description="Columns that hold a header of the request, such as delivery: X-GitHub-Delivery."
    )
    received_column: str = Field("", description="A column of this name holds the time at which the request came.")
    body_bytes_max: Size = Field(1 << 20, description="Bytes of a body at most, packed or not; else 413.")
    status: int = Field(200, ge=200, le=299, description="The answer to a request whose rows are safe.")
    retry_after: Duration = Field(5.0, ge=1, description="How long senders shall wait when there is no room.")
    connections_max: int = Field(256, ge=1, le=10_000, description="Senders at the same time; more are told 503.")
    journal: WebhookJournal = Field(default_factory=WebhookJournal, description="Where requests are kept.")

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if not value.startswith("/"):
            raise ValueError("a path begins with /")
        return value

    @model_validator(mode="after")
    def _closed(self) -> WebhookConfig:
        if self.auth is None and self.host not in LOOPBACK:
            raise ValueError("whoever listens to a network needs auth, or anybody may send rows")
        if self.records and self.format != "json":
            raise ValueError("records is for format: json")
        if self.rest_column and self.columns is None:
            raise ValueError("rest_column is what is left beside columns: declare them")
        added = [*self.header_columns, *(name for name in (self.received_column, self.rest_column) if name)]
        double = sorted({n for n in added if added.count(n) > 1} | (set(added) & set(self.columns or {"body": ""})))
        if double:
            raise ValueError(f"column {double[0]!r} is there twice")
        return self


__all__ = ["WebhookConfig", "WebhookJournal"]
