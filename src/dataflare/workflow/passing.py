"""Finds the rows that pass through as bytes: from a source straight into destinations that take them as they are.

A source passes when every node behind it is a destination that shares a codec with each of its outputs, and a
destination when all that it gets passes, in the same columns. So the two sides of an edge always agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.plan_words import NodeKind

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from dataflare.plan import Edge
    from dataflare.workflow.drafts import Outline
    from dataflare.workflow.flow import Flow


def pass_through(outline: Outline, flow: Flow) -> dict[str, str]:
    """Return the codec by node, for sources and destinations alike; the workflow is typed and has no errors."""
    edges = [edge for listed in flow.edges.values() for edge in listed]
    offered = {codec: None for codecs in flow.codecs.values() for codec in codecs}
    settled: dict[str, str] = {}
    for codec in offered:
        free = [e for e in edges if e.source not in settled and e.target not in settled]
        settled |= dict.fromkeys(_nodes(outline, flow, free, codec), codec)
    return settled


def _nodes(outline: Outline, flow: Flow, edges: list[Edge], codec: str) -> set[str]:
    """Return the nodes of all edges that pass: one that does not takes the others of its two nodes with it."""
    passing = [e for e in edges if codec in flow.codecs.get((e.source, e.output), ()) and _takes(outline, e, codec)]
    refused = {node for e in edges if e not in passing for node in (e.source, e.target)}
    refused |= set(_mixed(flow, passing))
    while lost := [e for e in passing if e.source in refused or e.target in refused]:
        refused |= {node for e in lost for node in (e.source, e.target)}
        passing = [e for e in passing if e not in lost]
    return {node for e in passing for node in (e.source, e.target)}


def _takes(outline: Outline, edge: Edge, codec: str) -> bool:
    source, target = outline.drafts[edge.source], outline.drafts[edge.target]
    return (
        target.kind is NodeKind.DESTINATION
        and target.component is not None
        and codec in target.component.codecs()
        and not source.keeps_errors
    )


def _mixed(flow: Flow, passing: list[Edge]) -> Iterator[str]:
    """Yield the destinations whose inputs have different columns: bytes do not say which theirs are."""
    for target in {e.target for e in passing}:
        inputs = [[(c.name, c.type) for c in o.schema] for o in flow.inputs(target)]
        if any(columns != inputs[0] for columns in inputs):
            yield target


def unjudged(outline: Outline, flow: Flow, settled: Container[str]) -> Iterator[tuple[str, str]]:
    """Yield sources, but for those in `settled`, whose one reader reads their bytes itself, and the format of these."""
    for (source, output), codecs in flow.unjudged.items():
        edges = [e for listed in flow.edges.values() for e in listed if (e.source, e.output) == (source, output)]
        if source in settled or len(edges) != 1:
            continue
        target = outline.drafts[edges[0].target]
        component: Any = target.component
        if target.kind is not NodeKind.PROCESSOR or component is None or len(flow.edges[target.id]) != 1:
            continue
        takes = component.unjudged(flow.outputs[source][output].schema)
        shared = [codec for codec in codecs if codec in takes]
        if shared:
            yield source, shared[0]


__all__ = ["pass_through", "unjudged"]
