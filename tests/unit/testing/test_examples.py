"""The tests of a workflow file hold what they say: they pass, fail, and break for the reasons that they should."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dataflare.component import Registry
from dataflare.errors import InvalidWorkflowError
from dataflare.testing.examples import run_suite, suite_of

if TYPE_CHECKING:
    from pathlib import Path

    from dataflare.testing.examples import Result

WORKFLOW = """\
id: shop
sources:
  orders:
    type: file
    config: {path: nowhere/orders.csv, columns: {id: int64, email: string, amount: string, seen: timestamp}}
  people: {type: file, config: {path: nowhere/people.csv}}
transformations:
  clean:
    type: mapping
    inputs: [orders]
    config: {set: {amount: "cast(amount as decimal(12,2))", email: "lower(trim(email))"}}
    on_error: {action: dead_letter}
  split: {type: route, inputs: [clean], config: {routes: {big: amount > 1000, normal: "true"}, match: first}}
  total: {type: aggregate, inputs: [clean], config: {group_by: [email], aggregations: {total: sum(amount)}}}
  fresh: {type: filter, inputs: [clean], config: {condition: "seen > now() - interval 1 day"}}
destinations:
  normal: {type: file, inputs: [split.normal], config: {path: nowhere/normal, format: jsonl}}
  big: {type: file, inputs: [split.big], config: {path: nowhere/big, format: jsonl}}
  totals: {type: sqlite, inputs: [total], config: {path: nowhere.db, table: totals}}
  shown: {type: stdout, inputs: [fresh]}
  copied: {type: file, inputs: [people], config: {path: nowhere/people, format: jsonl}}
  dead: {type: file, inputs: [clean.errors], config: {path: nowhere/dead, format: jsonl}}
tests:
"""


def suite(folder: Path, tests: str, workflow: str = WORKFLOW):
    file = folder / "shop.yaml"
    file.write_text(workflow + tests)
    return suite_of(file, Registry.installed(), {})


def results(folder: Path, tests: str, workflow: str = WORKFLOW) -> list[Result]:
    found = suite(folder, tests, workflow)
    assert found is not None
    return list(run_suite(found))


def only(folder: Path, tests: str, workflow: str = WORKFLOW) -> Result:
    (result,) = results(folder, tests, workflow)
    return result


def told(folder: Path, tests: str, workflow: str = WORKFLOW) -> list[tuple[int, str]]:
    with pytest.raises(InvalidWorkflowError) as raised:
        results(folder, tests, workflow)
    return [(f.place.line, f.message) for f in raised.value.findings if f.severity == "error"]


GIVEN = """\
  - name: orders
    given:
      orders:
        - {id: 1, email: " A@X.COM", amount: "10.50"}
        - {id: 2, email: b@x.com, amount: "2000"}
        - {id: 3, email: b@x.com, amount: none}
"""


def test_rows_go_through_the_real_nodes_to_outputs_and_destinations_and_nothing_is_opened(tmp_path: Path) -> None:
    result = only(
        tmp_path,
        GIVEN
        + """\
    expect:
      clean: [{id: 2, amount: 2000}, {id: 1, email: a@x.com, amount: "10.5"}]
      split.normal: {rows: [{id: 1, email: a@x.com, amount: 10.5, seen: null}], exact: true}
      big: 1
      totals: {rows: [{email: {regex: "^a@"}, total: {close: 10.51, within: 0.02}}, {email: {contains: b}}]}
      orders: {rows: 3}
    expect_errors:
      clean: [{reason: {contains: DECIMAL}, node: clean}]
