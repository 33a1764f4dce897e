"""Enrichment through the command line: nodes, rows, older files, and what `validate` tells."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.chaos.processes import dataflare, lines, run

if TYPE_CHECKING:
    from pathlib import Path

ORDERS = "id,customer_id,amount\n1,7,10\n2,8,20\n3,,30\n4,7,40\n"
CUSTOMERS = "id,segment\n7,gold\n9,iron\n"
HEAD = """
id: looked-up
guarantee: exactly_once
sources:
  orders: {type: file, config: {path: orders.csv, columns: {id: int64, customer_id: int64, amount: int64}}}
  customers: {type: file, config: {path: customers.csv, columns: {id: int32, segment: string}}}
transformations:
"""
TAIL = """
destinations:
  out: {type: file, inputs: [enriched], config: {path: out, format: jsonl}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "orders.csv").write_text(ORDERS)
    (tmp_path / "customers.csv").write_text(CUSTOMERS)
    return tmp_path


def looked_up(folder: Path, text: str) -> list[tuple[int, str | None]]:
    (folder / "workflow.yaml").write_text(text)
    done = run(folder)
    assert done.code == 0, done.err
    return sorted((r["id"], r.get("segment")) for r in lines(folder / "out"))


@pytest.mark.parametrize("parallelism", [1, 3])
def test_rows_are_looked_up_in_another_node(folder: Path, parallelism: int) -> None:
    node = "  enriched: {type: enrichment, inputs: [orders], lookup: customers, config: {keys: {customer_id: id}}}"
    head = HEAD.replace("sources:", f"runtime: {{parallelism: {parallelism}}}\nsources:", 1)
    assert looked_up(folder, head + node + TAIL) == [(1, "gold"), (2, None), (3, None), (4, "gold")]


def test_rows_that_are_dropped_are_counted(folder: Path) -> None:
    node = """
  enriched:
    type: enrichment
    inputs: [orders]
    lookup: customers
    config: {keys: {customer_id: id}, miss: drop}
"""
    (folder / "workflow.yaml").write_text(HEAD + node + TAIL)
    done = run(folder)
    assert done.code == 0, done.err
    assert done.rows("enriched") == {"in": 6, "out": 2, "filtered": 2, "absorbed": 2}


OLDER = """
id: older
sources:
  orders: {type: csv, config: {file_path: orders.csv, columns: {id: int64, customer_id: int64, amount: int64}}}
transforms:
  totals:
    inputs: [orders]
    type: aggregate
    config: {group_by: [customer_id], aggregations: [{source: amount, destination: total, function: sum}]}
  nested:
    inputs: [orders]
    type: map
    config: {mappings: [{source: customer_id, destination: user.id}, {source: amount, destination: user.amount}]}
  e1:
    inputs: [nested, totals]
    type: enrich
    config: {source_field: user.id, target_field: user.orders, lookup_key: customer_id}
sinks:
  out: {inputs: [e1], type: jsonl, config: {path: out}}
"""


def test_an_older_file_runs_unchanged_with_its_last_input_as_the_lookup(folder: Path) -> None:
    (folder / "workflow.yaml").write_text(OLDER)
    done = run(folder)
    assert done.code == 0, done.err
    users = {r["id"]: r["user"] for r in lines(folder / "out")}
    assert users[4] == {"id": 7, "amount": 40, "orders": {"total": 50}}
    assert users[3] == {"id": None, "amount": 30, "orders": None}


@pytest.mark.parametrize(
    ("field", "data"),
    [("customer_id", "[{customer_id: 7, segment: gold}]"), ("code", '{"7": {segment: gold}}')],
    ids=["rows", "map"],
)
def test_lookup_data_of_an_older_file_may_be_rows_or_a_map(folder: Path, field: str, data: str) -> None:
    nodes = f"""
  coded: {{type: map, inputs: [orders], config: {{set: {{code: cast(customer_id as text)}}}}}}
  enriched:
    type: enrich
    inputs: [coded]
    config: {{source_field: {field}, target_field: seen, lookup_key: customer_id, lookup_data: {data}}}
"""
    (folder / "workflow.yaml").write_text(HEAD + nodes + TAIL)
    done = run(folder)
    assert done.code == 0, done.err
    assert {r["id"]: r["seen"] for r in lines(folder / "out")}[1] == {"segment": "gold"}


def test_a_mistake_has_its_place_and_its_cure(folder: Path) -> None:
    node = "  enriched: {type: enrichment, inputs: [orders], lookup: customers, config: {keys: {customer_id: idd}}}"
    (folder / "workflow.yaml").write_text(HEAD + node + TAIL)
    done = dataflare(folder, "validate", "workflow.yaml", "--json")
    (finding,) = [f for f in json.loads(done.out)["findings"] if f["severity"] == "error"]
    assert (finding["line"], finding["hint"]) == (8, "did you mean 'id'?")
    assert "the lookup has no column 'idd'" in finding["message"]


def looking(origin: str) -> str:
    """Return the node that looks rows up outside of the workflow."""
    config = f"{{keys: {{customer_id: id}}, from: {origin}}}"
    return f"  enriched: {{type: enrichment, inputs: [orders], config: {config}}}"


def test_rows_are_looked_up_in_a_file(folder: Path) -> None:
    for name, settings in (("declared", ", columns: {id: int64, segment: string}"), ("asked", "")):
        origin = f"{{type: file, path: customers.csv{settings}}}"
        node = (
            f"  enriched: {{type: enrichment, inputs: [orders], config: {{keys: {{customer_id: id}}, from: {origin}}}}}"
        )
        text = (HEAD + node + TAIL).replace("looked-up", name).replace("path: out", f"path: {name}")
        (folder / "workflow.yaml").write_text(text)
        static = json.loads(dataflare(folder, "validate", "workflow.yaml", "--level", "static", "--json").out)
        assert static["valid"], static
        assert "looks rows up in file, where they may change meanwhile" in static["guarantees"]["out"]["reason"]
        assert static["guarantees"]["out"]["level"] == "exactly_once"
        assert run(folder).code == 0
        assert [r["segment"] for r in lines(folder / name)] == ["gold", None, None, "gold"]


def test_a_lookup_that_is_not_there_is_told_before_a_row_is_read(folder: Path) -> None:
    (folder / "workflow.yaml").write_text(HEAD + looking("{type: file, path: no.csv}") + TAIL)
    done = run(folder)
    assert (done.code, done.error["message"]) == (3, "enriched: there is no file no.csv")


def test_a_mistake_in_the_settings_of_a_lookup_is_told(folder: Path) -> None:
    (folder / "workflow.yaml").write_text(HEAD + looking("{type: file, pth: no.csv}") + TAIL)
    found = json.loads(dataflare(folder, "validate", "workflow.yaml", "--json").out)["findings"]
    (error,) = [f for f in found if f["severity"] == "error"]
    assert "from.path: Field required" in error["message"]
    assert "from.pth: Extra inputs are not permitted" in error["message"]
