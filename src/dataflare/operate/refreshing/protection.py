"""Says whether rows of a destination can be repaired, whether its workflow may run meanwhile, and what is left alone.

Rows are written as changes that happened at a place of the log which reading is not behind of (decision 0039). A
destination that keeps the place of each row (`changes: {tx: ...}`) then lets later changes win, and drops earlier ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataflare.changes import may_be_unchanged
from dataflare.component import destination
from dataflare.errors import WorkflowError
from dataflare.plan import NodeKind
from dataflare.sql.destination import SqlDestination

if TYPE_CHECKING:
    from dataflare.component import Registry
    from dataflare.plan import Node, Plan
    from dataflare.state.checkpoint import Proposal

FOLLOWING = ("cdc", "hybrid")


@dataclass(frozen=True, slots=True)
class Protection:
    """What holds for one destination.

    `source`: the node whose changes it follows ("": it follows none). `wants_lease`: the workflow must not run
    meanwhile, because of `reason`. `deletes`: rows that are gone in the source are removed. `first_reading`: the source
    reads its tables before it follows them, and must be through with that.
    """

    source: str = ""
    wants_lease: bool = True
    reason: str = ""
    deletes: bool = True
    first_reading: bool = False


def protection_of(plan: Plan, registry: Registry, node: Node) -> Protection:
    """Return what holds for a destination of a plan as it runs; raise WorkflowError where rows cannot be repaired."""
    kind: Any = registry.find(destination, node.type)
    if not issubclass(kind, SqlDestination) or node.traits.get("write_mode") != "merge":
        what = f"{node.id} does not merge rows by key, so that none can be repaired"
        raise WorkflowError(what, hint="run the workflow again; or write_mode: merge with a key, in a database")
    config = node.config
    sources = _sources(plan, node)
    following = [s for s in sources if s.traits.get("mode") in FOLLOWING]
    if not following:
        return Protection(reason="a run would write the same rows", deletes=config.get("deletes") != "ignore")
    if len(sources) > 1:
        what = f"{node.id} gets changes and rows of several sources, whose places in the log cannot be compared"
        raise WorkflowError(what, hint="let each source have a destination of its own")
    soft, ignores = (config.get("deletes") == word for word in ("soft", "ignore"))
    left_out = any(may_be_unchanged(o.schema) for o in plan.input_outputs(node.id))
    needs = left_out and not (soft or ignores)
    reason = ""
    if not config.get("changes", {}).get("tx"):
        reason = f"{node.id} does not keep the place of a row in the log (changes: {{tx: COLUMN}}): it could not tell "
        reason += "a later change from this one"
    elif needs:
        reason = (
            "the source leaves out values that did not change, and deleted rows leave no trace (deletes: soft would)"
        )
    reads_first = following[0].traits.get("mode") == "hybrid"
    return Protection(following[0].id, bool(reason), reason, not (ignores or needs), reads_first)


def refuse_first_reading(proposal: Proposal | None, source: str) -> None:
    """Raise WorkflowError unless a checkpoint says that the tables of a source are read, and changes are followed."""
    position = proposal.positions.get(source) if proposal is not None else None
    opened = position["open"] if position else []
    if not opened or any(grant.get("before") for grant in opened):
        what = f"{source} is not through with the first reading of its tables, which writes all rows anyhow"
        raise WorkflowError(what, hint="run the workflow until it follows changes; see: dataflare status")


def _sources(plan: Plan, node: Node) -> list[Node]:
    needed, found = {e.source for e in plan.inputs_of(node.id)}, set[str]()
    while needed:
        found |= needed
        needed = {e.source for name in needed for e in plan.inputs_of(name)} - found
    return [n for n in plan.of_kind(NodeKind.SOURCE) if n.id in found]


__all__ = ["FOLLOWING", "Protection", "protection_of", "refuse_first_reading"]