""",
    )
    assert result.failures == ()
    assert [p.name for p in tmp_path.iterdir()] == ["shop.yaml"]


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ("split.normal: [{id: 1, amount: 10.51}]", "split.normal: 1 row of 1 differs"),
        ("split.normal: [{id: 1}, {id: 1}]", "split.normal: 1 row missing"),
        ("split.normal: []", "split.normal: 1 row too many"),
        ("split.normal: 2", "split.normal has 1 row, not 2"),
        ("clean: {rows: [{id: 2}, {id: 1}], ordered: true}", "clean: 2 rows of 2 differ"),
        ("clean: {contains: [{id: 2}, {id: 9}]}", "clean lacks 1 row that should be there"),
        ("clean: {lacks: [{id: 2}]}", "clean has 1 row that should not be there"),
        ("clean: {each: {amount: {lt: 100}}}", "clean: 1 of 2 rows are not as each should be"),
        ("clean: {each: {seen: {null: false}}}", "clean: 2 of 2 rows are not as each should be"),
        ("clean: {empty: true}", "clean should have no rows, and has 2"),
        ("shown: {empty: false}", "shown should have rows, and has 0"),
        ("clean: {rows: [{id: 1}, {id: 2}], exact: true}", "clean: the row does not name email, amount, seen, and"),
        ("clean: [{id: 1}, {idd: 2}]", "clean: there is no column 'idd' (did you mean 'id'?)"),
        ("clean: [{id: 1}, {id: {regexp: x}}]", "clean: id: 'regexp' is not a condition (did you mean 'regex'?)"),
        ("clean: [{id: 1}, {id: two}]", "clean: row 2: "),
        ("clean: [{id: {one_of: [5, 6]}}, {id: {not: 1}}]", "clean: 1 row of 2 differs"),
    ],
)
def test_what_does_not_hold_is_told_where_it_is_expected(tmp_path: Path, expected: str, message: str) -> None:
    result = only(tmp_path, GIVEN + f"    expect:\n      {expected}\n")
    (failure,) = result.failures
    assert failure.message.startswith(message)
    lines = (tmp_path / "shop.yaml").read_text().splitlines()
    assert failure.place.file.endswith("shop.yaml")
    assert lines[failure.place.line - 1] == f"      {expected}"
    assert result.notes == (
        "clean rejected 1 row: column 'amount': the text is not of type DECIMAL(12,2) in cast(amount as decimal(12,2))",
    )


def test_a_difference_is_shown_row_by_row_and_column_by_column(tmp_path: Path) -> None:
    expected = "    expect: {clean: [{id: 1, email: x, amount: 10.5}, {id: 9, email: z, amount: 1}]}\n"
    (failure,) = only(tmp_path, GIVEN + expected).failures
    assert failure.difference == (
        "- id=1  email='x'  amount=10.50",
        "+ id=1  email='a@x.com'  amount=10.50",
        "    email: expected 'x', got 'a@x.com'",
        "- id=9  email='z'  amount=1.00",
        "+ id=2  email='b@x.com'  amount=2000.00",
    )


def test_conditions_find_their_rows_however_they_are_ordered(tmp_path: Path) -> None:
    expected = "    expect: {clean: [{id: {gt: 0}}, {id: {le: 1}}]}\n"  # the first must leave row 1 to the second
    assert only(tmp_path, GIVEN + expected).passed


def test_time_stands_still_at_now(tmp_path: Path) -> None:
    tests = """\
  - name: fresh ones
    now: "2026-01-02T00:00:00Z"
    given: {orders: [{id: 1, amount: 1, seen: "2026-01-01T12:00:00Z"}, {id: 2, amount: 1, seen: "2025-12-31T23:00Z"}]}
    expect: {shown: [{id: 1, seen: "2026-01-01T13:00:00+01:00"}]}
"""
    assert only(tmp_path, tests).failures == ()


def test_a_workflow_whose_rows_must_be_right_may_be_expected_to_fail(tmp_path: Path) -> None:
    workflow = WORKFLOW.replace("    on_error: {action: dead_letter}\n", "").replace("[clean.errors]", "[clean]")
    right, other, failing = results(
        tmp_path,
        """\
  - {name: right, given: {orders: [{amount: x}]}, expect_failure: decimal}
  - {name: other, given: {orders: [{amount: x}]}, expect_failure: no such thing}
  - {name: failing, given: {orders: [{amount: x}]}, expect: {clean: []}}
""",
        workflow,
    )
    assert right.passed
    assert [f.message for f in other.failures] == ["the run fails for another reason"]
    assert failing.failures[0].message.startswith("the run failed: ")


def test_columns_that_only_the_rows_of_the_tests_tell_are_the_same_in_all_tests_of_a_file(tmp_path: Path) -> None:
    first, second = results(
        tmp_path,
        """\
  - {name: one, given: {people: [{id: 1, born: "2001-01-01"}]}, expect: {copied: [{id: 1}]}}
  - {name: other, given: {people: [{id: 2.5}]}, expect: {copied: [{id: 2.5, born: null}]}}
""",
    )
    assert first.passed
    assert second.passed


def test_made_up_rows_are_typed_by_the_plan_and_the_same_for_a_seed(tmp_path: Path) -> None:
    tests = """\
  - name: made up
    generate: {orders: {rows: 500, seed: 3, values: {amount: ["1", "2.5", none]}, nulls: 0.2}}
    expect:
      orders: {rows: 500, each: {id: {null: false}, amount: {one_of: ["1", "2.5", none]}}}
      clean: {each: {amount: {one_of: [1, 2.5]}}}
      big: {empty: true}
