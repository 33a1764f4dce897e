"""The settings of the file connectors."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import field_validator, model_validator

from dataflare.component import Config, Duration, Field, Size
from dataflare.errors import WorkflowError
from dataflare.formats.csv.options import CsvOptions
from dataflare.formats.packing import Packing, bare
from dataflare.objects.settings import ObjectStoreConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.schema import Schema

Format = Literal["csv", "jsonl", "json", "parquet", "arrow", "arrow_stream", "avro", "json_array", "excel"]
CONTAINERS = ("parquet", "arrow", "arrow_stream", "avro")
"""Formats whose files tell their own columns."""
DOCUMENTS = ("json", "json_array")
"""Formats whose files may be JSON documents."""
Compression = Literal["zstd", "gzip", "snappy", "lz4", "brotli", "none"]

EXTENSIONS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".arrows": "arrow_stream",
    ".avro": "avro",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".xlsb": "excel",
    ".xls": "excel",
    ".ods": "excel",
}


def format_of(path: str, told: str | None) -> str:
    """Return the format of a file: as told, or by its extension; raise WorkflowError where neither says."""
    if told is not None:
        return told
    found = EXTENSIONS.get(extension_of(path))
    if found is None:
        raise WorkflowError(
            f"the format of {path} is not clear from its extension",
            hint="add format: csv, jsonl, parquet or another one",
        )
    return found


def extension_of(name: str) -> str:
    """Return the extension that tells the format of a file, in small letters, whatever it is packed in."""
    stem, dot, extension = bare(name).rpartition("/")[2].rpartition(".")
    return f".{extension.lower()}" if stem and dot and extension else ""


def _encoding(value: str) -> str:
    try:
        return codecs.lookup(value).name
    except LookupError as error:
        raise ValueError(f"{value!r} is no text encoding that Python knows") from error


class TextConfig(Config):
    """What both ends of a CSV file agree on."""

    format: Format | None = Field(
        None,
        description="csv, jsonl, json (lines; read, also a document), json_array, parquet, arrow, arrow_stream, "
        "avro or excel (LibreOffice too); default: by extension.",
    )
    header: bool = Field(default=True, description="CSV: the first record names the columns.")
    delimiter: str = Field("", description="CSV: one character; default: a comma, a tab for .tsv.")
    quote: str = Field('"', description='CSV: quotes values that hold separators; "" for none.')
    escape: str = Field("", description='CSV: escapes a quote inside quotes; "" where it is doubled.')
    decimal: str = Field(".", description="CSV: the decimal sign of numbers.")
    true_values: list[str] = Field([], description="CSV: words for true; default: true and 1, and true when written.")
    false_values: list[str] = Field([], description="CSV: words for false; default: false and 0, and false.")
    date_formats: list[str] = Field(
        [], description="CSV: patterns of dates and times, such as %d.%m.%Y; ISO 8601 is read anyway."
    )
    encoding: str = Field("utf-8", description="CSV and JSON lines: the text encoding.")

    _known_encoding = field_validator("encoding")(_encoding)

    def _dialect(self, first_path: str) -> dict[str, Any]:
        """Return what reading and writing share; the delimiter is by extension where it is not given."""
        return {
            "delimiter": self.delimiter or ("\t" if extension_of(first_path) == ".tsv" else ","),
            "quote": self.quote,
            "escape": self.escape,
            "decimal": self.decimal,
            "true_words": tuple(self.true_values),
            "false_words": tuple(self.false_values),
            "moments": tuple(self.date_formats),
        }


class FileSourceConfig(TextConfig):
    """Settings of the file source."""

    path: str | list[str] = Field(
        description="File, folder or glob (** for any folders), or a list of them; relative to the workflow file, or s3://."
    )
    exclude: list[str] = Field([], description="Globs of files to leave out.")
    columns: dict[str, str] | None = Field(
        None, description="Columns to read, with their types; default: all, types from a sample."
    )
    compression: Packing | None = Field(
        None, description="Text: gzip, zstd, bz2, xz or none; default: by extension (.gz, .zst, .bz2, .xz)."
    )
    skip_lines: int = Field(0, ge=0, le=10_000, description="CSV: lines before the header that are not looked at.")
    comment: str = Field("", description="CSV: lines that begin with this character are no records.")
    null_values: list[str] = Field([""], description="CSV: unquoted texts that mean null.")
    thousands: str = Field("", description="CSV: the sign between thousands in numbers.")
    records: str | list[str] = Field(
        "", description="JSON: the path to the array of records in a document, such as data.items."
    )
    rest_column: str = Field(
        "", description="JSON: a column of this name holds the fields that no other column does, as JSON."
    )
    sheet: str | int = Field(1, description="Excel: the name of a sheet, or its number from 1.")
    range: str = Field("", description="Excel: the cells to read, such as B3:F100, B:F, or B3 for all from there on.")
    hive: bool = Field(default=False, description="Folders named column=value are columns.")
    name_column: str = Field("", description="A column of this name holds the path of the file.")
    split_bytes: Size = Field(6 << 20, ge=1, description="About how much one task reads at a time.")
    s3: ObjectStoreConfig = Field(ObjectStoreConfig(), description="How s3:// is reached: endpoint, region, key.")
    forget_after: Duration = Field(
        "30d",
        description="Mode incremental: a file that is gone is forgotten when it is so much older than the newest.",
        validate_default=True,
    )
    poll_interval: Duration = Field(
        "500ms", description="Mode streaming: how often followed files are looked at.", validate_default=True
    )
    allow_empty: bool = Field(default=False, description="A path that matches no file is no error.")
    sample_files: int = Field(4, ge=1, le=1000, description="So many files are looked at to guess columns and types.")
    sample_bytes: Size = Field(1 << 20, ge=1 << 10, description="About so many bytes of their text, all together.")
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

    @field_validator("path")
    @classmethod
    def _some_path(cls, value: str | list[str]) -> str | list[str]:
        if not value:
            raise ValueError("name a file, a folder or a glob")
        return value

    @field_validator("columns", mode="before")
    @classmethod
    def _older_lists(cls, value: object) -> object:
        """Accept a list of {name, type} too."""
        if isinstance(value, list) and all(isinstance(v, dict) and {"name", "type"} == set(v) for v in value):
            return {v["name"]: v["type"] for v in value}
        return value

    @field_validator("range")
    @classmethod
    def _some_cells(cls, value: str) -> str:
        from dataflare.formats.excel.read import Area

        try:
            Area(value)
        except WorkflowError as error:
            raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _another_rest(self) -> Self:
        if self.rest_column and self.rest_column in {*(self.columns or {}), self.name_column}:
            raise ValueError("rest_column is another column than those of columns")
        return self

    @property
    def paths(self) -> list[str]:
        """All paths."""
        return [self.path] if isinstance(self.path, str) else self.path

    def csv_options(self) -> CsvOptions:
        """Return the CSV dialect, of Excel that in which sheets are read; raise WorkflowError for an impossible one."""
        if format_of(self.paths[0], self.format or EXTENSIONS.get(extension_of(self.paths[0]), "csv")) == "excel":
            return CsvOptions(
                header=self.header,
                nulls=tuple(self.null_values),
                moments=tuple(self.date_formats),
                true_words=tuple(self.true_values),
                false_words=tuple(self.false_values),
                skip_lines=self.skip_lines,
            )
        return CsvOptions(
            **self._dialect(self.paths[0]),
            header=self.header,
            nulls=tuple(self.null_values),
            comment=self.comment,
            skip_lines=self.skip_lines,
            thousands=self.thousands,
        )


class FileDestinationConfig(TextConfig):
    """Settings of the file destination."""

    path: str = Field(
        description="A folder, or one file where it has an extension; relative to the workflow file, or s3://."
    )
    s3: ObjectStoreConfig = Field(ObjectStoreConfig(), description="How s3:// is reached: endpoint, region, key.")
    sheet: str = Field("Sheet1", min_length=1, max_length=28, description="Excel: the name of the first sheet.")
    null_value: str = Field("", description="CSV: what is written for null.")
    quote_all: bool = Field(default=False, description="CSV: quotes every value that is not null.")
    line_end: Literal["lf", "crlf"] = Field("lf", description="CSV: what ends a line.")
    compression: Compression | None = Field(
        None,
        description="Parquet: zstd (the default), snappy, lz4, gzip, brotli or none; Arrow: zstd (the default), lz4 or "
        "none; Avro: gzip (deflate, the default), zstd, snappy or none; text: gzip, zstd or none, by extension where "
        "it is not given.",
    )
    compression_level: int | None = Field(
        None, ge=1, le=22, description="Parquet and Arrow: the level; default for zstd: 3 and 1."
    )
    row_group_rows: int = Field(
        1 << 17, ge=1, description="Parquet and Arrow: rows in a row group or record batch at most."
    )
    statistics: Literal["none", "groups", "pages"] = Field(
        "groups", description="Parquet: smallest and greatest values of row groups, and of pages besides."
    )
    bloom_filters: list[str] = Field([], description="Parquet: columns that readers look for single values in.")
    file_rows_max: int | None = Field(None, ge=1, description="Begin another file after so many rows.")
    file_bytes_max: Size | None = Field(None, description="Begin another file after about so many bytes.")
    partition_by: list[str] = Field(
        [], description="Columns that become folders named column=value, in this order; they are left out of the files."
    )
    overwrite: Literal["all", "partitions"] = Field(
        "all",
        description="With `write_mode: overwrite`: what is replaced, all that earlier runs wrote, or only partitions "
        "that this run writes (which others call dynamic).",
    )
    open_files_max: int = Field(64, ge=1, le=10_000, description="How many partitions a task has open at once.")

    @model_validator(mode="after")
    def _some_partitions(self) -> Self:
        if self.overwrite == "partitions" and not self.partition_by:
            raise ValueError("overwrite: partitions needs partition_by")
        return self

    @model_validator(mode="after")
    def _levels_that_are(self) -> Self:
        if self.compression_level is not None and self.compression not in (None, "zstd", "gzip", "brotli"):
            raise ValueError(f"compression_level: {self.compression} has no levels")
        most = {"gzip": 9, "brotli": 11}.get(self.compression or "", 22)
        if (self.compression_level or 0) > most:
            raise ValueError(f"compression_level: {self.compression} has levels up to {most}")
        return self

    def csv_options(self, *, header: bool) -> CsvOptions:
        """Return the CSV dialect; raise WorkflowError for an impossible one."""
        return CsvOptions(
            **self._dialect(self.path),
            header=header,
            nulls=(self.null_value,),
            line_end="\n" if self.line_end == "lf" else "\r\n",
            quote_all=self.quote_all,
        )


def as_source(config: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """Return settings of a source that reads what a destination of these settings writes."""
    shared = {k: v for k, v in config.items() if k in (*TextConfig.model_fields, "path", "s3")}
    kind = format_of(config["path"], config.get("format") or ("jsonl" if not extension_of(config["path"]) else None))
    nulls = {"null_values": [config["null_value"]]} if config.get("null_value") else {}
    hive = {"hive": True, "path": f"{config['path'].rstrip('/')}/**/part-*"} if config.get("partition_by") else {}
    columns = {"columns": {c.name: c.type for c in schema}}
    return {**shared, "format": kind, **nulls, **hive, **columns, "allow_empty": True}
