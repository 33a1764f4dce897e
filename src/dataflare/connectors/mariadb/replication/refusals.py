"""What the server refuses of its log, as errors of ours with their cure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dataflare.connectors.mariadb.failures import translated
from dataflare.errors import DataFlareError, ExternalError, StateError

if TYPE_CHECKING:
    from dataflare.connectors.mariadb.settings import MariaConfig

ANEW = "give the workflow another id, so that it begins anew, by mode: hybrid from what is there"
_READ_FAILED = 1236
_SIGNS: tuple[tuple[str, type[DataFlareError], str, str], ...] = (
    (
        "could not find GTID state|have been purged|Could not find first log file",
        StateError,
        "the server has removed log that was not read yet",
        f"{ANEW}; let binlog_expire_logs_seconds be longer than the workflow may rest",
    ),
    (
        "not in the master's binlog|diverged|alternate history",
        StateError,
        "the server does not know the transaction at which the workflow stands: it is another one, or was put back",
        f"let it be the one that was followed, or {ANEW}",
    ),
    (
        "same server_uuid/server_id|same server_id",
        ExternalError,
        "another reader of the log has the same server_id",
        "give each workflow a cdc.server_id of its own, or none",
    ),
)


def refusal(code: int, text: str, config: MariaConfig) -> DataFlareError:
    """Return an error of ours for one that the server sent instead of its log."""
    told = translated(_RefusedError(code, text), config.shown(), config.scrubbed)
    if code == _READ_FAILED:
        for sign, kind, what, hint in _SIGNS:
            if re.search(sign, text, re.IGNORECASE):
                return kind(f"{config.shown()}: {what}", hint=hint)
    return told


def broken(config: MariaConfig, why: str) -> ExternalError:
    """Return the error of a connection that ended."""
    return ExternalError(f"{config.shown()}: the connection to the log broke: {why}", hint="see whether it runs")


class _RefusedError(Exception):
    """A code and a text of the server."""


__all__ = ["ANEW", "broken", "refusal"]
