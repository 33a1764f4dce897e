"""What PostgreSQL and its driver refuse, as errors of ours: who can cure it, and whether trying again helps.

Only the first line of what the server says is kept: details hold values of rows, which are not for logs (invariant 7).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dataflare.errors import DataError, DataFlareError, ExternalError, UnavailableError, WorkflowError
from dataflare.sql.cures import MADE_BY_TABLE, REFERENCES

if TYPE_CHECKING:
    from collections.abc import Callable

_CURES: dict[str, tuple[type[DataFlareError], str]] = {
    "08": (ExternalError, "the connection broke; see whether the server runs"),
    "22": (DataError, "change the rows in a mapping before, or the table"),
    "23": (DataError, "the table's constraints do not allow these rows: change them in a mapping before"),
    "23503": (DataError, REFERENCES),
    "25006": (UnavailableError, "the server only lets this session read: write to the primary"),
    "28": (UnavailableError, "check user and password"),
    "3D": (UnavailableError, "check the database's name"),
    "3F": (WorkflowError, "check the schema's name, or make the schema"),
    "40": (ExternalError, "another transaction was in the way"),
    "428C9": (WorkflowError, MADE_BY_TABLE),
    "42501": (UnavailableError, "give the user of the connection the privilege"),
    "42": (WorkflowError, "check tables, columns and the query"),
    "0A": (WorkflowError, "this server cannot do that"),
    "53100": (UnavailableError, "the server's disk is full: make room; nothing that was committed is lost"),
    "53": (ExternalError, "the server lacks connections or memory"),
    "55P03": (ExternalError, "another session holds a lock: end its transaction, or let lock_timeout be longer"),
    "57": (ExternalError, "the server was stopped or told to end this session"),
}
_SIGNS: tuple[tuple[str, type[DataFlareError], str], ...] = (
    ("authentication failed", UnavailableError, "check user and password"),
    ("no password supplied", UnavailableError, "add password, as a secret reference"),
    ("no pg_hba.conf entry", UnavailableError, "let the server's pg_hba.conf allow this user from here"),
    ("role .* does not exist", UnavailableError, "check user"),
    ("database .* does not exist", UnavailableError, "check the database's name"),
    (
        "certificate|hostname",
        UnavailableError,
        "name the authority's file in sslrootcert, and the host as it is certified",
    ),
    ("does not support SSL", UnavailableError, "let the server speak TLS, or sslmode be disable"),
    (
        'invalid (integer|URI|connection|sslmode)|missing "="',
        UnavailableError,
        "check url: postgresql://user@host:5432/name",
    ),
    ("too many clients", ExternalError, "the server has no free connection"),
    (
        "division by zero|invalid input syntax|invalid byte sequence|out of range|value too long",
        DataError,
        "change the rows, or the query that reads them",
    ),  # rows that come one after the other: what fails behind the first ones has no code
)
_ASIDE = re.compile(r"(DETAIL|CONTEXT|HINT|LINE \d+|Query was|STATEMENT):.*", re.DOTALL)
_VALUE = re.compile(r": (\"|').*", re.DOTALL)
_INSIDE = re.compile(r'\bvalue "[^"]*"')
_DEEP = re.compile(r'"(\d+-dimensional array in column (.*?))"')
_COLUMN = re.compile(r"CONTEXT:.*\bcolumn ([^\s:]+)")


def translated(error: Exception, where: str, scrubbed: Callable[[str], str]) -> DataFlareError:
    """Return an error of ours for one of the driver."""
    text = str(error)
    state = getattr(error, "sqlstate", None) or ""
    if (deep := _DEEP.search(text)) is not None:  # `relations.py` makes it fail so
        return DataError(f"{where}: {deep[1]}", hint=f"read it as text: types: {{{deep[2]}: string}}")
    for length in (5, 2):
        if state[:length] in _CURES:
            kind, hint = _CURES[state[:length]]
            return kind(f"{where}: {scrubbed(_said(text, hide=kind is DataError))}", hint=hint)
    for sign, kind, hint in _SIGNS:
        if re.search(sign, text):
            return kind(f"{where}: {scrubbed(_said(text, hide=kind is DataError))}", hint=hint)
    return ExternalError(f"{where}: {scrubbed(_said(text))}", hint="see whether the server runs and can be reached")


def _said(text: str, *, hide: bool = False) -> str:
    """Return what the server said in short, without the values of rows."""
    column = _COLUMN.search(text)
    short = _ASIDE.sub("", text)
    _, said, after = short.rpartition("ERROR:")
    line = " ".join((after if said else re.sub(r"^\w+: (\[libpq\] )?", "", short)).split())
    line = re.sub(r"\. SQLSTATE.*", "", line)
    line = _INSIDE.sub("value", _VALUE.sub("", line)) if hide else line
    return f"{line} (column {column[1]})" if column else line


__all__ = ["translated"]