"""
    assert only(tmp_path, tests).failures == ()
    found = suite(tmp_path, tests)
    assert found is not None
    from dataflare.testing.examples.generating import made_up

    schema = found.plan.node("orders").output().schema
    text = found.examples[0].generate["orders"]
    rows = made_up(schema, text, ())
    assert rows == made_up(schema, text, ())
    assert 50 < sum(row["seen"] is None for row in rows) < 150
    assert [row["id"] for row in rows] == list(range(1, 501))


def test_an_answer_takes_the_place_of_a_node_and_what_stands_before_it_is_not_run(tmp_path: Path) -> None:
    tests = """\
  - name: mocked
    mocks: {clean: [{id: 5, email: q, amount: "5000"}], clean.errors: [{error: bad, node: clean}]}
    expect: {big: [{id: 5}], total: [{total: 5000}], dead: [{error: bad}]}
"""
    assert only(tmp_path, tests).failures == ()


FAULTS = """\
  - name: survives
    given:
      orders: [{id: 1, email: a, amount: 1}, {id: 2, email: a, amount: 2}, {id: 3, email: b, amount: 3}]
    expect:
      totals: [{email: a, total: 3}, {email: b, total: 3}]
      normal: [{id: 1}, {id: 2}, {id: 3}]
"""


@pytest.mark.once
@pytest.mark.parametrize(
    "fault",
    [
        "{crash: every}",
        "{crash: sealed, epoch: 2}",
        "{fail: orders, times: 2, after_rows: 1}",
        "{fail: normal, at: commit}",
        "{fail: totals, at: write, times: 3}",
        "{fail: normal, at: prepare, after_rows: 1}",
        "{fail: totals, at: open}",
    ],
)
def test_rows_are_the_same_after_crashes_and_failures(tmp_path: Path, fault: str) -> None:
    assert only(tmp_path, f"{FAULTS}    faults: [{fault}]\n").failures == ()


def test_a_destination_that_repeats_rows_after_a_crash_fails_the_test_and_says_why(tmp_path: Path) -> None:
    tests = f"{FAULTS}    faults: [{{crash: prepared, epoch: 2}}]\n".replace("normal: [", "shown: [")
    workflow = WORKFLOW.replace('condition: "seen > now() - interval 1 day"', 'condition: "true"')
    result = only(tmp_path, tests, workflow)
    assert result.failures[0].message == "shown: 1 row too many (after a crash at prepared of epoch 2)"
    assert result.notes[0].startswith("shown is at_least_once: rows are visible as soon as they are written")


def test_a_fault_that_never_comes_fails_the_test(tmp_path: Path) -> None:
    result = only(tmp_path, f"{FAULTS}    faults: [{{crash: sealed, epoch: 50}}]\n")
    assert result.failures[0].message.startswith("the crash at sealed of epoch 50 never came: there were ")


def test_all_that_is_wrong_with_a_test_is_told_before_any_is_run(tmp_path: Path) -> None:
    tests = """\
  - name: wrong
    given: {order: [], normal: []}
    mocks: {cleen: []}
    expect: {split.huge: [], split: [], clean: 1}
    expect_errors: {split: 1}
    faults: [{fail: clean}]
  - name: wrong
    given: {orders: 3, people: [{id: 1}]}
    expect: {clean: {row: []}}
  - {name: empty, given: {}}
"""
    found = told(tmp_path, tests)
    assert [line for line, _ in found] == sorted(line for line, _ in found)
    assert {message for _, message in found} >= {"unknown key 'row'"}
    tests = tests.replace("{row: []}", "{rows: []}").replace("orders: 3", "orders: []")
    messages = [message for _, message in told(tmp_path, tests)]
    assert messages == [
        "there is no node 'order'",
        "'normal' is a destination, and a source is meant here",
        "there is no node 'cleen'",
        "'split' has no output 'huge'",
        "'split' has 2 outputs",
        "'split' has no output 'errors'",
        "'clean' is a processor, and a source or destination is meant here",
        "a test is named 'wrong' already, in line 24",
        "'empty' expects nothing",
    ]


def test_rows_that_do_not_fit_their_source_are_told_at_their_place(tmp_path: Path) -> None:
    tests = """\
  - name: misfits
    given:
      orders:
        - {id: 1}
        - {id: 1, amunt: "2"}
    expect: {clean: 1}
