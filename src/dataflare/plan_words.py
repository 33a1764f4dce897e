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
