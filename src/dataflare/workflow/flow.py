"""What is known of a workflow's outputs: their schemas, what their rows mean, and who reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataflare.plan import Edge, Output

Outputs = dict[str, "Output"]


@dataclass(slots=True)
class Flow:
    """What is known of the outputs of each node.

    `outputs` has every node; `untyped` names those whose schemas are not known (an error told already, or a source
    that was not asked): nothing is checked behind them; of the `nameless` even the outputs are unknown. `codecs` are
    those in which outputs of sources can be had, `unjudged` those in which they can be had as bytes that nobody has
    judged.
    """

    outputs: dict[str, Outputs] = field(default_factory=dict)
    edges: dict[str, list[Edge]] = field(default_factory=dict)
    untyped: set[str] = field(default_factory=set)
    nameless: set[str] = field(default_factory=set)
    codecs: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    unjudged: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    def inputs(self, node: str) -> list[Output]:
        """Return what flows into a node, by port."""
        return [self.outputs[e.source][e.output] for e in self.edges.get(node, ())]

    def typed(self, node: str) -> bool:
        """Tell whether the schemas of all inputs of a node are known."""
        return all(e.source not in self.untyped for e in self.edges.get(node, ()))
