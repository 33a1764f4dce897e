"""The settings of the HTTP connectors: where the server is, who asks, and how patient we are."""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import field_validator, model_validator

from dataflare.component import Config, Duration, Field, Size
from dataflare.security.secrets import Secret, scrub

Scalar = str | int | float | bool

_NEEDED = {
    "bearer": ("token",),
    "basic": ("user",),
    "api_key": ("value",),
    "oauth2": ("token_url", "client_id", "client_secret"),
}
_TAKEN = {
    "bearer": {"token"},
    "basic": {"user", "password"},
    "api_key": {"name", "value", "in_query"},
    "oauth2": {"token_url", "client_id", "client_secret", "scopes", "parameters", "client_in_body"},
}


class HttpAuth(Config):
    """Who asks."""

    type: Literal["bearer", "basic", "api_key", "oauth2"] = Field(description="How the server knows who asks.")
    token: str = Field("", description="bearer: the token; better a secret reference.", repr=False)
    user: str = Field("", description="basic: the user.")
    password: str = Field("", description="basic: the password; better a secret reference.", repr=False)
    name: str = Field("X-API-Key", description="api_key: the header or parameter that holds the key.")
    value: str = Field("", description="api_key: the key; better a secret reference.", repr=False)
    in_query: bool = Field(default=False, description="api_key: a parameter of the URL, instead of a header.")
    token_url: str = Field("", description="oauth2: where tokens for client credentials are given.")
    client_id: str = Field("", description="oauth2: the client.")
    client_secret: str = Field("", description="oauth2: its secret; better a secret reference.", repr=False)
    scopes: list[str] = Field([], description="oauth2: what to ask for.")
    parameters: dict[str, str] = Field({}, description="oauth2: more that the server wants, such as audience.")
    client_in_body: bool = Field(
        default=False, description="oauth2: client and secret stand in the body, not in a header."
    )

    @model_validator(mode="after")
    def _whole(self) -> HttpAuth:
        missing = [name for name in _NEEDED[self.type] if not getattr(self, name)]
        if missing:
            raise ValueError(f"auth of type {self.type} needs {' and '.join(missing)}")
        foreign = sorted(self.model_fields_set - {"type"} - _TAKEN[self.type])
        if foreign:
            raise ValueError(f"auth of type {self.type} takes no {' and no '.join(foreign)}")
        if self.type == "oauth2":
            _web_address(self.token_url)
        return self

    def secrets(self) -> list[Secret]:
        """Return what must not be seen."""
        return [Secret(text) for text in (self.token, self.password, self.value, self.client_secret) if text]


class HttpRetry(Config):
    """How often and how long to try again."""

    attempts: int = Field(6, ge=1, le=100, description="Times that a request is sent at most.")
    initial: Duration = Field(0.5, gt=0, description="The longest wait before the second; it doubles from there on.")
    max: Duration = Field(30.0, gt=0, description="The longest wait of our own choice; each is drawn between 0 and it.")
    server_max: Duration = Field(
        300.0, ge=0, description="How long a wait the server may ask for (Retry-After); if longer, the request fails."
    )


