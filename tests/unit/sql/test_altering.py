"""What a table lacks of the columns that come is found by comparing, and only what loses nothing is altered unasked."""

from __future__ import annotations

from typing import Any

import pytest

from dataflare.schema import Column, Schema
from dataflare.sql.altering import Comparison, Orders
from dataflare.sql.dialect import Defined, Dialect, Table
from dataflare.sql.duckdb_types import DUCKDB
from dataflare.sql.maria_types import MARIADB
from dataflare.sql.postgres_types import POSTGRES
from dataflare.sql.sqlite_types import SQLITE
from dataflare.sql.widening import holds, joined

POLICIES = ("exception", "evolve", "try_evolve", "lenient", "ignore")
T = Table("t")


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("int16", "int32", "int32"),
        ("int8", "uint8", "int16"),
        ("uint32", "int32", "int64"),
        ("uint16", "uint64", "uint64"),
        ("int64", "uint64", "decimal(20,0)"),
        ("int64", "uint8", "int64"),
        ("float32", "float64", "float64"),
        ("int16", "float32", "float32"),
        ("int32", "float32", "float64"),
        ("uint32", "float64", "float64"),
        ("int64", "float64", None),
        ("int32", "decimal(5,2)", "decimal(12,2)"),
        ("int64", "decimal(30,2)", "decimal(30,2)"),
        ("decimal(5,2)", "decimal(6,4)", "decimal(7,4)"),
        ("decimal(38,2)", "decimal(38,3)", None),
        ("decimal(5,2)", "float64", None),
        ("date", "datetime", "datetime"),
        ("date", "timestamp", "timestamp"),
        ("datetime", "timestamp", None),
        ("date", "int32", None),
        ("bool", "int8", None),
        ("int32", "string", None),
        ("binary", "string", None),
        ("null", "int32", "int32"),
        ("list<int32>", "list<int64>", "list<int64>"),
        ("list<int32>", "int32", None),
        ("struct<a: int8>", "struct<a: int16>", None),
        ("time", "time", "time"),
    ],
)
def test_the_narrowest_type_that_holds_both(one: str, other: str, both: str | None) -> None:
    assert joined(one, other) == joined(other, one) == both
    for wide, narrow in ((one, other), (other, one)):
        assert holds(wide, narrow) == (both == wide or (wide == "string" and narrow == "int32"))


def compared(
    found: list[Defined], wanted: dict[str, str], policy: str = "", dialect: Dialect = POSTGRES, **more: Any
) -> list[tuple[str, str, str, str, str, bool]]:
    """Return kind, column, was, now, verdict and whether nothing is lost, of each alteration."""
    key = more.pop("key", ())
    orders = Orders.of({**({"policy": policy} if policy else {}), **more})
    comparison = Comparison(dialect, T, Schema.of(wanted), key, orders)
    made = comparison.alterations({d.name: d for d in found})
    return [(a.kind, a.column, a.was, a.now, a.verdict, a.widens) for a in made]


INT, TEXT = Defined("a", "integer", "int32"), Defined("a", "text", "string")


@pytest.mark.parametrize(
    ("policy", "verdict"),
    [("", "alter"), ("lenient", "alter"), ("evolve", "alter"), ("try_evolve", "alter"), ("exception", "refuse")],
)
def test_a_type_becomes_wider_under_each_policy_but_two(policy: str, verdict: str) -> None:
    assert compared([INT], {"a": "int64"}, policy) == [("retype", "a", "integer", "bigint", verdict, True)]
    assert compared([INT], {"a": "int64"}, "ignore") == []


@pytest.mark.parametrize(
    ("policy", "verdict"),
    [("", "leave"), ("lenient", "leave"), ("evolve", "alter"), ("try_evolve", "alter"), ("exception", "leave")],
)
def test_what_is_no_widening_is_tried_only_where_the_table_follows(policy: str, verdict: str) -> None:
    assert compared([INT], {"a": "string"}, policy) == [("retype", "a", "integer", "text", verdict, False)]


@pytest.mark.parametrize("policy", ["", *POLICIES])
def test_a_wider_column_stays(policy: str) -> None:
    wide = [Defined("a", "numeric", "decimal(38,9)", boundless=True), Defined("b", "text", "string")]
    assert compared(wide, {"a": "decimal(38,20)", "b": "int64"}, policy) == []
    assert compared([Defined("a", "uuid", "string", fixed=True)], {"a": "int64"}, policy) == []


@pytest.mark.parametrize("policy", ["", *POLICIES])
def test_rules_of_the_table_go_only_where_a_policy_is_told(policy: str) -> None:
    found = [
        Defined("a", "character varying(5)", "string", limited=True),
        Defined("b", "integer", "int32", required=True),
        Defined("k", "integer", "int32", required=True),
        Defined("p", "integer", "int32", required=True, primary=True),
    ]
    made = compared(found, {"a": "string", "b": "int32", "k": "int32", "p": "int32"}, policy, key=("k",))
    loose = [
        ("retype", "a", "character varying(5)", "text", "alter", True),
        ("nullable", "b", "", "", "alter", True),
    ]
    assert made == (loose if policy in ("lenient", "evolve", "try_evolve") else [])


