"""Names of the tables that DataFlare makes for itself, short enough for every database and told apart by a hash."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

EPOCHS = "_dataflare_epochs"
_PREFIX = "_dataflare"


@dataclass(frozen=True, slots=True)
class Owner:
    """The destination node that a table belongs to."""

    tenant: str
    workflow: str
    node: str

    def mark(self) -> str:
        """Return a part of names that no other node has: the start of its name, and a hash of the whole."""
        start = re.sub(r"\W", "_", self.node)[:10]
        whole = f"{self.tenant}\0{self.workflow}\0{self.node}"
        return f"{start}_{hashlib.sha256(whole.encode()).hexdigest()[:10]}"


def is_ours(name: str) -> bool:
    """Tell whether a table is one that DataFlare makes for itself."""
    return name.startswith(_PREFIX)


def fresh_table(owner: Owner) -> str:
    """Return the name of the table into which `overwrite` loads before it takes the target's place."""
    return f"{_PREFIX}_new_{owner.mark()}"


def current_index(owner: Owner) -> str:
    """Return the name of the index that finds the current versions of rows."""
    return f"{_PREFIX}_current_{owner.mark()}"


def stage_prefix(owner: Owner) -> str:
    """Return how the names of all staging tables of a node begin."""
    return f"{_PREFIX}_stage_{owner.mark()}_"


def stage_table(owner: Owner, attempt: int, epoch: int, part: str) -> str:
    """Return the name of a staging table; `part` tells those of one epoch apart."""
    return f"{stage_prefix(owner)}{attempt}_{epoch}_{part}"


def attempt_of(name: str, owner: Owner) -> int | None:
    """Return the attempt that made a staging table of this node; None if it is none."""
    found = re.fullmatch(rf"{re.escape(stage_prefix(owner))}(\d+)_\d+_\w+", name)
    return int(found[1]) if found else None
