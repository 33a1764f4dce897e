"""Drawing and describing plans."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from tests.golden.stand_ins import REGISTRY

from dataflare.component import Registry
from dataflare.executor.graph import task_graph, told_stages
from dataflare.workflow import describe, load, picture
from dataflare.workflow.layout import HEIGHT, WIDTH, layout

PLAN = load(Path("tests/golden/workflows/sample.yaml"), registry=REGISTRY, environ={}).plan


def test_the_picture_is_well_formed_and_shows_every_node_edge_and_count():
    root = ET.fromstring(picture(PLAN, {"clean": {"rows_in": 12000, "rows_out": 11000}}))
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {n.id for n in PLAN.nodes} <= set(texts)
    assert "in 12,000  out 11,000" in texts
    assert "late" in texts
    edges = [p for p in root.iter("{http://www.w3.org/2000/svg}path") if "edge" in p.get("class", "")]
    assert len(edges) == len(PLAN.edges)


def test_boxes_do_not_overlap_and_edges_point_to_the_right():
    found = layout(PLAN)
    boxes = [(found.x(found.columns[n.id]), found.middles[n.id]) for n in PLAN.nodes]
    for i, (x, y) in enumerate(boxes):
        assert all(x2 != x or abs(y2 - y) >= HEIGHT for x2, y2 in boxes[i + 1 :])
    assert all(found.columns[e.source] < found.columns[e.target] for e in PLAN.edges)
    width, height = found.size()
    assert all(x > 0 and x + WIDTH < width and y > HEIGHT / 2 and y + HEIGHT / 2 < height for x, y in boxes)


def test_the_description_shows_nodes_types_and_guarantees():
    text = describe(PLAN)
    assert "email string #pii.email" in text
    assert "[upsert by id]" in text
    assert "merge by id" in text
    assert "lake         exactly_once  direct" in text


def test_wide_outputs_pushdown_and_fusion_are_told():
    text = """
id: wide
sources:
  in: {type: file, config: {path: a.csv, columns: {%s}}}
transformations:
  some: {type: filter, inputs: [in], config: {condition: "c1 > 1"}}
  more: {type: mapping, inputs: [some], config: {set: {sum: "c1 + c2 + c3 + c4"}, drop: [c9]}}
destinations:
  out: {type: file, inputs: [more], config: {path: out, format: csv}}
""" % ", ".join(f"c{n}: int64" for n in range(1, 10))  # noqa: UP031 - braces all over
    plan = load(text, registry=Registry.installed(), environ={}).plan
    told = told_stages(task_graph(plan, Registry.installed()))
    assert told == [{"tasks": 1, "nodes": ["in", "some", "more", "out"], "statements": [["some", "more"]]}]
    described = describe(plan, [("1", "in, some, more, out", "some+more")])
    assert "column of more" in described
    assert "c1 int64, c2 int64" in described
    drawn = ET.fromstring(picture(plan, fused={("some", "more")}))
    bold = [p for p in drawn.iter("{http://www.w3.org/2000/svg}path") if "fused" in p.get("class", "")]
    assert len(bold) == 1
    titles = [t.text for t in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert any("sum int64" in t and t.startswith("more (mapping)") for t in titles)


def test_what_a_source_leaves_out_is_told():
    text = """
id: narrow
sources:
  in: {type: file, config: {path: a.csv, columns: {a: int64, b: string, c: string}}}
transformations:
  k: {type: mapping, inputs: [in], config: {keep: [a]}}
destinations:
  out: {type: file, inputs: [k], config: {path: out, format: csv}}
"""
    plan = load(text, registry=Registry.installed(), environ={}).plan
    assert "in      columns a" in describe(plan)
    assert "reads only a" in picture(plan)
