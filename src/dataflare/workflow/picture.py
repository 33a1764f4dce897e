"""Draws a plan as an SVG picture: layers from left to right, boxes coloured by kind, no library needed."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from dataflare.plan import Edge, EdgeKind, NodeKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.plan import Node, Plan

_WIDTH, _HEIGHT = 168, 58
_GAP_X, _GAP_Y = 96, 26
_MARGIN = 28
_SWEEPS = 4
_TITLE_MAX, _TYPE_MAX = 20, 24
_COLOURS = {
    NodeKind.SOURCE: ("#e8f1fd", "#2f6fcf"),
    NodeKind.PROCESSOR: ("#f1ecfb", "#7a4fc4"),
    NodeKind.DESTINATION: ("#e6f6ec", "#2c8a52"),
}
_STYLE = (
    "text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif}"
    ".id{font-size:14px;font-weight:600;fill:#1c2330}.type{font-size:11px;fill:#5a6472}"
    ".rows{font-size:11px;fill:#1c2330;font-variant-numeric:tabular-nums}"
    ".label{font-size:11px;fill:#5a6472;paint-order:stroke;stroke:#fff;stroke-width:4px}"
    ".edge{fill:none;stroke:#9aa4b2;stroke-width:1.6}.upsert,.retract{stroke-dasharray:6 4}.errors{stroke:#cf4f4f}"
)
_TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L8 4L0 8z" fill="#9aa4b2"/></marker></defs>'
)


@dataclass(frozen=True, slots=True)
class _Spot:
    """The upper left corner of a box."""

    x: float
    y: float


def picture(plan: Plan, rows: Mapping[str, Mapping[str, int]] | None = None) -> str:
    """Return an SVG document; `rows` are counts by node, such as `{"clean": {"rows_in": 10, "rows_out": 9}}`."""
    spots = _layout(plan)
    width = max((s.x for s in spots.values()), default=0) + _WIDTH + _MARGIN
    height = max((s.y for s in spots.values()), default=0) + _HEIGHT + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" role="img">',
        f"<title>{escape(plan.workflow)}</title><style>{_STYLE}</style>",
        _TIP,
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>',
    ]
    labels: list[str] = []
    for edge in plan.edges:
        line, label = _edge(plan, edge, spots)
        parts.append(line)
        labels.append(label)
    parts += [_box(node, spots[node.id], (rows or {}).get(node.id, {})) for node in plan.nodes]
    return "\n".join([*parts, *filter(None, labels), "</svg>"]) + "\n"


def _layout(plan: Plan) -> dict[str, _Spot]:
    """Put each node a layer behind its inputs, and order layers so that few edges cross."""
    layers = _layers(plan)
    before = {n.id: [e.source for e in plan.inputs_of(n.id)] for n in plan.nodes}
    after = {n.id: [e.target for e in plan.outputs_of(n.id)] for n in plan.nodes}
    for sweep in range(_SWEEPS):
        neighbours, order = (before, layers) if sweep % 2 == 0 else (after, layers[::-1])
        rank = {n: i for layer in layers for i, n in enumerate(layer)}
        for layer in order:
            layer.sort(key=lambda n: _mean([rank[m] for m in neighbours[n]], rank[n]))
            rank |= {n: i for i, n in enumerate(layer)}
    tallest = max((len(layer) for layer in layers), default=0)
    spots: dict[str, _Spot] = {}
    for column, layer in enumerate(layers):
        top = _MARGIN + (tallest - len(layer)) * (_HEIGHT + _GAP_Y) / 2
        for row, name in enumerate(layer):
            spots[name] = _Spot(_MARGIN + column * (_WIDTH + _GAP_X), top + row * (_HEIGHT + _GAP_Y))
    return spots


def _layers(plan: Plan) -> list[list[str]]:
    depth: dict[str, int] = {}
    for node in plan.topological():
        depth[node.id] = 1 + max((depth[e.source] for e in plan.inputs_of(node.id)), default=-1)
    last = max(depth.values(), default=0)
    layers: list[list[str]] = [[] for _ in range(last + 1)]
    for node in plan.nodes:
        layers[last if node.kind is NodeKind.DESTINATION else depth[node.id]].append(node.id)
    return [layer for layer in layers if layer]


def _mean(values: list[int], default: int) -> float:
    return sum(values) / len(values) if values else default


def _edge(plan: Plan, edge: Edge, spots: Mapping[str, _Spot]) -> tuple[str, str]:
    start, end = spots[edge.source], spots[edge.target]
    x1, y1 = start.x + _WIDTH, start.y + _HEIGHT / 2
    feeding = plan.inputs_of(edge.target)
    spread = _HEIGHT / (len(feeding) + 1)
    x2, y2 = end.x - 2, end.y + spread * (feeding.index(edge) + 1)
    bend = max(_GAP_X / 2, (x2 - x1) / 2.4)
    kind = plan.node(edge.source).output(edge.output).kind
    errors = " errors" if edge.output == "errors" else ""
    path = f"M{x1:g} {y1:g}C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}"
    line = f'<path class="edge {kind.value}{errors}" d="{path}" marker-end="url(#tip)"/>'
    words = [edge.output] if edge.output else []
    words += [kind.value] if kind is not EdgeKind.APPEND else []
    if not words:
        return line, ""
    x, y = x1 + (x2 - x1) * 0.5, y1 + (y2 - y1) * 0.5 - 4
    return line, f'<text class="label" x="{x:g}" y="{y:g}" text-anchor="middle">{escape(" · ".join(words))}</text>'


def _box(node: Node, spot: _Spot, counts: Mapping[str, int]) -> str:
    fill, line = _COLOURS[node.kind]
    x, y = spot.x, spot.y
    shown = "  ".join(f"{k.removeprefix('rows_')} {v:,}" for k, v in counts.items() if v)
    middle = y + (21 if shown else 26)
    parts = [
        f"<g><title>{escape(f'{node.id} ({node.type})')}</title>",
        f'<rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="10" fill="{fill}" stroke="{line}"/>',
        f'<rect x="{x:g}" y="{y + 12:g}" width="4" height="{_HEIGHT - 24}" rx="2" fill="{line}"/>',
        f'<text class="id" x="{x + 16:g}" y="{middle:g}">{escape(_short(node.id, _TITLE_MAX))}</text>',
        f'<text class="type" x="{x + 16:g}" y="{middle + 15:g}">{escape(_short(_type(node), _TYPE_MAX))}</text>',
    ]
    if shown:
        parts.append(f'<text class="rows" x="{x + 16:g}" y="{middle + 30:g}">{escape(_short(shown, _TYPE_MAX))}</text>')
    return "".join([*parts, "</g>"])


def _type(node: Node) -> str:
    detail = node.traits.get("mode") if node.kind is NodeKind.SOURCE else node.traits.get("write_mode")
    return f"{node.type} · {detail}" if detail and detail not in ("full", "append") else node.type


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
