"""What the server refuses of replication, as errors of ours with their cure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dataflare.connectors.postgres.failures import translated
from dataflare.errors import DataFlareError, ExternalError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable


class SlotLostError(UnavailableError):
    """The slot is gone, or the server no longer has the log that it needs: what was not read is lost."""

    code = "source.log_lost"


_ANEW = "drop the slot, make it anew and read the tables anew"
_SIGNS: tuple[tuple[str, type[DataFlareError], str], ...] = (
    (
        "is active for PID",
        ExternalError,
        "another connection reads it: an older run that has not ended yet, or one that needs a slot of its own",
    ),
    (
        "can no longer (get changes|access|be used)|has been invalidated|WAL segment .* has already been removed",
        SlotLostError,
        f"{_ANEW}; let max_slot_wal_keep_size be larger than what is written while nobody reads",
    ),
    ("replication slot .* does not exist", SlotLostError, f"was it dropped? then {_ANEW}"),
    ("replication slot .* already exists", UnavailableError, "name another slot, or drop it if nobody reads it"),
    ("wal_level", UnavailableError, "set wal_level = logical in postgresql.conf and restart the server"),
    (
        "publication .* does not exist",
        UnavailableError,
        "create publication ... for table ...; a slot that is older than it cannot be read with it: make it anew",
    ),
    (
        "all replication slots are in use",
        UnavailableError,
        "drop slots that nobody reads (see pg_replication_slots), or let max_replication_slots be larger",
    ),
    ("max_wal_senders", ExternalError, "end other replication connections, or let max_wal_senders be larger"),
    (
        "permission denied to (start WAL sender|use replication slots)|replication role|REPLICATION attribute",
        UnavailableError,
        "alter role ... replication, for the user of the connection",
    ),
    ("terminating walsender .* due to replication timeout", ExternalError, "let wal_sender_timeout be larger"),
)


def refusal(error: Exception, where: str, scrubbed: Callable[[str], str]) -> DataFlareError:
    """Return an error of ours for one of the server or of libpq."""
    told = translated(error, where, scrubbed)
    text = str(error)
    for sign, kind, hint in _SIGNS:
        if re.search(sign, text):
            return kind(told.what, hint=hint)
    return told


__all__ = ["SlotLostError", "refusal"]
