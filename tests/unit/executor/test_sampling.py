"""A sample judges the rows that ask a lookup, not those of the lookup itself, and reads enough of the latter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dataflare.component import Registry
from dataflare.executor import sampling
from dataflare.executor.previewing import first_rows
from dataflare.executor.sampling import sample_rows
from dataflare.program import Workflow
from dataflare.workflow import load

if TYPE_CHECKING:
    from pathlib import Path

    from dataflare.plan import Plan

REGISTRY = Registry.installed()
TEXT = """
id: looked
sources:
  orders: {{type: file, config: {{path: orders.csv, columns: {{id: int64, customer: int64}}}}}}
  customers: {{type: file, config: {{path: customers.csv, columns: {{customer: int64, name: string}}}}}}
transformations:
  named:
    type: enrichment
    inputs: [orders]
    lookup: customers
    {policy}
    config: {{{settings}}}
destinations:
  out: {{type: stdout, inputs: [named]}}
"""


BY_CUSTOMER = "keys: {customer: customer}, take: [name], "


def planned(folder: Path, settings: str, *, policy: str = "on_error: skip") -> Plan:
    """Return the plan of two orders in three of a customer that is there, of 3,000."""
    orders = "".join(f"{n},{2_999 if n % 3 else 3_000}\n" for n in range(30))
    customers = "".join(f"{n},c{n}\n" for n in range(3_000))
    (folder / "orders.csv").write_text(f"id,customer\n{orders}")
    (folder / "customers.csv").write_text(f"customer,name\n{customers}")
    file = folder / "w.yaml"
    file.write_text(TEXT.format(settings=settings, policy=policy))
    loaded = load(file, registry=REGISTRY, environ={}, level="plan")
    assert loaded.plan is not None, "\n".join(map(str, loaded.findings))
    return loaded.plan


@pytest.mark.parametrize("wait", ["true", "false"])
def test_only_the_rows_that_ask_are_counted(tmp_path: Path, wait: str) -> None:
    plan = planned(tmp_path, f"{BY_CUSTOMER}miss: dead_letter, wait: {wait}", policy="on_error: dead_letter")
    (finding,) = sample_rows(plan, REGISTRY).findings
    reason = "there is no row in the lookup (customer)"
    assert finding.message == f"named: 10 of 30 sampled rows are rejected; the first: {reason}"
    assert finding.severity == "warning"


def test_rows_that_look_themselves_up_are_counted_once(tmp_path: Path) -> None:
    workflow = Workflow("selves", directory=tmp_path, registry=REGISTRY)
    numbers = workflow.source("numbers", "memory", {"rows": [{"n": n} for n in range(30)], "columns": {"n": "int64"}})
    more = numbers.then("more", "mapping", {"set": {"n": "n + 10"}})
    settings = {"keys": {"n": "n"}, "take": {"other": "n"}, "miss": "dead_letter"}
    found = numbers.then("found", "enrichment", settings, lookup=more, on_error="dead_letter")
    found.into("out", "stdout")
    (finding,) = sample_rows(workflow.plan("plan"), REGISTRY).findings
    assert finding.message.startswith("found: 10 of 30 sampled rows are rejected")


def test_what_a_lookup_lacks_is_no_error_where_only_a_part_of_it_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(tmp_path, BY_CUSTOMER + "miss: fail")
    (finding,) = sample_rows(plan, REGISTRY).findings
    assert finding.severity == "error"
    monkeypatch.setattr(sampling, "LOOKUP_ROWS_MAX", 100)
    (finding,) = sample_rows(plan, REGISTRY).findings
    assert finding.severity == "info"
    assert finding.message.endswith(" (not all rows of customers were read)")


def test_what_a_lookup_lacks_is_no_error_where_it_was_not_read_at_all(tmp_path: Path) -> None:
    workflow = Workflow("endless", directory=tmp_path, registry=REGISTRY)
    orders = workflow.source("orders", "memory", {"rows": [{"n": 1}], "columns": {"n": "int64"}})
    (tmp_path / "names.csv").write_text("n,name\n1,one\n")
    settings = {"path": "names.csv", "columns": {"n": "int64", "name": "string"}}
    names = workflow.source("names", "file", settings, mode="streaming")
    asked = {"keys": {"n": "n"}, "miss": "fail", "wait": False}
    orders.then("named", "enrichment", asked, lookup=names).into("out", "stdout")
    (finding,) = sample_rows(workflow.plan("plan"), REGISTRY).findings
    assert (finding.severity, finding.message[-34:]) == ("info", " (not all rows of names were read)")


def test_a_preview_finds_rows_far_down_in_a_lookup(tmp_path: Path) -> None:
    plan = planned(tmp_path, BY_CUSTOMER + "miss: drop")
    assert first_rows(plan, REGISTRY, "named", 1).to_pylist() == [{"id": 1, "customer": 2_999, "name": "c2999"}]


def test_rejected_rows_of_every_batch_are_counted(tmp_path: Path) -> None:
    (tmp_path / "numbers.csv").write_text("n\n" + "".join(f"{n}\n" for n in range(1000)))
    workflow = Workflow("many", directory=tmp_path, registry=REGISTRY)
    settings = {"path": "numbers.csv", "columns": {"n": "int64"}, "split_bytes": "1KiB"}
    odd = workflow.source("numbers", "file", settings).then(
        "odd", "validate", {"rules": {"odd": {"check": "n % 2 = 1"}}}, on_error="dead_letter"
    )
    odd.into("out", "stdout")
    (finding,) = sample_rows(workflow.plan("plan"), REGISTRY).findings
    assert finding.message.startswith("odd: 500 of 1000 sampled rows are rejected")