"""
    assert told(tmp_path, tests) == [(28, "row 2: there is no column 'amunt'")]
    assert told(tmp_path, tests.replace("amunt", "seen"))[0][1].startswith("row 2: ")


def test_columns_that_nobody_tells_are_asked_for_where_they_are_needed(tmp_path: Path) -> None:
    assert told(tmp_path, "  - {name: none, given: {orders: []}, expect: {copied: 0}}\n") == [
        (24, "the columns of people are not known, and 'copied' hangs on them")
    ]


def test_no_secret_is_asked_for_and_none_but_those_of_the_test_are_seen(tmp_path: Path) -> None:
    workflow = """\
id: masked
secrets: {vault: {type: env, prefix: REAL_}}
sources: {people: {type: file, tags: {email: pii.email}, config: {path: p.csv, columns: {email: string}}}}
transformations:
  masked:
    type: mask
    inputs: [people]
    config: {rules: {pii.email: {method: hmac_sha256, key: "${secret:vault/SALT}"}}}
destinations: {out: {type: stdout, inputs: [masked]}}
tests:
"""
    tests = """\
  - name: one
    secrets: {vault/SALT: a long enough pepper}
    given: {people: [{email: a}]}
    expect: {out: [{email: {regex: "^[0-9a-f]{64}$"}}]}
  - {name: other, given: {people: [{email: a}]}, expect: {out: {rows: 1, lacks: [{email: a}]}}}
"""
    assert [r.failures for r in results(tmp_path, tests, workflow)] == [(), ()]


def test_tests_may_stand_in_a_file_beside_the_workflow(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(WORKFLOW.removesuffix("tests:\n"))
    beside = tmp_path / "shop.test.yaml"
    beside.write_text("tests:\n" + GIVEN + "    expect: {clean: [{id: 7}]}\n")
    found = suite_of(beside, Registry.installed(), {})
    assert found is not None
    (result,) = run_suite(found)
    assert (result.failures[0].place.file, result.failures[0].place.line) == (str(beside), 8)
    assert suite_of(tmp_path / "shop.yaml", Registry.installed(), {}) is None


CHANGES = """\
id: shop
sources:
  orders:
    type: memory
    config: {columns: {id: int64, status: string, note: string}, changes: {key: [id], unchanged: [note]}, rows: []}
transformations:
  whole: {type: materialise, inputs: [orders], config: {emit: changes}}
  paid: {type: filter, inputs: [whole], config: {condition: status = 'paid'}}
destinations:
  out: {type: file, inputs: [paid], config: {path: nowhere/out.jsonl}}
tests:
"""


@pytest.mark.parametrize("fault", ["", "faults: [{crash: sealed, epoch: 1}]"])
def test_changes_go_in_and_out_as_rows_with_reserved_columns(tmp_path: Path, fault: str) -> None:
    tests = f"""
  - name: changes
    given:
      orders:
        - {{_op: read, id: 1, status: paid, note: first}}
        - {{_op: update, id: 1, status: paid, _unchanged: [note]}}
        - {{_op: update, id: 1, status: open, _unchanged: [note]}}
        - {{_op: truncate}}
    {fault}
    expect:
      out:
        rows:
          - {{_op: read, id: 1, note: first, _before: null}}
          - {{_op: update, id: 1, note: first, _before: {{id: 1, status: paid, note: first}}}}
          - {{_op: delete, id: 1}}
          - {{_op: truncate, id: null}}
        ordered: true
"""
    assert only(tmp_path, tests, CHANGES).passed


def test_generated_changes_are_inserts(tmp_path: Path) -> None:
    tests = "  - {name: made up, generate: {orders: {rows: 20, values: {status: [paid]}}}, expect: {out: {rows: 20, \
each: {_op: insert}}}}\n"
    result = only(tmp_path, tests, CHANGES)
    assert result.passed, result


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("{id: 1, status: paid}", "row 2: _op is none of read, insert, update, delete, truncate"),
        ("{_op: upsert, id: 1}", "row 2: _op is none of read, insert, update, delete, truncate"),
        ("{_op: delete, status: paid}", "row 2: column 'id' is null"),
    ],
)
def test_a_row_that_is_no_change_is_told_at_its_place(tmp_path: Path, row: str, what: str) -> None:
    given = f"given: {{orders: [{{_op: truncate}}, {row}]}}"
    tests = f"  - {{name: wrong, {given}, expect: {{out: {{rows: 1}}}}}}\n"
    assert [message for _, message in told(tmp_path, tests, CHANGES)] == [what]
