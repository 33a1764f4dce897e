"""Draws a plan as an SVG picture: layers from left to right, boxes coloured by kind, no library needed."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from dataflare.plan import EdgeKind, NodeKind
from dataflare.workflow.description import described
from dataflare.workflow.layout import HEIGHT, WIDTH, Layout, layout, ports

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dataflare.plan import Node, Plan

_TITLE_MAX, _TYPE_MAX = 20, 24
_COLUMNS_MAX = 40
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
    ".edge{fill:none;stroke:#9aa4b2;stroke-width:1.6}"
    ".fused{stroke:#7a4fc4;stroke-width:4}.upsert,.retract{stroke-dasharray:6 4}.errors{stroke:#cf4f4f}"
)
_TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L8 4L0 8z" fill="#9aa4b2"/></marker></defs>'
)


def picture(
    plan: Plan,
    rows: Mapping[str, Mapping[str, int]] | None = None,
    fused: Collection[tuple[str, str]] = (),
) -> str:
    """Return an SVG document; `rows` are counts by node, such as `{"clean": {"rows_in": 10, "rows_out": 9}}`.

    `fused` are pairs of neighbours that run as one statement: the edge between them is drawn bold. A box tells its
    columns where the mouse rests on it.
    """
    found = layout(plan)
    width, height = found.size()
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" role="img">',
        f"<title>{escape(plan.workflow)}</title><style>{_STYLE}</style>",
        _TIP,
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>',
    ]
    labels: list[str] = []
    for number in range(len(plan.edges)):
        line, label = _edge(plan, number, found)
        edge = plan.edges[number]
        bold = (edge.source, edge.target) in fused
        parts.append(line.replace('class="edge ', 'class="edge fused ', 1) if bold else line)
        labels.append(label)
    for node in plan.nodes:
        x, y = found.x(found.columns[node.id]), found.middles[node.id] - HEIGHT / 2
        parts.append(_box(node, x, y, (rows or {}).get(node.id, {})))
    return "\n".join([*parts, *dict.fromkeys(filter(None, labels)), "</svg>"]) + "\n"


def _edge(plan: Plan, number: int, found: Layout) -> tuple[str, str]:
    edge = plan.edges[number]
    y1, y2 = ports(plan, found, edge)
    x = found.x(found.columns[edge.source]) + WIDTH
    path, y = f"M{x:g} {y1:g}", y1
    for lane in found.lanes[number]:
        left, middle = found.x(lane[1]), found.middles[lane]
        path += f"{_bend(x, y, left, middle)}H{left + WIDTH:g}"
        x, y = left + WIDTH, middle
    path += _bend(x, y, found.x(found.columns[edge.target]) - 2, y2)
    kind = plan.node(edge.source).output(edge.output).kind
    errors = " errors" if edge.output == "errors" else ""
    line = f'<path class="edge {kind.value}{errors}" d="{path}" marker-end="url(#tip)"/>'
    words = [edge.output] if edge.output else []
    words += [kind.value] if kind is not EdgeKind.APPEND else []
    if not words:
        return line, ""
    start = found.x(found.columns[edge.source]) + WIDTH + 7
    return line, f'<text class="label" x="{start:g}" y="{y1 - 5:g}">{escape(" · ".join(words))}</text>'


def _bend(x1: float, y1: float, x2: float, y2: float) -> str:
    half = (x2 - x1) / 2
    return f"C{x1 + half:g} {y1:g} {x2 - half:g} {y2:g} {x2:g} {y2:g}"


def _box(node: Node, x: float, y: float, counts: Mapping[str, int]) -> str:
    fill, line = _COLOURS[node.kind]
    shown = "  ".join(f"{k.removeprefix('rows_')} {v:,}" for k, v in counts.items() if v)
    middle = y + (21 if shown else 26)
    parts = [
        f"<g><title>{escape(_told(node))}</title>",
        f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="10" fill="{fill}" stroke="{line}"/>',
        f'<rect x="{x:g}" y="{y + 12:g}" width="4" height="{HEIGHT - 24}" rx="2" fill="{line}"/>',
        f'<text class="id" x="{x + 16:g}" y="{middle:g}">{escape(_short(node.id, _TITLE_MAX))}</text>',
        f'<text class="type" x="{x + 16:g}" y="{middle + 15:g}">{escape(_short(_type(node), _TYPE_MAX))}</text>',
    ]
    if shown:
        parts.append(f'<text class="rows" x="{x + 16:g}" y="{middle + 30:g}">{escape(_short(shown, _TYPE_MAX))}</text>')
    return "".join([*parts, "</g>"])


def _told(node: Node) -> str:
    """Return what is shown where the mouse rests on a box: the columns of each output, and what is not read."""
    lines = [f"{node.id} ({node.type})"]
    if node.traits.get("columns") is not None:
        lines.append(f"reads only {', '.join(node.traits['columns'])}")
    for output in node.outputs:
        lines += [f"{output.name}:"] if output.name else []
        lines += [described(c) for c in output.schema.columns[:_COLUMNS_MAX]]
        lines += ["..."] if len(output.schema.columns) > _COLUMNS_MAX else []
    return "\n".join(lines)


def _type(node: Node) -> str:
    detail = node.traits.get("mode") if node.kind is NodeKind.SOURCE else node.traits.get("write_mode")
    return f"{node.type} · {detail}" if detail and detail not in ("full", "append") else node.type


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
