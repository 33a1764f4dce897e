"""The contract of executors: a plan and its surroundings in, an outcome out."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dataflare.component import executor_kind
from dataflare.component.contract import C, Component

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from dataflare.component import Registry, Runtime, StateStore
    from dataflare.errors import DataFlareError
    from dataflare.plan import Guarantee, Plan


REPLAY = "replay "
"""How the names of the sources of a replay begin; their positions are kept as long as the next replay is not begun."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A run that reads nothing but these sources, whose rows were rejected before, `times` at most.

    All other sources stay where they are. It ends as `succeeded` when these have ended; destinations are not completed,
    as that is for the run of the whole workflow.
    """

    sources: frozenset[str]
    times: int = 1


@dataclass(frozen=True, slots=True)
class RunContext:
    """The surroundings of a run.

    `store` is open. `deadline_seconds`: seal the last epoch before so many seconds have passed and end with `more`.
    `catch_up`: read endless sources up to where they stand when the attempt starts, then complete the run.
    `socket`: where the control socket is served (None: nowhere). `resolve` puts secrets into the settings of a node,
    as late as possible. `run` names this run: asked for again after it is complete, it succeeds at once and does
    nothing; without a name every call after a complete run is a new run. `replan` plans the workflow anew where columns
    of its sources have changed, with what was remembered of them; called in a worker thread. Without it such a run ends
    with an error. `reload` reads the text of the workflow as it is now, and returns how that is planned from then on;
    in a worker thread, too. Without it a run goes on by the text that it began with.
    """

    registry: Registry
    runtime: Runtime
    store: StateStore[Any]
    tenant: str = "default"
    run: str = ""
    deadline_seconds: float | None = None
    catch_up: bool = False
    socket: Path | None = None
    resolve: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
    replay: Replay | None = None
    replan: Callable[[Mapping[str, Any]], Plan] | None = None
    reload: Callable[[], Callable[[Mapping[str, Any]], Plan]] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: `succeeded`, `failed` or `stopped`; `nodes` are ledger totals of this run by node and count.

    Counts: `rows_in`, `rows_out`, `rows_filtered`, `rows_skipped`, `rows_dead`, `rows_absorbed`, `rows_expanded`.
    `rules`: the rows that fail each named rule of a node, by node and rule. `metrics`: what plugins have counted, by
    node and name. `edges`: the `rows` that passed each edge, and the sum of their `hash`es, where the workflow wants
    them. `plan` is the one that it ended by, where its text was taken in anew.
    """

    status: str
    epochs: int = 0
    attempts: int = 1
    elapsed_seconds: float = 0.0
    nodes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    rules: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    edges: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    guarantees: Mapping[str, Guarantee] = field(default_factory=dict)
    error: DataFlareError | None = None
    more: bool = False
    plan: Plan | None = None


class WorkflowExecutor(Component[C]):
    """Runs a plan."""

    @abstractmethod
    async def execute(self, plan: Plan, context: RunContext) -> Outcome:
        """Run to the end (or until stopped by control); errors of the run come back in the outcome."""


executor = executor_kind(WorkflowExecutor)
