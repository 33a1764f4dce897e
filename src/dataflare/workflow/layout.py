"""Finds a place for every box and every edge of a drawing: layers from left to right, edges in lanes of their own."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataflare.plan import NodeKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dataflare.plan import Edge, Plan

WIDTH, HEIGHT = 168, 58
GAP_X, GAP_Y = 112, 26
MARGIN = 28
_LANE = 6
_SWEEPS = 6

Item = str | tuple[int, int]
"""A node, or the lane of an edge (by number) through a layer."""


@dataclass(slots=True)
class Layout:
    """The middle of the left side of every box, and for every edge the heights at which it crosses layers."""

    columns: dict[str, int] = field(default_factory=dict)
    middles: dict[Item, float] = field(default_factory=dict)
    lanes: list[list[tuple[int, int]]] = field(default_factory=list)

    def x(self, column: int) -> float:
        """Return the left side of a column."""
        return MARGIN + column * (WIDTH + GAP_X)

    def size(self) -> tuple[float, float]:
        """Return width and height of the whole drawing."""
        last = max(self.columns.values(), default=0)
        lowest = max((self.middles[n] for n in self.columns), default=0.0)
        return self.x(last) + WIDTH + MARGIN, max(lowest + HEIGHT / 2, *self.middles.values(), 0) + MARGIN


def layout(plan: Plan) -> Layout:
    """Lay out a plan: few crossings, edges short and level where they can be."""
    found = Layout(columns=_columns(plan))
    layers: list[list[Item]] = [[] for _ in range(max(found.columns.values(), default=-1) + 1)]
    for node in plan.nodes:
        layers[found.columns[node.id]].append(node.id)
    before: dict[Item, list[Item]] = {}
    after: dict[Item, list[Item]] = {}
    for number, edge in enumerate(plan.edges):
        lanes = [(number, c) for c in range(found.columns[edge.source] + 1, found.columns[edge.target])]
        found.lanes.append(lanes)
        path: list[Item] = [edge.source, *lanes, edge.target]
        for lane in lanes:
            layers[lane[1]].append(lane)
        for left, right in itertools.pairwise(path):
            after.setdefault(left, []).append(right)
            before.setdefault(right, []).append(left)
    for sweep in range(_SWEEPS):
        neighbours, order = (before, layers) if sweep % 2 == 0 else (after, layers[::-1])
        _sort(layers, order, neighbours)
    _place(layers, before, after, found.middles)
    return found


def _columns(plan: Plan) -> dict[str, int]:
    """Put each node one layer behind its inputs, and destinations into the last layer."""
    depth: dict[str, int] = {}
    for node in plan.topological():
        depth[node.id] = 1 + max((depth[e.source] for e in plan.inputs_of(node.id)), default=-1)
    last = max(depth.values(), default=0)
    return {n.id: last if n.kind is NodeKind.DESTINATION else depth[n.id] for n in plan.nodes}


def _sort(layers: list[list[Item]], order: Iterable[list[Item]], neighbours: Mapping[Item, list[Item]]) -> None:
    rank = {item: float(i) for layer in layers for i, item in enumerate(layer)}
    for layer in order:
        wanted = {item: _mean([rank[n] for n in neighbours.get(item, ())], rank[item]) for item in layer}
        layer.sort(key=wanted.__getitem__)
        rank |= {item: float(i) for i, item in enumerate(layer)}


def _place(
    layers: list[list[Item]],
    before: Mapping[Item, list[Item]],
    after: Mapping[Item, list[Item]],
    middles: dict[Item, float],
) -> None:
    """Give every item its height: near its neighbours, apart from the items above it."""
    for layer in layers:
        _stack(layer, dict.fromkeys(layer, 0.0), middles)
    for sweep in range(_SWEEPS):
        neighbours, order = (before, layers) if sweep % 2 == 0 else (after, layers[::-1])
        for layer in order:
            wanted = {i: _mean([middles[n] for n in neighbours.get(i, ())], middles[i]) for i in layer}
            _stack(layer, wanted, middles)
    top = min((middles[i] - _height(i) / 2 for layer in layers for i in layer), default=0.0)
    for item in middles:
        middles[item] += MARGIN - top


def _stack(layer: list[Item], wanted: Mapping[Item, float], middles: dict[Item, float]) -> None:
    """Keep the order and the distances, and move the layer as a whole to where it is wanted."""
    bottom: float | None = None
    for item in layer:
        middle = wanted[item]
        if bottom is not None:
            middle = max(middle, bottom + GAP_Y + _height(item) / 2)
        middles[item] = middle
        bottom = middle + _height(item) / 2
    shift = _mean([wanted[i] - middles[i] for i in layer], 0.0)
    for item in layer:
        middles[item] += shift


def _height(item: Item) -> float:
    return HEIGHT if isinstance(item, str) else _LANE


def _mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def ports(plan: Plan, found: Layout, edge: Edge) -> tuple[float, float]:
    """Return the heights at which an edge leaves its source and enters its target; one output leaves at one place."""
    mine = plan.outputs_of(edge.source)
    outputs = sorted({e.output for e in mine}, key=lambda o: _goal(plan, found, edge.source, o))
    feeding = sorted(plan.inputs_of(edge.target), key=lambda e: found.middles[_previous(plan, found, e)])
    start = found.middles[edge.source] + _spread(outputs.index(edge.output), len(outputs))
    return start, found.middles[edge.target] + _spread(feeding.index(edge), len(feeding))


def _goal(plan: Plan, found: Layout, source: str, output: str) -> float:
    numbers = [i for i, e in enumerate(plan.edges) if e.source == source and e.output == output]
    nexts: list[Item] = [found.lanes[i][0] if found.lanes[i] else plan.edges[i].target for i in numbers]
    return _mean([found.middles[n] for n in nexts], 0.0)


def _previous(plan: Plan, found: Layout, edge: Edge) -> Item:
    lanes = found.lanes[plan.edges.index(edge)]
    return lanes[-1] if lanes else edge.source


def _spread(index: int, count: int) -> float:
    return HEIGHT * ((index + 1) / (count + 1) - 0.5)
