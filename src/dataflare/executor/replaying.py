"""Runs rejected rows through their node again: the plan in which they come in its input's place, and their source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from dataflare.batch import Batch
from dataflare.component import Config, SourceConnector, Split, Stream, processor, source
from dataflare.errors import DataError, Place, WorkflowError
from dataflare.executor.contract import REPLAY, Replay
from dataflare.plan import Edge, Node, NodeKind, Output, Plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from dataflare.batch import Position
    from dataflare.component import Registry

TYPE = "replayed"


@dataclass(frozen=True, slots=True)
class Letter:
    """A row that is replayed: its id, its node, the input by which it came (empty: the only one), and it as JSON."""

    id: str
    node: str
    row: str
    input: str = ""
    replays: int = 0


def replaying(plan: Plan, registry: Registry, number: int, letters: Sequence[Letter]) -> tuple[Plan, Registry, Replay]:
    """Return the plan of order `number`, the registry that has its sources, and what the run is to read.

    Everything of the plan stays, so that positions and state do; only the inputs of the nodes that rejected the rows
    come from the letters. Raises WorkflowError where a node cannot take rows again, DataError where a row does not fit.
    """
    by_edge: dict[Edge, list[Letter]] = {}
    for letter in letters:
        for edge in _edges(plan, letter):
            by_edge.setdefault(edge, []).append(letter)
    for name in dict.fromkeys(letter.node for letter in letters):
        _check_behind(plan, registry, name)
    edges = [*plan.edges]
    added: list[Node] = []
    tables: dict[str, pa.Table] = {}
    for place, (edge, group) in enumerate(by_edge.items()):
        output = replace(plan.node(edge.source).output(edge.output), name="")
        node = Node(f"{REPLAY}{number} {place}", NodeKind.SOURCE, TYPE, {}, (output,), traits={"mode": "replay"})
        tables[node.id] = _typed(group, output)
        added.append(node)
        edges = [replace(e, source=node.id, output="") if e == edge else e for e in edges]
    kind = type("Replayed", (_Replayed,), {"tables": tables, "__doc__": _Replayed.__doc__})
    known = registry.including(source(TYPE, replay="exact")(kind))
    sources = frozenset(tables)
    times = 1 + max((letter.replays for letter in letters), default=0)
    return replace(plan, nodes=(*added, *plan.nodes), edges=tuple(edges)), known, Replay(sources, times)


class _Replayed(SourceConnector[Config]):
    """Rows that were rejected before."""

    tables: ClassVar[dict[str, Any]]

    def declared(self) -> Mapping[str, Stream] | None:
        """The plan knows the columns."""
        return None

    def splits(self, since: Position | None) -> list[Split]:
        """All rows are one split."""
        return [] if since else [Split("rows")]

    def read(self, split: Split, since: Position | None, until: Position | None) -> Iterator[Batch]:
        """Yield all rows behind a position."""
        del split, until
        rows = self.tables[self.context.node]
        done = since["row"] if since else 0
        if done < rows.num_rows:
            yield Batch(rows.slice(done), "", {"row": rows.num_rows})


def _edges(plan: Plan, letter: Letter) -> list[Edge]:
    """Return the edges by which a row comes in: that by which it came, or all behind the source that rejected it."""
    known = {n.id: n for n in plan.nodes}
    node = known.get(letter.node)
    if node is None or node.kind is NodeKind.DESTINATION:
        raise WorkflowError(
            f"the workflow has no node {letter.node!r}, which rejected the row {letter.id}",
            hint=f"leave its rows out with --node, or drop them: dataflare dead-letter drop --node {letter.node}",
        )
    if node.kind is NodeKind.SOURCE:
        outputs = [o.name for o in node.outputs if o.name != "errors"]
        if len(outputs) != 1:
            what = f"{letter.node!r} has {len(outputs)} outputs; the rows that it could not read cannot be replayed"
            raise WorkflowError(what, hint="leave its rows out with --node", place=Place(path=letter.node))
        return [e for e in plan.outputs_of(letter.node) if e.output == outputs[0]]
    edges = plan.inputs_of(letter.node)
    named = [e for e in edges if letter.input in (f"{e.source}.{e.output}" if e.output else e.source, e.source)]
    if len(named) == 1 or len(edges) == 1:
        return named[:1] or edges
    listed = ", ".join(f"{e.source}.{e.output}" if e.output else e.source for e in edges)
    raise WorkflowError(
        f"it is not known by which input of {letter.node!r} the row {letter.id} came", hint=f"its inputs are {listed}"
    )


def _check_behind(plan: Plan, registry: Registry, name: str) -> None:
    """Refuse where the rows would meet a node that gathers rows, or a destination that each run replaces."""
    behind, left = set[str](), [name]
    while left:
        known = left.pop()
        if known not in behind:
            behind.add(known)
            left += [e.target for e in plan.edges if e.source == known and e.output != "errors"]
    for node in (n for n in plan.nodes if n.id in behind):
        where = node.place if node.place.file else Place(path=node.id)
        if node.kind is NodeKind.DESTINATION and node.traits.get("write_mode") == "overwrite":
            raise WorkflowError(
                f"{node.id!r} is replaced by each run, so rows of {name!r} cannot be added to it",
                hint="run the workflow again instead: it reads them again, and replaces all",
                place=where,
            )
        if node.kind is NodeKind.PROCESSOR and _needs_whole_runs(node, registry):
            raise WorkflowError(
                f"{node.id!r} needs the rows of a whole run, so those of {name!r} cannot go through it alone",
                hint="run the workflow again instead: it reads them again",
                place=where,
            )


def _needs_whole_runs(node: Node, registry: Registry) -> bool:
    """Tell whether a node gathers rows, or lets those of several inputs meet."""
    meets = bool(node.traits.get("lookup") or node.traits.get("ports"))
    return meets or "absorbed" in registry.find(processor, node.type).spec.traits.counts


def _typed(letters: Sequence[Letter], output: Output) -> pa.Table:
    from dataflare.formats.jsonl.decode import JsonlDecoder

    decoder = JsonlDecoder(output.schema)
    try:
        decoded = decoder.decode("".join(f"{' '.join(one.row.splitlines())}\n" for one in letters).encode())
    finally:
        decoder.close()
    if decoded.rejected:
        first = decoded.rejected[0]
        letter = letters[first.line]
        raise DataError(
            f"the row {letter.id} is not what {letter.node!r} takes: {first.reason}",
            hint=f"write it as JSON with the columns {', '.join(output.schema.names)}, and give it with --rows FILE",
            place=Place(path=letter.node),
        )
    return decoded.rows


__all__ = ["Letter", "replaying"]
