"""The closed word lists that plans, specs and settings share."""

from __future__ import annotations

from enum import StrEnum


class NodeKind(StrEnum):
    """What a node does to data."""

    SOURCE = "source"
    PROCESSOR = "processor"
    DESTINATION = "destination"


class EdgeKind(StrEnum):
    """What the rows of an edge mean: new facts, the newest state by key, or facts and their withdrawals."""

    APPEND = "append"
    UPSERT = "upsert"
    RETRACT = "retract"


class Level(StrEnum):
    """How often a row of the sources reaches a destination."""

    EXACTLY_ONCE = "exactly_once"
    AT_LEAST_ONCE = "at_least_once"


class Mechanism(StrEnum):
    """How a destination makes an epoch durable (ARCHITECTURE.md, epochs)."""

    DIRECT = "direct"
    STAGED = "staged"
    TWO_PHASE = "two_phase"
    IDEMPOTENT = "idempotent"
    APPEND = "append"


class Action(StrEnum):
    """What happens to a row that a node cannot handle."""

    FAIL = "fail"
    SKIP = "skip"
    NULL = "null"
    DEAD_LETTER = "dead_letter"


FOLLOWING = ("cdc", "hybrid")
"""The modes of a source that follows the changes of tables."""


class Change(StrEnum):
    """What may happen to a column."""

    ADD = "add.column"
    DROP = "drop.column"
    RENAME = "rename.column"
    RETYPE = "alter.column.type"


class Ddl(StrEnum):
    """What becomes of changes of columns.

    `exception`: each ends the run. `evolve`: each reaches the destinations. `try_evolve`: also, as far as they can.
    `lenient`: nothing is lost: a dropped column stays, and is null from there on; a renamed one is a new one beside the
    old; a type becomes wider only. `ignore`: none reaches anybody.
    """

    EXCEPTION = "exception"
    EVOLVE = "evolve"
    TRY_EVOLVE = "try_evolve"
    LENIENT = "lenient"
    IGNORE = "ignore"
