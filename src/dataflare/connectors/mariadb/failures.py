"""What MariaDB and its driver refuse, as errors of ours: who can cure it, and whether trying again helps.

What the server quotes are values of rows, which are not for logs (invariant 7).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dataflare.errors import DataError, DataFlareError, ExternalError, UnavailableError, WorkflowError
from dataflare.sql.cures import MADE_BY_TABLE, REFERENCES

if TYPE_CHECKING:
    from collections.abc import Callable

_CURES: tuple[tuple[tuple[int, ...], type[DataFlareError], str], ...] = (
    ((1216, 1217, 1451, 1452), DataError, REFERENCES),
    ((1906,), WorkflowError, MADE_BY_TABLE),
    ((1045, 1698, 2061), UnavailableError, "check user and password"),
    ((1044, 1142, 1143, 1227, 1370), UnavailableError, "give the user of the connection the privilege"),
    ((1046, 1049), UnavailableError, "check the database's name"),
    ((1036, 1290, 1792, 1836), UnavailableError, "the server only lets this session read: write to the primary"),
    ((1021, 1114), UnavailableError, "the server's disk is full: make room; nothing that was committed is lost"),
    ((1205, 1213, 1020), ExternalError, "another transaction was in the way: end it, or let lock_timeout be longer"),
    ((1040, 1203, 1226), ExternalError, "the server has no free connection"),
    ((1053, 1317, 1927, 2006, 2013, 2055), ExternalError, "the connection broke; see whether the server runs"),
    (
        (
            *(1022, 1048, 1062, 1169, 1261, 1262, 1263, 1264, 1265, 1292, 1364, 1365, 1366, 1406, 1411),
            *(1525, 1586, 1690, 3140, 4025, 4037, 4038),
        ),
        DataError,
        "the table does not allow these rows: change them in a mapping before, or the table",
    ),
    (
        (1054, 1059, 1064, 1068, 1071, 1101, 1118, 1146, 1149, 1170, 1176, 1222, 1247, 1267, 1305, 1356, 1630, 4078),
        WorkflowError,
        "check tables, columns and the query",
    ),
)
_BY_CODE = {code: (kind, hint) for codes, kind, hint in _CURES for code in codes}
_QUOTED = re.compile(r"(?<=entry )'.*'(?= for key)|(?<=value: )'.*'(?= for )|(?<= in )'.*'", re.DOTALL)


def translated(error: Exception, where: str, scrubbed: Callable[[str], str]) -> DataFlareError:
    """Return an error of ours for one of the driver."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = str(error.args[-1]) if error.args else type(error).__name__
    if re.search("certificate|SSL|TLS", text) and code not in _BY_CODE:
        hint = "name the authority's file in tls_ca, and the host as it is certified; or see whether it speaks TLS"
        return UnavailableError(f"{where}: {scrubbed(text)}", hint=hint)
    if "cryptography" in text:
        return UnavailableError(
            f"{where}: the server wants a way to log in that needs TLS",
            hint="set tls: true, or pip install cryptography",
        )
    kind, hint = _BY_CODE.get(code, (ExternalError, "see whether the server runs and can be reached"))
    said = _QUOTED.sub("…", text) if kind is DataError else text
    return kind(f"{where}: {scrubbed(' '.join(said.split()))}", hint=hint)


__all__ = ["translated"]
