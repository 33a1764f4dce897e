"""One description of a component; docs, lint, JSON Schema and forms are all made from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from dataflare.plan_words import EdgeKind, Mechanism

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component.settings import Config

Status = Literal["stable", "beta", "experimental", "deprecated"]
Replay = Literal["exact", "from", "redelivers", "none"]
Mode = Literal["full", "incremental", "cdc", "hybrid", "streaming"]
WriteMode = Literal["append", "overwrite", "merge", "delete_insert", "insert_only", "update", "scd2"]
Count = Literal["filtered", "skipped", "dead", "absorbed", "expanded"]


@dataclass(frozen=True, slots=True)
class SourceTraits:
    """What a source promises.

    `replay`: `exact` (the same rows again from any position), `from` (restarts at or before a position),
    `redelivers`, `none`. `pushdown`: which of `columns`, `predicate`, `limit` it honours. `codecs`: the formats in
    which it can also yield rows as `Encoded` bytes; each `Stream` tells which of them fit it.
    """

    replay: Replay = "none"
    modes: tuple[Mode, ...] = ("full",)
    pushdown: tuple[Literal["columns", "predicate", "limit"], ...] = ()
    codecs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DestinationTraits:
    """What a destination promises: its mechanisms, best first, its write modes, and whether tasks write in parallel.

    `codecs`: the formats in which it takes rows as `Encoded` bytes, instead of tables.
    """

    mechanisms: tuple[Mechanism, ...] = (Mechanism.APPEND,)
    write_modes: tuple[WriteMode, ...] = ("append",)
    parallel: bool = False
    codecs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProcessorTraits:
    """What a processor does to edges and rows.

    `accepts` edge kinds; yields the same kind unless `yields` says otherwise. `counts` are the ways, besides
    passing, in which a row may leave (invariant 5). `parallel`: any number of instances may share the rows.
    `deterministic`: the output does not depend on how inputs interleave.
    """

    accepts: tuple[EdgeKind, ...] = (EdgeKind.APPEND,)
    yields: EdgeKind | None = None
    counts: tuple[Count, ...] = ("filtered",)
    parallel: bool = True
    deterministic: bool = True


@dataclass(frozen=True, slots=True)
class NoTraits:
    """Nothing beyond the contract."""


@dataclass(frozen=True, slots=True)
class Spec:
    """Everything a reader, a linter or a form needs to know about a component."""

    kind: str
    name: str
    summary: str
    description: str
    config: type[Config]
    traits: Any
    status: Status = "experimental"
    examples: tuple[Mapping[str, Any], ...] = field(default=())

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the settings."""
        return self.config.model_json_schema()
