"""What DuckDB says, as an error of ours: with the file and the cure, and without any value of a row."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dataflare.connectors.duckdb.conversions import MARK
from dataflare.errors import DataError, DataFlareError, ExternalError, UnavailableError, WorkflowError
from dataflare.expression.explain import is_about_rows, reason
from dataflare.sql.cures import MADE_BY_TABLE, REFERENCES

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

MORE_ROOM = "make room, then run again: nothing that was committed is lost"
_PERMISSION = "give the user that runs dataflare the permission"
_FULL = r"No space left|Disk full|failed to offload|max_temp_directory_size"
_REFUSED = (
    (r"Out of Memory", "DuckDB has no memory left", "raise runtime.budget.memory"),
    (r"Permission denied|Read-only file system|in read-only mode", "it may not be written or read", _PERMISSION),
    (r"No such file|does not exist", "there is no such file", "check the path; it starts at the workflow file"),
    (r"not a valid DuckDB|Is a directory", "it is no DuckDB database", "check the path"),
    (
        r"version number|newer version|storage version",
        "it was written by another version of DuckDB, which this one cannot read",
        "write it anew with this version, or take a newer DataFlare",
    ),
    (
        r"[Cc]orrupt|checksum|Could not read|invalidated|[Ss]erializ|replay|WAL",
        "it is damaged, or cannot be read",
        "see what the system says about that disk; else restore it from a copy",
    ),
)
"""What the text of an error has, what is told, and the cure; the first that fits."""

_CONSTRAINTS = (
    (r"NOT NULL constraint failed: ([^\n:]+)", "a row has no value for {0}, which needs one"),
    (r".*violates (primary key|unique) constraint", "a row breaks the {0} of the table"),
    (r".*[Dd]uplicate key", "two rows have the same key"),
    (r"CHECK constraint failed", "a row breaks a check of the table"),
    (r".*foreign key", "a row breaks a foreign key"),
)


def translation(error: duckdb.Error, path: Path) -> DataFlareError:
    """Return the error as one of ours."""
    import duckdb

    kinds = (duckdb.ConversionException, duckdb.ConstraintException, duckdb.InvalidInputException)
    if re.search(_FULL, str(error)) and not isinstance(error, kinds):  # these may show values of rows
        return UnavailableError(f"{path}: the disk is full", hint=MORE_ROOM)
    return _of_its_kind(error, path) or _of_its_words(error, path)


def _of_its_kind(error: duckdb.Error, path: Path) -> DataFlareError | None:
    import duckdb

    message = str(error).partition("\n\nLINE ")[0].partition(": ")[2]
    if message.startswith(MARK):  # our own words: they hold no value
        what = message.removeprefix(MARK).partition("\n")[0]
        return DataError(f"{path}: {what}", hint="change it in a mapping before, or its type in the table")
    if isinstance(error, duckdb.ConstraintException):
        references = re.search("foreign key", message, re.IGNORECASE)
        hint = REFERENCES if references else "change the rows in a mapping before, or the table"
        return DataError(f"{path}: {_constraint(message)}", hint=hint)
    if isinstance(error, duckdb.TransactionException) and "onflict" in message:
        hint = "run again, and let no two workflows change the same rows at a time"
        return ExternalError(f"{path}: somebody else in this process changed the same table meanwhile", hint=hint)
    if isinstance(error, duckdb.PermissionException):
        return WorkflowError(f"{path}: a query reaches outside of the file", hint="read that by a source of its own")
    if isinstance(error, duckdb.BinderException | duckdb.CatalogException | duckdb.ParserException):
        hint = MADE_BY_TABLE if "generated column" in message else "check table, query and columns"
        return WorkflowError(f"{path}: {message.partition(chr(10))[0]}", hint=hint)
    return None


def _of_its_words(error: duckdb.Error, path: Path) -> DataFlareError:
    text = str(error)
    if held := re.search(r"Conflicting lock is held in (.+?)\. See also", text):
        what = f"{path} is open in another program: {held[1]}"
        hint = "end it, or let it close the file: DuckDB lets in one program at a time to write"
        return ExternalError(what, hint=hint)
    if is_about_rows(error):
        return DataError(f"{path}: a value fails: {reason(error)}", hint="cast it in a mapping, or in the query")
    for pattern, what, hint in _REFUSED:
        if re.search(pattern, text):
            return UnavailableError(f"{path}: {what}", hint=hint)
    kind = text.partition(":")[0]
    return ExternalError(f"{path}: {kind}, whose words are not told as they may hold values of rows")


def _constraint(message: str) -> str:
    for pattern, words in _CONSTRAINTS:
        if found := re.match(pattern, message, re.DOTALL):
            return words.format(*found.groups())
    return "a row breaks a constraint of the table"


__all__ = ["MORE_ROOM", "translation"]
