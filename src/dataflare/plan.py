"""A workflow that can run: a frozen, picklable, printable DAG of typed nodes and edges.

A plan holds names and plain values only; components are found in a registry by the process that runs it. It travels
as JSON (`to_json`, `from_json`) and loads without YAML, planner or any data library.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from dataflare.errors import Place
from dataflare.plan_words import Action, EdgeKind, Level, Mechanism, NodeKind
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "Action",
    "Edge",
    "EdgeKind",
    "ErrorPolicy",
    "Guarantee",
    "Level",
    "Mechanism",
    "Node",
    "NodeKind",
    "Output",
    "Plan",
    "Settings",
]

FORMAT = 1
NOWHERE = Place()


@dataclass(frozen=True, slots=True)
class ErrorPolicy:
    """What happens to bad rows, and the share of bad rows in an epoch (at least 1,000 rows) that fails the run."""

    action: Action = Action.FAIL
    rate_max: float = 1.0


@dataclass(frozen=True, slots=True)
class Output:
    """One named output of a node ("" is the default one): its schema, its edge kind, its key."""

    name: str
    schema: Schema
    kind: EdgeKind = EdgeKind.APPEND
    key: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """One component with its checked settings.

    `traits` hold what the planner settled for it: `mode` of a source, `write_mode` and `mechanism` of a destination,
    `columns` that a source needs to read (pushdown), the form of a `predicate` and a `limit` of rows beyond which none
    are wanted, `parallelism`, `codec` of rows that pass through, `unjudged` the format in which what is behind a source
    reads its rows itself, `veiled` where positions of a source may hold tagged values, `keeps_rows` where a processor
    passes rows on as they come and that is compared.
    """

    id: str
    kind: NodeKind
    type: str
    config: Mapping[str, Any]
    outputs: tuple[Output, ...] = ()
    on_error: ErrorPolicy = ErrorPolicy()
    traits: Mapping[str, Any] = field(default_factory=dict)
    place: Place = NOWHERE

    def output(self, name: str = "") -> Output:
        """Return the output of that name, or raise KeyError."""
        for output in self.outputs:
            if output.name == name:
                return output
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Edge:
    """Rows of `source`'s output `output` go into `target`; `port` is the index of that input there."""

    source: str
    output: str
    target: str
    port: int = 0

    @property
    def origin(self) -> str:
        """Where the rows come from: `clean`, or `clean.errors`."""
        return f"{self.source}{'.' if self.output else ''}{self.output}"

    def __str__(self) -> str:
        """Render as `clean.errors -> dead`."""
        return f"{self.origin} -> {self.target}"


@dataclass(frozen=True, slots=True)
class Guarantee:
    """What a path into a destination can promise, and why."""

    level: Level
    mechanism: Mechanism
    reason: str


@dataclass(frozen=True, slots=True)
class Settings:
    """The `runtime` block, in plain units."""

    profile: str = "standalone"
    parallelism: int = 1
    memory_bytes_max: int = 1 << 30
    checkpoint_interval_seconds: float = 10.0
    checkpoint_timeout_seconds: float = 60.0
    checkpoints_retained: int = 5
    state: Mapping[str, Any] = field(default_factory=lambda: {"type": "sqlite"})
    restart: Mapping[str, Any] = field(
        default_factory=lambda: {"initial": 1.0, "max": 60.0, "attempts": 10, "window": 600.0}
    )
    batch: Mapping[str, Any] = field(default_factory=dict)
    ledger: str = "counts"


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole workflow; nodes in topological order, edges in the order of the targets' inputs.

    `secrets` are the stores that references name (type, prefix, path), never a secret.
    """

    workflow: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    guarantees: Mapping[str, Guarantee] = field(default_factory=dict)
    settings: Settings = Settings()
    version: str = ""
    directory: str = "."
    schedule: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def topological(self) -> Iterator[Node]:
        """Yield every node after all nodes that feed it."""
        return iter(self.nodes)

    def node(self, identity: str) -> Node:
        """Return the node of that id, or raise KeyError."""
        for node in self.nodes:
            if node.id == identity:
                return node
        raise KeyError(identity)

    def of_kind(self, kind: NodeKind) -> list[Node]:
        """Return the nodes of a kind, in topological order."""
        return [n for n in self.nodes if n.kind == kind]

    def inputs_of(self, identity: str) -> list[Edge]:
        """Return the edges into a node, by port."""
        return sorted((e for e in self.edges if e.target == identity), key=lambda e: e.port)

    def outputs_of(self, identity: str) -> list[Edge]:
        """Return the edges out of a node."""
        return [e for e in self.edges if e.source == identity]

    def input_outputs(self, identity: str) -> list[Output]:
        """Return the outputs that feed a node, by port."""
        return [self.node(e.source).output(e.output) for e in self.inputs_of(identity)]

    def sees_tagged(self, identity: str) -> bool:
        """Tell whether rows that go into a node or come out of it hold tagged values; so of one that is not known."""
        nodes = [n for n in self.nodes if n.id == identity]
        came = self.input_outputs(identity) if nodes else []
        outputs = [*came, *(output for node in nodes or self.nodes for output in node.outputs)]
        return any(column.tags for output in outputs for column in output.schema)

    def decider(self) -> str | None:
        """Return the id of the destination that decides epochs, if one is direct."""
        direct = (i for i, g in self.guarantees.items() if g.mechanism == Mechanism.DIRECT)
        return next(direct, None)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; secrets stay references."""
        value = asdict(self)
        value["format"] = FORMAT
        for node, plain in zip(self.nodes, value["nodes"], strict=True):
            for output, plain_output in zip(node.outputs, plain["outputs"], strict=True):
                plain_output["schema"] = output.schema.to_json()
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; raise ValueError for another format."""
        if value.get("format") != FORMAT:
            raise ValueError(f"plan format {value.get('format')!r} is not {FORMAT}")
        return cls(
            workflow=value["workflow"],
            nodes=tuple(_node(n) for n in value["nodes"]),
            edges=tuple(Edge(**e) for e in value["edges"]),
            guarantees={
                k: Guarantee(Level(g["level"]), Mechanism(g["mechanism"]), g["reason"])
                for k, g in value["guarantees"].items()
            },
            settings=Settings(**value["settings"]),
            version=value["version"],
            directory=value["directory"],
            schedule=value["schedule"],
            metadata=value["metadata"],
            secrets=value.get("secrets", {}),
        )


def _node(value: Mapping[str, Any]) -> Node:
    return Node(
        id=value["id"],
        kind=NodeKind(value["kind"]),
        type=value["type"],
        config=value["config"],
        outputs=tuple(
            Output(o["name"], Schema.from_json(o["schema"]), EdgeKind(o["kind"]), tuple(o["key"]))
            for o in value["outputs"]
        ),
        on_error=ErrorPolicy(Action(value["on_error"]["action"]), value["on_error"]["rate_max"]),
        traits=value["traits"],
        place=Place(**value["place"]),
    )
