"""The JSON Schema takes every workflow that is right, and refuses the mistakes that a schema can see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from tests.docs.page import blocks_of
from tests.golden.stand_ins import REGISTRY

from dataflare.component import Registry
from dataflare.workflow.findings import Findings
from dataflare.workflow.json_schema import workflow_schema
from dataflare.workflow.reading import read_document

ROOT = Path(__file__).parents[3]
GLOBS = ("src/dataflare/cli/templates/*/workflow.yaml", "examples/**/*.yaml", "benchmarks/workflows/*.yaml")
FILES = {str(p.relative_to(ROOT)): p.read_text() for glob in GLOBS for p in sorted(ROOT.glob(glob))}
PAGES = {
    f"{page.relative_to(ROOT)}, block {number}": block.text
    for page in [*sorted(ROOT.glob("docs/**/*.md")), ROOT / "README.md"]
    for number, block in enumerate(blocks_of(page))
    if block.language == "yaml" and block.text.startswith("id:") and "typo" not in block.title
}
GOLDEN = ROOT / "tests" / "golden"
SEEN = ("workflow.unknown_key", "workflow.not_one_of", "workflow.missing_key", "workflow.node_name", "workflow.empty")
"""Codes of mistakes that a schema can see, wherever they are."""


def plain(text: str, *, as_json: bool = False) -> Any:
    document = read_document(text, Findings(), json=as_json)
    assert document is not None
    return document.plain()


@pytest.fixture(scope="module")
def schema() -> Any:
    return jsonschema_rs.validator_for(workflow_schema(Registry.installed()))


@pytest.fixture(scope="module")
def golden_schema() -> Any:
    return jsonschema_rs.validator_for(workflow_schema(REGISTRY))


def wrong(schema: Any, value: Any) -> list[str]:
    return [f"{'.'.join(map(str, e.instance_path))}: {e.message}" for e in schema.iter_errors(value)]


@pytest.mark.parametrize("text", (FILES | PAGES).values(), ids=FILES | PAGES)
def test_every_example_is_taken(schema: Any, text: str) -> None:
    assert wrong(schema, plain(text)) == []


@pytest.mark.parametrize("name", ["older.yaml", "sample.yaml"])
def test_the_sample_and_an_older_file_are_taken(golden_schema: Any, name: str) -> None:
    assert wrong(golden_schema, plain((GOLDEN / "workflows" / name).read_text())) == []


def test_there_are_many_examples() -> None:
    assert len(FILES) > 10
    assert len(PAGES) > 10


@pytest.mark.parametrize("name", ["mistakes.yaml", "wrong.json", "schedules.yaml"])
def test_golden_mistakes_that_a_schema_can_see_are_refused(schema: Any, name: str) -> None:
    folder = GOLDEN / "findings"
    value = plain((folder / name).read_text(), as_json=name.endswith(".json"))
    told = [json.loads(line) for line in (folder / f"{name}.said.jsonl").read_text().splitlines()]
    places = [".".join(map(str, e.instance_path)) for e in schema.iter_errors(value)]
    for finding in told:
        if finding["code"] in SEEN and not finding["path"].startswith("tests"):
            path = finding["path"].replace("[", ".").replace("]", "")
            above = path.rpartition(".")[0]
            assert any(p in (path, above) or (p and path.startswith(f"{p}.")) for p in places), finding


BASE: dict[str, Any] = {
    "id": "w",
    "sources": {"rows": {"type": "file", "config": {"path": "a.csv"}}},
    "destinations": {"out": {"type": "file", "inputs": ["rows"], "config": {"path": "b"}}},
}


def changed(path: str, value: Any) -> Any:
    found = json.loads(json.dumps(BASE))
    *steps, last = path.split(".")
    at = found
    for step in steps:
        at = at.setdefault(step, {})
    at[last] = value
    return found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("runtime.checkpoint.interval", 10),
        ("runtime.checkpoint.interval", "10"),
        ("runtime.checkpoint.interval", "5 parsecs"),
        ("runtime.budget.memory", "1GX"),
        ("runtime.parallelism", 0),
        ("sources.rows.config.paht", "x"),
        ("sources.rows.config", {}),
        ("sources.a b", {"type": "file", "config": {"path": "x"}}),
        ("sources.rows.on_error", "dead_leter"),
        ("destinations.out.inputs", 3),
        ("transforms.x", {"type": "map", "config": {"stt": {}}}),
        ("sources.rows", {"type": "csv", "config": {"file_path": "x", "has_haeder": True}}),
        ("tests", [{"nam": "x"}]),
        ("sinks", 3),
    ],
)
def test_a_mistake_is_refused(schema: Any, path: str, value: Any) -> None:
    assert wrong(schema, BASE) == []
    assert wrong(schema, changed(path, value)) != []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("runtime.checkpoint.interval", "1m30s"),
        ("runtime.checkpoint.interval", "${INTERVAL}"),
        ("runtime.budget.memory", "512MiB"),
        ("runtime.parallelism", "${N:-2}"),
        ("version", 1.1),
        ("destinations.out.inputs", "rows"),
        ("destinations.out.on_error", {"action": "fail"}),
        ("destinations.out.write_mode", {"type": "merge", "merge_key": "id"}),
        ("destinations.out.batch", {"size": 10, "flush_interval": "1m"}),
        ("sources.rows.on_error", "skip"),
        ("sources.rows", {"type": "csv", "config": {"file_path": "x", "has_header": True}}),
        ("sources.rows", {"type": "python:mine.rows:Rows", "config": {"anything": 1}}),
        ("transforms.x", {"type": "enrich", "inputs": ["rows"], "config": {"source_field": "a", "lookup_data": {}}}),
    ],
)
def test_a_shorter_or_older_form_is_taken(schema: Any, path: str, value: Any) -> None:
    assert wrong(schema, changed(path, value)) == []
