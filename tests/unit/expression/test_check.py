"""Expressions are read alone: nothing gets out of its parentheses, and what makes no sense is told with its cure."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dataflare.errors import WorkflowError
from dataflare.expression.check import Checker, Expression
from dataflare.schema import Schema

SCHEMA = Schema.of(
    {
        "id": "int64",
        "amount": "decimal(12,2)",
        "status": "string",
        "ts": "timestamp",
        "tags": "list<int64>",
        "payload": "json",
        "user": "struct<name: string, address: struct<city: string>>",
        "Ünï": "string",
    }
)


@pytest.fixture(scope="module")
def checker() -> Checker:
    return Checker()


def kind(checker: Checker, text: str) -> pa.DataType:
    (found,) = checker.types([checker.read(text, SCHEMA.names)], SCHEMA.to_arrow())
    return found


def told(checker: Checker, text: str) -> str:
    with pytest.raises(WorkflowError) as caught:
        kind(checker, text)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "1) , (2",
        "1) from x where (1 = 1",
        "1; drop table x",
        "1) union (select 2",
        "1) order by (1",
        "1) limit (1",
        "amount) or (id",
        "a)) or ((b",
        "1 /* never closed",
        "'never closed",
        "1 as x",
        "x: 1",
        "id, amount",
        "",
        "  ",
        "amount >",
        "select 1",
        "id from __input",
        "id; --",
        "case when",
    ],
)
def test_nothing_but_one_whole_expression_passes(checker: Checker, text: str) -> None:
    told(checker, text)


def test_a_comment_at_the_end_does_not_swallow_what_follows(checker: Checker) -> None:
    assert kind(checker, "id + 1 -- one more") == pa.int64()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sum(amount)", "`aggregate` node"),
        ("geomean(id)", "`aggregate` node"),
        ("count(*)", "`aggregate` node"),
        ("row_number() over ()", "`sql` node"),
        ("lag(id)", "`sql` node"),
        ("(select 1)", "`sql` node"),
        ("id in (select 1)", "`sql` node"),
        ("exists (select 1)", "`sql` node"),
        ("unnest(tags)", "`sql` node"),
        ("random()", "derive the value from the row"),
        ("uuid()", "derive the value from the row"),
        ("gen_random_uuid()", "derive the value from the row"),
        ("nextval('x')", "derive the value from the row"),
        ("pg_sleep(1)", "derive the value from the row"),
        ("getvariable('x')", "tells of the session"),
        ("current_setting('threads')", "tells of the session"),
        ("ago(interval 1 day)", "write it out with now()"),
        ("error('no')", "let the value itself fail"),
        ("assert_true(id > 1)", "let the value itself fail"),
        ("age(ts)", "write age(current_date, time)"),
        ("*", "name the columns"),
        ("columns(*)", "name the columns"),
        ("$1", "parameters"),
        ("#1", "by name, not by number"),
        ("statsu", "did you mean 'status'?"),
        ("upperr(status)", "did you mean 'upper'?"),
        ('status = "paid"', "single quotes"),
        ("__input.id", "no column '__input'"),
        ("main.upper(status)", "no column 'main'"),
        ("status > 5", "explicit cast"),
        ("amount > 'x'", "x"),
        ("id = 1 || status = 'a' > 2", "write `or`"),
    ],
)
def test_what_an_expression_may_not_do_is_told_with_its_cure(checker: Checker, text: str, words: str) -> None:
    assert words in told(checker, text)


def test_the_caret_stands_under_the_mistake_in_bytes_and_lines(checker: Checker) -> None:
    assert "  upper(statsu)\n        ^" in told(checker, "upper(statsu)")
    assert "  'äöü' || statsu\n           ^" in told(checker, "'äöü' || statsu")
    assert "  id +\n   statsu\n   ^" in told(checker, "id +\n statsu")
    assert "  id + upperr(status)\n       ^" in told(checker, "id + upperr(status)")


def test_the_caret_stands_in_what_was_written_not_in_the_sql_of_it(checker: Checker) -> None:
    assert "  id==1&&statsu=='a'\n         ^" in told(checker, "id==1&&statsu=='a'")
    assert "  id==1 &&\n  upperr(status)=='a'\n  ^" in told(checker, "id==1 &&\nupperr(status)=='a'")
    with pytest.raises(WorkflowError) as caught:
        checker.read("id==1 &&\n  statsu=='a'", SCHEMA.names)
    assert (caught.value.place.line, caught.value.place.column) == (2, 3)
    assert checker.read("id==1", SCHEMA.names).written == "id==1"


def test_a_column_that_is_a_word_of_sql_is_to_be_quoted(checker: Checker) -> None:
    with pytest.raises(WorkflowError, match="'at' is a word of SQL: write the column as \"at\""):
        checker.read("at <= now()", ["at"])
    assert checker.read('"at" <= now()', ["at"]).reads == ("at",)


def test_double_equals_and_double_ampersand_are_translated_but_not_in_texts(checker: Checker) -> None:
    read = checker.read("status == 'a && b == c' && id == 1", SCHEMA.names)
    assert read.text == "status = 'a && b == c'  and  id = 1"
    assert kind(checker, "status == 'a && b == c' && id == 1") == pa.bool_()


def test_double_bars_join_texts(checker: Checker) -> None:
    assert kind(checker, "status || '-' || status") == pa.string()


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("amount * 2", ("amount",)),
        ("STATUS || Ünï", ("status", "Ünï")),
        ("user.address.city", ("user",)),
        ("status.upper()", ("status",)),
        ("list_transform(tags, lambda x: x + id)", ("tags", "id")),
        ("[x for x in tags if x > id]", ("tags", "id")),
        ("payload -> '$.a'", ("payload",)),
        ("case when id > 1 then status end", ("id", "status")),
        ("1 + 1", ()),
    ],
)
def test_the_columns_that_are_read_are_known(checker: Checker, text: str, reads: tuple[str, ...]) -> None:
    kind(checker, text)
    assert sorted(checker.read(text, SCHEMA.names).reads) == sorted(reads)


@pytest.mark.parametrize(("text", "column"), [("id", "id"), (' "id" ', "id"), ("ID", "id"), ("user.name", None)])
def test_a_bare_column_is_known_as_one(checker: Checker, text: str, column: str | None) -> None:
    assert checker.read(text, SCHEMA.names).column == column


def test_columns_that_differ_in_case_are_told_apart_when_written_so(checker: Checker) -> None:
    assert checker.read("Id + 0", ["id", "Id"]).reads == ("Id",)
    with pytest.raises(WorkflowError, match="may be 'id' or 'Id'"):
        checker.read("ID + 0", ["id", "Id"])


@pytest.mark.parametrize(
    ("text", "kind_of"),
    [
        ("now()", "timestamp"),
        ("current_timestamp", "timestamp"),
        ("current_date", "date"),
        ("today()", "date"),
        ("localtimestamp", "datetime"),
        ("current_localtimestamp()", "datetime"),
        ("localtime", "time"),
        ("get_current_timestamp()", "timestamp"),
    ],
)
def test_a_clock_is_the_time_of_the_epoch(checker: Checker, text: str, kind_of: str) -> None:
    read = checker.read(f"case when true then {text} end", SCHEMA.names)
    assert str(1_700_000_000_000_000) in read.sql(1_700_000_000_000_000)
    assert Schema.from_arrow(pa.schema([("c", kind(checker, text))]))["c"].type == kind_of


def test_a_clock_in_a_text_or_as_a_column_is_no_clock(checker: Checker) -> None:
    assert checker.read("'now()' || id", SCHEMA.names).clocks == ()
    assert checker.read("upper(current_date)", ["current_date"]).clocks == ()


def test_sql_of_an_expression_ends_on_a_line_of_its_own() -> None:
    assert Expression("1 -- x").sql() == "(\n1 -- x\n)"