class HttpConfig(Config):
    """What all HTTP connectors share."""

    url: str = Field(description="Where to ask: http:// or https://.")
    method: str = Field("GET", description="The method, such as GET or POST.")
    params: dict[str, Scalar | list[Scalar]] = Field({}, description="Parameters of the URL; a key stands under auth.")
    headers: dict[str, str] = Field({}, description="Headers; those that hold keys are better secret references.")
    auth: HttpAuth | None = Field(None, description="Who asks; default: nobody in particular.")
    verify: bool = Field(default=True, description="Check the server's certificate and name.")
    ca_file: str = Field("", description="The file of the authority that signed the server; default: the system's.")
    cert_file: str = Field("", description="The file of our own certificate, where the server wants one.")
    key_file: str = Field("", description="The file of its key; default: it is in cert_file.")
    connect_timeout: Duration = Field(10.0, gt=0, description="How long to wait for a connection.")
    timeout: Duration = Field(60.0, gt=0, description="How long one request may take, to the last byte of the answer.")
    retry: HttpRetry = Field(default_factory=HttpRetry, description="When the server does not answer well.")
    requests_per_second: float | None = Field(None, gt=0, description="Requests are at least 1/n seconds apart.")
    answer_bytes_max: Size = Field(64 << 20, description="Bytes of one answer, unpacked, at most.")

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        return _web_address(value)

    @field_validator("method")
    @classmethod
    def _word(cls, value: str) -> str:
        if not value.isalpha():
            raise ValueError(f"{value!r} is no HTTP method")
        return value.upper()

    def secrets(self) -> list[Secret]:
        """Return what must not be seen: all that authenticates, and the values of headers."""
        known = self.auth.secrets() if self.auth is not None else []
        return known + [Secret(value) for value in self.headers.values() if len(value) >= _HEADER_SECRET]

    def scrubbed(self, text: str) -> str:
        """Return a text without secrets."""
        return scrub(text, self.secrets())

    def shown(self, url: str = "") -> str:
        """Return an address for messages: without its parameters, which may hold keys."""
        parts = urlsplit(url or self.url)
        return self.scrubbed(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")


_HEADER_SECRET = 12
"""A header's value of fewer characters is a word, such as a media type."""


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("an address begins with http:// or https:// and the name of a server")
    if "@" in parts.netloc:
        raise ValueError("user and password stand under auth, not in the address")
    return value


class HttpPagination(Config):
    """How the next page is asked for."""

    type: Literal["none", "page", "offset", "cursor", "next_url", "link_header"] = Field(
        "none",
        description="By number, rows before it, by a cursor or URL in the answer, by its Link header, or not at all.",
    )
    parameter: str = Field("", description="What the page is asked by; default: page, offset or cursor.")
    in_body: bool = Field(default=False, description="The parameter is a field of the JSON body, not of the URL.")
    start: int | None = Field(None, ge=0, description="page, offset: the first one; default: page 1, offset 0.")
    size: int | None = Field(None, ge=1, description="Rows to ask for in a page.")
    size_parameter: str = Field("", description="How the size is asked for; default: limit, where there is a size.")
    path: str = Field("", description="cursor, next_url: where it stands in the answer, such as meta.next.")
    more_path: str = Field("", description="Where the answer says whether there is more: true or false.")
    total_path: str = Field("", description="page, offset: where the answer says how many rows there are in all.")
    stop: Literal["empty", "short"] = Field(
        "empty", description="page, offset: the end is a page without rows, or one with fewer rows than size."
    )

    @model_validator(mode="after")
    def _whole(self) -> HttpPagination:
        counted = self.type in ("page", "offset")
        if self.type in ("cursor", "next_url") and not self.path:
            raise ValueError(f"pagination by {self.type} needs path: where it stands in the answer")
        if self.path and self.type not in ("cursor", "next_url"):
            raise ValueError(f"pagination by {self.type} takes no path")
        if self.stop == "short" and not (counted and self.size):
            raise ValueError("stop: short needs a size, and pages that are asked for by page or offset")
        if (self.start is not None or self.total_path) and not counted:
            raise ValueError("start and total_path are for pagination by page or offset")
        if self.size_parameter and not self.size:
            raise ValueError("size_parameter needs a size")
        return self

    @property
    def name(self) -> str:
        """The parameter by which a page is asked for."""
        return self.parameter or ("cursor" if self.type == "cursor" else self.type)


class HttpIncremental(Config):
    """How new rows are asked for."""

    cursor_field: str = Field(description="A column that grows: a number, a time, or text in a sortable form.")
    parameter: str = Field(description="The parameter by which the server is asked for rows from a value on.")
    cursor_value: Scalar | None = Field(None, description="Where to begin, as the server wants it; default: all rows.")
    in_body: bool = Field(default=False, description="The parameter is a field of the JSON body, not of the URL.")
    format: str = Field(
        "iso", description="How a time is written: iso, unix, unix_ms, or a pattern such as %Y-%m-%d %H:%M:%S."
    )
    overlap: Duration = Field(
        0.0, ge=0, description="Ask for rows from so long before the newest time again: those in it come in every run."
    )


class HttpSourceConfig(HttpConfig):
    """Settings of the HTTP source."""

    json_body: Any = Field(None, alias="json", description="A JSON value to send as the body.")
    body: str = Field("", description="A text to send as the body; its type is a header.")
    format: Literal["json", "jsonl", "csv"] = Field("json", description="What the answer is.")
    delimiter: str = Field(",", description="CSV: one character.")
    records: str = Field("", description="JSON: where the rows stand in the answer, such as data.items; default: it.")
    columns: dict[str, str] | None = Field(
        None, description="Columns to read, with their types; default: all of the first page, types guessed from it."
    )
    rest_column: str = Field(
        "", description="JSON: a column of this name holds the fields that no other column does, as JSON."
    )
    key: list[str] = Field([], description="Columns that tell rows apart; for `mode: incremental`.")
    pagination: HttpPagination = Field(default_factory=HttpPagination, description="How the next page is asked for.")
    pages_max: int | None = Field(None, ge=1, description="Pages that one run reads at most.")
    incremental: HttpIncremental | None = Field(
        None, description="For `mode: incremental`: how new rows are asked for."
    )
    stable: bool = Field(
        default=False, description="The same request gives the same rows, also after a crash: you vouch for it."
    )

    @model_validator(mode="after")
    def _one_body(self) -> HttpSourceConfig:
        in_body = self.pagination.in_body or (self.incremental is not None and self.incremental.in_body)
        if self.body and self.json_body is not None:
            raise ValueError("name json or body, and only one of the two")
        if in_body and (self.body or not isinstance(self.json_body if self.json_body is not None else {}, dict)):
            raise ValueError("in_body needs a body that is a JSON object: name it under json")
        if self.rest_column and (self.format == "csv" or self.rest_column in (self.columns or {})):
            raise ValueError("rest_column is another column than those of columns, and for JSON")
        if self.format != "json" and (self.records or self._reads_answer()):
            raise ValueError(f"records, path, more_path and total_path stand in answers of JSON, not of {self.format}")
        return self

    def _reads_answer(self) -> bool:
        return bool(self.pagination.path or self.pagination.more_path or self.pagination.total_path)


class HttpRejects(Config):
    """Where rows go that the server refuses."""

    path: str = Field(description="A file of JSON lines that is appended to; relative to the workflow file.")
    statuses: list[int] = Field(
        [400, 409, 413, 422], description="Answers that refuse rows; all others of 4xx fail the run."
    )


class HttpDestinationConfig(HttpConfig):
    """Settings of the HTTP destination."""

    method: str = Field("POST", description="The method, such as POST, PUT or PATCH.")
    format: Literal["json", "jsonl", "csv", "form"] = Field(
        "json", description="The body: a list of objects (one object where rows_max is 1), lines, CSV, or a form."
    )
    wrap: str = Field("", description="json: the list stands in a field of this name.")
    delimiter: str = Field(",", description="CSV: one character.")
    rows_max: int = Field(500, ge=1, le=100_000, description="Rows in one request at most.")
    bytes_max: Size = Field(4 << 20, description="Bytes of one body at most, as it is sent; one row may be longer.")
    compression: Literal["none", "gzip"] = Field("none", description="How bodies are packed.")
    concurrency: int = Field(1, ge=1, le=64, description="Requests at the same time; with more than 1, in any order.")
    idempotency_header: str = Field(
        "Idempotency-Key", description='The header that tells a repeated request from a new one; "" for none.'
    )
    rejects: HttpRejects | None = Field(None, description="What becomes of refused rows; default: they fail the run.")

    @field_validator("bytes_max", mode="before")
    @classmethod
    def _small_bodies(cls, value: object) -> object:
        """Let small servers say any number of bytes."""
        return f"{value}B" if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _one_by_one(self) -> HttpDestinationConfig:
        alone = [word for word, is_so in (("a form", self.format == "form"), ("{column} in url", self.places)) if is_so]
        if alone and self.rows_max != 1:
            raise ValueError(f"{' and '.join(alone)} is for one row: set rows_max: 1")
        if self.wrap and self.format != "json":
            raise ValueError("wrap is for format: json")
        return self

    @property
    def places(self) -> list[str]:
        """The columns whose values stand in the URL."""
        return re.findall(r"\{([^{}]+)\}", self.url)


class HttpLookupConfig(HttpConfig):
    """Settings of the HTTP lookup."""

    url: str = Field(description="Where to ask; {column} stands for the key of a row.")
    json_body: Any = Field(None, alias="json", description="A JSON value to send; a text {column} in it is the key.")
    columns: dict[str, str] = Field(min_length=1, description="The columns to read, keys included, and their types.")
    records: str = Field("", description="Where the rows stand in the answer, such as data.items; default: it.")
    batch_max: int = Field(1, ge=1, le=10_000, description="Keys in one request at most.")
    batch_parameter: str = Field("", description="The parameter of the URL that lists the keys of a request.")
    batch_separator: str = Field(",", min_length=1, description="What stands between the keys in it.")
    batch_field: str = Field(
        "", description="The field of the JSON body that lists the keys: values, or objects where several columns are."
    )
    missing_statuses: list[int] = Field([404, 410], description="Answers that mean: there is no such row.")
    concurrency: int = Field(8, ge=1, le=64, description="Requests at the same time.")
    pagination: HttpPagination = Field(
        default_factory=HttpPagination, description="For `cache: all`: how the next page of all rows is found."
    )
    retry: HttpRetry = Field(
        default_factory=lambda: HttpRetry(attempts=2),
        description="When the server does not answer well; the node's own `retry` comes on top.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> HttpLookupConfig:
        batches = bool(self.batch_parameter) + bool(self.batch_field)
        if batches > 1 or (self.batch_max > 1) != (batches == 1):
            raise ValueError("keys are sent together by batch_max and one of batch_parameter and batch_field")
        if batches and self.placed():
            raise ValueError("{column} is for one key a request: leave it out, or batch_max")
        if self.batch_field and not isinstance(self.json_body or {}, dict):
            raise ValueError("batch_field needs a json that is an object")
        return self

    def placed(self) -> list[str]:
        """Return the columns for whose values there are places."""
        texts = [self.url, *(v for v in self.params.values() if isinstance(v, str)), *_texts(self.json_body)]
        return list(dict.fromkeys(name for text in texts for name in re.findall(r"\{([^{}]+)\}", text)))


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return [value] if isinstance(value, str) else []


__all__ = [
    "HttpAuth",
    "HttpConfig",
    "HttpDestinationConfig",
    "HttpIncremental",
    "HttpLookupConfig",
    "HttpPagination",
    "HttpRejects",
    "HttpRetry",
    "HttpSourceConfig",
    "Scalar",
]
