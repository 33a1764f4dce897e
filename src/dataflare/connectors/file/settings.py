"""The settings of the file connectors."""

from __future__ import annotations

import codecs
from pathlib import PurePath
from typing import Literal

from pydantic import field_validator

from dataflare.component import Config, Field, Size
from dataflare.errors import WorkflowError
from dataflare.formats.csv.options import CsvOptions

Format = Literal["csv", "jsonl", "json", "parquet"]
Compression = Literal["zstd", "snappy", "none"]

EXTENSIONS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def format_of(path: str, told: str | None) -> str:
    """Return `csv`, `jsonl` or `parquet`: as told, or by the file extension; raise WorkflowError where neither says."""
    if told is not None:
        return "jsonl" if told == "json" else told
    pure = PurePath(path)
    extension = PurePath(pure.stem).suffix if pure.suffix.lower() == ".gz" else pure.suffix
    found = EXTENSIONS.get(extension.lower())
    if found is None:
        raise WorkflowError(
            f"the format of {path} is not clear from its extension", hint="add format: csv, jsonl or parquet"
        )
    return found


class TextConfig(Config):
    """What both ends of a CSV file agree on."""

    path: str = Field(description="File, glob or folder; relative to the workflow file.")
    format: Format | None = Field(None, description="csv, jsonl (json is the same) or parquet; default: by extension.")
    header: bool = Field(default=True, description="CSV: the first record names the columns.")
    delimiter: str = Field("", description="CSV: one character; default: a comma, a tab for .tsv.")
    quote: str = Field('"', description='CSV: quotes values that hold separators; "" for none.')

    def csv_delimiter(self) -> str:
        """Return the delimiter, by extension where it is not given."""
        return self.delimiter or ("\t" if self.path.lower().removesuffix(".gz").endswith(".tsv") else ",")


class FileSourceConfig(TextConfig):
    """Settings of the file source."""

    columns: dict[str, str] | None = Field(
        None, description="Columns to read, with their types; default: all, types from a sample."
    )
    escape: str = Field("", description='CSV: escapes a quote inside quotes; "" where it is doubled.')
    null_values: list[str] = Field([""], description="CSV: unquoted texts that mean null.")
    encoding: str = Field("utf-8", description="CSV and JSON lines: the text encoding.")
    split_bytes: Size = Field(6 << 20, ge=1, description="About how much one task reads at a time.")
    allow_empty: bool = Field(default=False, description="A path that matches no file is no error.")
    extra_columns: Literal["ignore", "error"] = Field(
        "ignore", description="What becomes of columns that the plan does not know."
    )
    missing_columns: Literal["null", "error"] = Field(
        "null", description="What becomes of planned columns that a file lacks."
    )

    @field_validator("split_bytes", mode="before")
    @classmethod
    def _small_splits(cls, value: object) -> object:
        """Let tests and tiny devices say any number of bytes."""
        return f"{value}B" if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            return codecs.lookup(value).name
        except LookupError as error:
            raise ValueError(f"{value!r} is no text encoding that Python knows") from error

    @field_validator("columns", mode="before")
    @classmethod
    def _older_lists(cls, value: object) -> object:
        """Accept a list of {name, type} too."""
        if isinstance(value, list) and all(isinstance(v, dict) and {"name", "type"} == set(v) for v in value):
            return {v["name"]: v["type"] for v in value}
        return value

    def csv_options(self) -> CsvOptions:
        """Return the CSV dialect; raise WorkflowError for an impossible one."""
        return CsvOptions(self.csv_delimiter(), self.quote, self.escape, self.header, tuple(self.null_values))


class FileDestinationConfig(TextConfig):
    """Settings of the file destination."""

    path: str = Field(description="A folder, or one file where it has an extension; relative to the workflow file.")
    null_value: str = Field("", description="CSV: what is written for null.")
    compression: Compression = Field("zstd", description="Parquet: zstd (level 3), snappy or none.")
    row_group_rows: int = Field(1 << 17, ge=1, description="Parquet: rows in a row group at most.")
    file_rows_max: int | None = Field(None, ge=1, description="Begin another file after so many rows.")
    file_bytes_max: Size | None = Field(None, description="Begin another file after about so many bytes.")

    def csv_options(self, *, header: bool) -> CsvOptions:
        """Return the CSV dialect; raise WorkflowError for an impossible one."""
        return CsvOptions(self.csv_delimiter(), self.quote, "", header, (self.null_value,))
