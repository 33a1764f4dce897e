"""A mistake is told once, with its cure, not again in what follows from it; the rest is checked all the same."""

from __future__ import annotations

import pytest

from dataflare.component import Registry
from dataflare.workflow import load

REGISTRY = Registry.installed()
TEXT = """id: base
sources:
  orders:
    type: file
    config: {path: orders.csv, columns: {id: int64, customer: int64, amount: int64}}
  customers:
    type: file
    config: {path: customers.csv, columns: {id: int64, name: string}}
transformations:
  big:
    type: filter
    inputs: [orders]
    config: {condition: "amount > 10"}
  named:
    type: enrichment
    inputs: [big]
    lookup: customers
    on_error: {action: dead_letter}
    config: {keys: {customer: id}, take: [name]}
  counts:
    type: aggregate
    inputs: [named]
    config: {group_by: [name], aggregations: {n: count(*)}}
destinations:
  lake:
    type: file
    inputs: [counts]
    config: {path: lake, format: parquet}
  dead:
    type: file
    inputs: ["*.errors"]
    config: {path: dead, format: jsonl}
"""


def said(text: str) -> list[tuple[int, str, str]]:
    """Return line, message and hint of all findings."""
    return [(f.place.line, f.message, f.hint) for f in load(text, registry=REGISTRY, environ={}).findings]


def changed(*changes: tuple[str, str]) -> str:
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def test_the_workflow_itself_is_right() -> None:
    assert said(TEXT) == []


@pytest.mark.parametrize(
    ("old", "new", "meant"),
    [
        ("inputs: [orders]", "inptus: [orders]", "inputs"),
        ("inputs: [orders]", "input: orders", "inputs"),
        ("inputs: [counts]", "imputs: [counts]", "inputs"),
        ("lookup: customers", "lokup: customers", "lookup"),
        ("type: filter", "tpye: filter", "type"),
        ("type: file", "typ: file", "type"),
        ("on_error: {action: dead_letter}", "on_eror: dead_letter", "on_error"),
        ("{action: dead_letter}", "{acton: dead_letter}", "action"),
        ("config: {condition", "confg: {condition", "config"),
        ("condition:", "conditon:", "condition"),
        ("path: orders.csv", "pth: orders.csv", "path"),
        ("sources:", "source:", "sources"),
        ("transformations:", "tranformations:", "transformations"),
        ("destinations:", "Destinations:", "destinations"),
        ("    inputs: [orders]", "    inputs: [orders]\n    input: [orders]", "inputs"),
    ],
)
def test_a_misspelled_key(old: str, new: str, meant: str) -> None:
    ((_, message, hint),) = said(changed((old, new)))
    assert message.startswith("unknown key ")
    assert hint == f"did you mean {meant!r}?"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("inputs: [orders]", "from: [orders]", "unknown key 'from'"),
        ("inputs: [orders]", "inputs: [ordres]", "there is no node 'ordres'"),
        ("inputs: [orders]", "inputs:", "inputs: must be a list"),
        ("inputs: [orders]", "inputs: 5", "inputs: must be a list"),
        ("    inputs: [orders]\n", "", "'big' has no inputs"),
        ("inputs: [big]", "inputs: [named]", "'named' is its own input"),
        ("inputs: [orders]", "inputs: [named]", "nodes feed each other in a circle: big <- named <- big"),
        ("inputs: [orders]", "inputs: [orders, custmers]", "there is no node 'custmers'"),
        ("lookup: customers", "lookup: custmers", "there is no node 'custmers'"),
        ("lookup: customers", "lookup: big", "'big' is an input twice"),
        ("type: enrichment", "type: enrichmnt", "no processor named 'enrichmnt'"),
        ("action: dead_letter", "action: deadletter", "'deadletter' is not one of fail, skip, null, dead_letter"),
        ('config: {condition: "amount > 10"}', 'condition: "amount > 10"', "unknown key 'condition'"),
        ("    inputs: [orders]\n    config: {", "    config: {inputs: [orders], ", "unknown key 'inputs'"),
        ("config: {keys", "config: {mode: fast, keys", "unknown key 'mode'"),
    ],
)
def test_any_other_mistake(old: str, new: str, message: str) -> None:
    assert [m for _, m, _ in said(changed((old, new)))] == [message]


def test_dead_letters_that_were_meant_are_not_missed_by_their_name_either() -> None:
    text = changed(("action: dead_letter", "action: deadletter"), ('"*.errors"', "named.errors"))
    assert len(said(text)) == 1


def test_what_stands_behind_a_misspelled_key_is_checked() -> None:
    text = changed(("inputs: [orders]", "inptus: [ordres]"), ('condition: "amount', 'conditon: "amuont'))
    assert [m.split("\n")[0] for _, m, _ in said(text)] == [
        "unknown key 'inptus'",
        "there is no node 'ordres'",
        "unknown key 'conditon'",
    ]
    text = changed(("inputs: [orders]", "inptus: [orders]"), ('condition: "amount', 'conditon: "amuont'))
    assert [m.split("\n")[0] for _, m, _ in said(text)] == [
        "unknown key 'inptus'",
        "unknown key 'conditon'",
        "big: there is no column 'amuont'",
    ]


def test_each_of_several_misspelled_keys_is_told_with_all_that_is_wrong_beside_it() -> None:
    text = changed(("path: orders.csv, columns", "pth: orders.csv, header: perhaps, nonsense: 1, colums"))
    assert [m for _, m, _ in said(text)] == [
        "unknown key 'pth'",
        "header: must be true or false",
        "unknown key 'nonsense'",
        "unknown key 'colums'",
    ]


def test_a_key_that_is_like_none_is_not_taken_for_one() -> None:
    text = changed(("id: base", "id: base\nsteps: 1"))
    assert [m for _, m, _ in said(text)] == ["unknown key 'steps'"]


def test_what_leads_nowhere_is_told_when_all_inputs_are_known() -> None:
    text = changed(("  big:", "  other: {type: file, config: {path: o.csv, columns: {a: int64}}}\n  big:"))
    text = text.replace("transformations:\n  other", "  other").replace("  big:", "transformations:\n  big:", 1)
    assert [m for _, m, _ in said(text)] == ["'other' leads nowhere"]
    text = text.replace("amount > 10", "amuont > 10")
    assert [m.split("\n")[0] for _, m, _ in said(text)] == ["'other' leads nowhere", "big: there is no column 'amuont'"]
