"""All that the actors of one attempt share: the plan, its task graph, and the surroundings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dataflare.component import (
    Budget,
    Kind,
    StageContext,
    destination,
    lookup,
    processor,
    source,
)
from dataflare.component.context import ReadHints
from dataflare.errors import Place, WorkflowError
from dataflare.executor.evolving import known_columns
from dataflare.executor.partition import groups_of
from dataflare.executor.surroundings import StateOf
from dataflare.plan import Action, Mechanism, Node, NodeKind, Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dataflare.component import Registry, Runtime
    from dataflare.component.contract import Component
    from dataflare.executor.contract import Replay
    from dataflare.executor.graph import TaskGraph
    from dataflare.schema import Schema
    from dataflare.state.checkpoint import CheckpointManager, Proposal

K = TypeVar("K", bound="Component[Any]")

KINDS: Mapping[NodeKind, Kind[Any]] = {
    NodeKind.SOURCE: source,
    NodeKind.PROCESSOR: processor,
    NodeKind.DESTINATION: destination,
}


@dataclass(slots=True)
class EpochTime:
    """The time of the epoch that a task fills now, in microseconds, the same in all tasks; and its number."""

    microseconds: int = 0
    number: int = 0

    def __call__(self) -> int:
        """Return it."""
        return self.microseconds


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt to run a plan; shared by its actors, changed by none.

    `take_in` tells, behind an epoch, whether there is new code, by which another attempt is to go on; it blocks. None:
    no code may change.
    """

    plan: Plan
    graph: TaskGraph
    registry: Registry
    runtime: Runtime
    checkpoints: CheckpointManager
    attempt: int
    tenant: str = "default"
    run: str = ""
    catch_up: bool = False
    replay: Replay | None = None
    resolve: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
    take_in: Callable[[Proposal], bool] | None = None

    def component(self, node: Node, index: int, parallelism: int, epoch_time: Callable[[], int]) -> Component[Any]:
        """Build a node's component with its settings and its context; not opened yet."""
        kind = self.registry.find(KINDS[node.kind], node.type)
        return self.adopt(kind(_config(kind, node, self.resolve)), node, index, parallelism, epoch_time)

    def adopt(
        self,
        component: K,
        node: Node,
        index: int = 0,
        parallelism: int = 1,
        epoch_time: Callable[[], int] = lambda: 0,
    ) -> K:
        """Give a component its context."""
        component.context = StageContext(
            runtime=self.runtime,
            workflow=self.plan.workflow,
            node=node.id,
            tenant=self.tenant,
            attempt=self.attempt,
            index=index,
            parallelism=parallelism,
            directory=Path(self.plan.directory),
            mechanism=Mechanism(node.traits.get("mechanism", Mechanism.APPEND)),
            mode=node.traits.get("mode", "full"),
            write_mode=node.traits.get("write_mode", "append"),
            key=self._key(node),
            schemas=self._schemas(node),
            hints=_hints(node),
            on_error=node.on_error.action.value,
            budget=self.budget(),
            epoch_time=epoch_time,
            epoch=(lambda: epoch_time.number) if isinstance(epoch_time, EpochTime) else (lambda: 0),
            lookup=bool(node.traits.get("lookup")),
            key_group=groups_of(index, parallelism)[0],
            outputs={o.name: o.schema for o in node.outputs},
            lookups=partial(self.registry.find, lookup),
            inputs=tuple(edge.origin for edge in self.plan.inputs_of(node.id)),
            contract=node.traits.get("contract", {}),
            ddl=node.traits.get("ddl", {}),
            known=known_columns(node.traits),
            former=node.traits.get("former", {}),
            state_directory=StateOf.of_plan(self.plan).folder,
            code=node.traits.get("code", ""),
            hide=getattr(self.resolve, "hide", str),
        )
        return component

    def budget(self) -> Budget:
        """Return what one task may use: the workflow's memory, half of it for buffers in flight, by task."""
        tasks = sum(s.parallelism for s in self.graph.stages) or 1
        return Budget(max(64 << 20, self.plan.settings.memory_bytes_max // 2 // tasks), 1)

    def keeps_errors(self, node: str) -> bool:
        """Tell whether a node's rejected rows go to its `errors` output."""
        return self.plan.node(node).on_error.action is Action.DEAD_LETTER

    def _key(self, node: Node) -> tuple[str, ...]:
        if node.kind is NodeKind.PROCESSOR:
            feeding = self.plan.input_outputs(node.id)
            mains = feeding[:-1] if node.traits.get("lookup") else feeding
            return next((o.key for o in mains if o.key), ())
        return tuple(node.traits.get("key", ()))

    def _schemas(self, node: Node) -> Mapping[str, Schema]:
        if node.kind is NodeKind.SOURCE:
            return {o.name: o.schema for o in node.outputs}
        return {str(port): schema for port, schema in enumerate(self.input_schemas(node.id))}

    def input_schemas(self, node: str) -> list[Schema]:
        """Return the schemas by which a node knows its inputs, as the planner told it (tags of one are of all)."""
        schemas = [o.schema for o in self.plan.input_outputs(node)]
        return [s.beside(schemas) for s in schemas]


def _config(kind: type[Component[Any]], node: Node, resolve: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Any:
    try:
        return kind.spec.config.model_validate(dict(resolve(node.config)))
    except ValueError as error:
        raise WorkflowError(f"the settings of {node.id} are not valid: {error}", place=Place(path=node.id)) from error


def _hints(node: Node) -> ReadHints:
    columns = node.traits.get("columns")
    traits = node.traits
    wanted = tuple(columns) if columns is not None else None
    told = {name: traits.get(name) for name in ("predicate", "limit", "codec", "unjudged", "hashed")}
    return ReadHints(wanted, **told)
