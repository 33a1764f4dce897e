"""Tables that are named by patterns: which are meant, and how their outputs are called."""

from __future__ import annotations

import pytest

from dataflare.connectors.postgres.settings import PostgresSourceConfig
from dataflare.connectors.sqlite.settings import SqliteSourceConfig
from dataflare.errors import WorkflowError
from dataflare.sql.patterns import matching

THERE = {
    "": ["orders", "audit_log"],
    "public": ["_dataflare_epochs", "audit_log", "orders", "order_lines"],
    "b": ["orders", "with.dot"],
}


def found(*names: str) -> list[str]:
    return matching(names, lambda schema: THERE[schema])


def test_patterns_mean_tables_of_their_schema_but_for_our_own_and_those_left_out() -> None:
    assert found("public.*") == ["public.audit_log", "public.orders", "public.order_lines"]
    assert found("public.*", "!public.audit_*") == ["public.orders", "public.order_lines"]
    assert found("public.order*s", "b.*") == ["public.orders", "public.order_lines", "b.orders", 'b."with.dot"']
    assert found("public.*", "b.*", "!orders") == ["public.audit_log", "public.order_lines", 'b."with.dot"']
    assert found("*", "!audit_log") == ["orders"]


def test_plain_names_stay_whether_they_are_there_or_not_unless_they_are_left_out() -> None:
    assert found("public.nobody", "b.*", "!b.*") == ["public.nobody"]
    assert found("public.orders", "public.*", "!public.orders")[0] == "public.audit_log"


def test_letters_mean_themselves() -> None:
    assert matching(["a[b]*", "a?"], lambda _: ["ab1", "a[b]1", "ax"]) == ["a[b]1", "a?"]


def test_schemas_are_named() -> None:
    with pytest.raises(WorkflowError, match="pattern of schemas"):
        found("*.orders")


def test_outputs_are_called_the_same_whatever_else_is_found() -> None:
    one = PostgresSourceConfig(tables=["public.*"])
    assert one.by_pattern
    assert one.found(["public.a", "public.b"]).outputs() == {"a": "public.a", "b": "public.b"}
    assert one.found(["public.a"]).by_pattern
    several = PostgresSourceConfig(tables=["public.*", "b.*", "!public.x"])
    assert several.found(["public.a"]).outputs() == {"public.a": "public.a"}
    assert several.found(["public.a", "b.a"]).outputs() == {"public.a": "public.a", "b.a": "b.a"}
    plain = PostgresSourceConfig(tables=["public.a", "b.c"])
    assert (plain.by_pattern, plain.outputs()) == (False, {"a": "public.a", "c": "b.c"})
    assert SqliteSourceConfig(path="x", tables=["a.*"]).found(["a.b"]).outputs() == {"a.b": "a.b"}


def test_to_leave_out_alone_means_nothing() -> None:
    with pytest.raises(ValueError, match="name some before others are left out"):
        PostgresSourceConfig(tables=["!public.x"])