def test_a_column_that_must_have_a_value_may_stay_so() -> None:
    wanted = Schema((Column("a", "int32", nullable=False),))
    comparison = Comparison(POSTGRES, T, wanted, (), Orders("evolve", told=True))
    assert comparison.alterations({"a": Defined("a", "integer", "int32", required=True)}) == []


@pytest.mark.parametrize("policy", ["", *POLICIES])
def test_columns_are_dropped_only_where_the_table_follows(policy: str) -> None:
    found = [INT, Defined("b", "text", "string"), Defined("k", "text", "string"), Defined("mine", "text", "string")]
    made = compared(found, {"a": "int32"}, policy, drop=["b", "k", "gone", "a"], key=("k",))
    assert made == ([("drop", "b", "text", "", "alter", False)] if policy in ("evolve", "try_evolve") else [])


def test_a_column_of_the_primary_key_is_never_dropped() -> None:
    found = [INT, Defined("p", "text", "string", primary=True)]
    assert compared(found, {"a": "int32"}, "evolve", drop=["p"]) == [("drop", "p", "text", "", "leave", False)]


@pytest.mark.parametrize(
    ("there", "wanted", "rename", "made"),
    [
        ("a", "b", {"a": "b"}, [("rename", "b")]),
        ("b", "b", {"a": "b"}, []),
        ("ab", "ab", {"a": "b"}, []),
        ("", "b", {"a": "b"}, [("add", "b")]),
        ("a", "ab", {"a": "b"}, [("rename", "b"), ("add", "a")]),
        ("ab", "bc", {"a": "b", "b": "c"}, [("rename", "c"), ("rename", "b")]),
        ("ac", "bc", {"a": "b", "b": "c"}, [("rename", "b")]),
    ],
)
def test_renames_go_on_where_they_stopped(
    there: str, wanted: str, rename: dict[str, str], made: list[tuple[str, str]]
) -> None:
    found = [Defined(name, "integer", "int32") for name in there]
    alterations = compared(found, dict.fromkeys(wanted, "int32"), "evolve", rename=rename)
    assert [(kind, column) for kind, column, *_ in alterations] == made
    refused = compared(found, dict.fromkeys(wanted, "int32"), "exception", rename=rename)
    assert {verdict for *_, verdict, _ in refused} <= {"refuse"}


def test_a_column_that_is_missing_is_refused_where_nothing_may_be_altered() -> None:
    for policy in ("exception", "ignore"):
        assert compared([INT], {"a": "int32", "b": "int8"}, policy) == [("add", "b", "", "smallint", "refuse", True)]


@pytest.mark.parametrize(
    ("dialect", "found", "text", "statements"),
    [
        (
            POSTGRES,
            INT,
            "int64",
            ['alter table "t" alter column "a" set data type bigint using cast("a" as bigint)'],
        ),
        (
            DUCKDB,
            Defined("a", "DATE", "date"),
            "datetime",
            ['alter table "t" alter column "a" set data type TIMESTAMP using cast("a" as TIMESTAMP)'],
        ),
        (
            MARIADB,
            Defined("a", "int(11)", "int32", rest=" NOT NULL DEFAULT 5 COMMENT 'it''s'"),
            "int64",
            ["alter table `t` modify column `a` bigint NOT NULL DEFAULT 5 COMMENT 'it''s'"],
        ),
        (SQLITE, Defined("a", "INT16", "int16"), "int64", []),
        (
            SQLITE,
            Defined("a", "DECIMAL(5,2)", "decimal(5,2)", rest=" default 7"),
            "decimal(20,2)",
            [
                'alter table "t" add column "_dataflare_a" DECIMAL_TEXT(20,2) default 7',
                'update "t" set "_dataflare_a" = "a"',
                'alter table "t" drop column "a"',
                'alter table "t" rename column "_dataflare_a" to "a"',
            ],
        ),
    ],
)
def test_how_databases_are_told(dialect: Dialect, found: Defined, text: str, statements: list[str]) -> None:
    comparison = Comparison(dialect, T, Schema.of({"a": text}), (), Orders())
    assert [s for a in comparison.alterations({"a": found}) for s in a.statements] == statements


def test_an_instant_of_mariadb_does_not_hold_every_date() -> None:
    found = [Defined("a", "date", "date")]
    assert compared(found, {"a": "datetime"}, dialect=MARIADB)[0][4:] == ("alter", True)
    assert compared(found, {"a": "timestamp"}, dialect=MARIADB)[0][4:] == ("leave", False)


@pytest.mark.parametrize("dialect", [POSTGRES, DUCKDB, MARIADB, SQLITE], ids=lambda d: d.name)
@pytest.mark.parametrize("text", ["bool", "int8", "uint64", "decimal(9,2)", "string", "json", "timestamp", "null"])
def test_a_column_that_was_made_for_a_type_holds_it(dialect: Dialect, text: str) -> None:
    made = Defined("a", f"{dialect.column_type(text)} as told", dialect.kept(text))
    comparison = Comparison(dialect, T, Schema.of({"a": text}), (), Orders("evolve", told=True))
    assert comparison.alterations({"a": made}) == []
