"""Each older form of a workflow is today's, said otherwise: both have the same plan."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dataflare.component import Registry
from dataflare.program.text import yaml_text
from dataflare.workflow import Loaded, load

ROWS = {
    "type": "memory",
    "config": {"rows": [{"id": 1, "status": "a"}], "columns": {"id": "int64", "status": "string"}},
}
TODAY: dict[str, Any] = {
    "id": "w",
    "sources": {
        "rows": ROWS,
        "csv": {
            "type": "file",
            "config": {"path": "a.csv", "format": "csv", "header": True, "columns": {"id": "int64"}},
        },
        "db": {"type": "sqlite", "mode": "full", "config": {"path": "x.db", "table": "t", "types": {}}},
    },
    "transformations": {
        "kept": {"type": "filter", "inputs": ["rows"], "config": {"condition": "id = 1 and status = 'a'"}},
        "named": {"type": "mapping", "inputs": ["kept"], "config": {"set": {"status": "lower(status)"}}},
        "looked": {
            "type": "enrichment",
            "inputs": ["named"],
            "config": {
                "keys": {"id": "id"},
                "rows": [{"id": 1, "name": "Ada"}],
                "into": "found",
                "multiple": "first",
            },
        },
    },
    "destinations": {
        "out": {"type": "file", "inputs": ["looked"], "config": {"path": "o.jsonl", "format": "jsonl"}},
        "table": {
            "type": "sqlite",
            "inputs": ["kept"],
            "write_mode": "merge",
            "key": ["id"],
            "batch": {"rows": 10, "period": "1m"},
            "config": {"path": "y.db", "table": "t"},
        },
        "csv_out": {"type": "file", "inputs": ["csv"], "config": {"path": "c.csv", "format": "csv", "header": False}},
    },
}


def planned(document: dict[str, Any]) -> Loaded:
    return load(f"# a workflow\n{yaml_text(document)}", registry=Registry.installed(), environ={})


def told(loaded: Loaded) -> Any:
    assert loaded.plan is not None, loaded.findings
    value = loaded.plan.to_json()
    for node in value["nodes"]:
        node["place"] = {}
    return value


def renamed(section: str, *words: tuple[str, str]) -> dict[str, Any]:
    """Return today's workflow with older words in a section or a node."""
    found = copy.deepcopy(TODAY)
    at = found
    for step in section.split(".") if section else ():
        at = at[step]
    for name, older in words:
        at[older] = at.pop(name)
    return found


def with_node(section: str, name: str, node: dict[str, Any]) -> dict[str, Any]:
    found = copy.deepcopy(TODAY)
    found[section][name] = node
    return found


LOOKED = TODAY["transformations"]["looked"]
TABLE = TODAY["destinations"]["table"]
OLDER = {
    "transforms": renamed("", ("transformations", "transforms")),
    "processors": renamed("", ("transformations", "processors")),
    "sinks": renamed("", ("destinations", "sinks")),
    "collection_mode": renamed("sources.db", ("mode", "collection_mode")),
    "a source csv": with_node(
        "sources",
        "csv",
        {"type": "csv", "config": {"file_path": "a.csv", "has_header": True, "columns": {"id": "int64"}}},
    ),
    "a destination csv": with_node(
        "destinations",
        "csv_out",
        {"type": "csv", "inputs": ["csv"], "config": {"file_path": "c.csv", "write_header": False}},
    ),
    "a destination jsonl": with_node(
        "destinations", "out", {"type": "jsonl", "inputs": ["looked"], "config": {"file_path": "o.jsonl"}}
    ),
    "== and &&": with_node(
        "transformations",
        "kept",
        {"type": "filter", "inputs": "rows", "config": {"condition": "id == 1 && status == 'a'"}},
    ),
    "map": with_node("transformations", "named", {**TODAY["transformations"]["named"], "type": "map"}),
    "enrich": with_node("transformations", "looked", {**LOOKED, "type": "enrich"}),
    "the older enrichment": with_node(
        "transformations",
        "looked",
        {
            "type": "enrich",
            "inputs": ["named"],
            "config": {
                "source_field": "id",
                "lookup_key": "id",
                "target_field": "found",
                "lookup_data": [{"id": 1, "name": "Ada"}],
            },
        },
    ),
    "merge_key": with_node(
        "destinations",
        "table",
        {
            **{k: v for k, v in TABLE.items() if k != "key"},
            "write_mode": {"type": "merge", "merge_key": "id"},
            "batch": {"size": 10, "flush_interval": "1m"},
        },
    ),
    "on_error as a word": with_node(
        "transformations", "kept", {**TODAY["transformations"]["kept"], "on_error": "fail"}
    ),
}


def without_config(value: Any) -> Any:
    """Leave out the texts of expressions and settings: the order of settings and `==` stay as they were written."""
    for node in value["nodes"]:
        node["config"] = sorted(node["config"])
    return value


@pytest.mark.parametrize("document", OLDER.values(), ids=OLDER)
def test_an_older_form_has_the_plan_of_todays(document: dict[str, Any]) -> None:
    assert without_config(told(planned(document))) == without_config(told(planned(TODAY)))


def test_an_older_name_is_noted() -> None:
    plan = planned({**TODAY, "name": "Old title"}).plan
    assert plan is not None
    assert plan.metadata == {"name": "Old title"}


def test_both_words_at_once_are_refused() -> None:
    document = {**TODAY, "sinks": TODAY["destinations"]}
    assert [f.code for f in planned(document).findings if f.severity == "error"] == ["workflow.duplicate_key"]


def test_the_older_name_of_the_kind_of_a_change_is_todays() -> None:
    node = {"type": "filter", "inputs": ["rows"], "config": {"condition": "cdc_operation != 'd'"}}
    (finding,) = [f for f in planned(with_node("transformations", "kept", node)).findings if f.severity == "error"]
    assert finding.message.startswith("kept: there is no column '_op'")
    document = with_node("transformations", "kept", node)
    document["sources"]["rows"]["config"]["columns"]["cdc_operation"] = "string"
    assert planned(document).plan is not None
