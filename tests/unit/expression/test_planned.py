"""Whatever is written, rows come out with the types that were planned, and nulls only where nulls were planned."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare.expression.catalogue import offers
from dataflare.expression.chain import Chain
from dataflare.expression.check import Checker
from dataflare.expression.lineage import may_be_null
from dataflare.expression.session import Session, select
from dataflare.expression.step import Step
from dataflare.schema import Column, Schema, type_text

DAY = dt.date(2026, 3, 15)
NOON = dt.datetime(2026, 3, 15, 12, 30, tzinfo=dt.UTC)
KINDS = {
    "number": ("int64", [0, -5, 7, 1000]),
    "small": ("int16", [1, 0, -1, 20]),
    "float": ("float64", [0.5, -2.0, 100.25, 0.0]),
    "decimal": ("decimal(12,2)", [Decimal("1.25"), Decimal(0), Decimal("-99.99"), Decimal(7)]),
    "text": ("string", ["", "7", "null", '{"a": 1}', "2026-03-15", "ä b"]),
    "bool": ("bool", [True, False]),
    "date": ("date", [DAY, dt.date(1999, 12, 31)]),
    "instant": ("timestamp", [NOON, NOON.replace(year=1999)]),
    "moment": ("datetime", [NOON.replace(tzinfo=None), NOON.replace(tzinfo=None, year=1999)]),
    "list": ("list<int64>", [[1, None, 3], [], [2]]),
    "struct": ("struct<a: int64, b: string>", [{"a": 1, "b": "x"}, {"a": None, "b": None}]),
    "map": ("map<string, int64>", [[("a", 1)], []]),
    "json": ("json", ["null", "1", '"x"', '{"a": null}', "[1, null]"]),
    "bytes": ("binary", [b"", b"ab"]),
}
SCHEMA = Schema(
    tuple(
        Column(f"{kind}_{null}", text, nullable=null == "maybe")
        for kind, (text, _) in KINDS.items()
        for null in ("sure", "maybe")
    )
)
TEMPLATES = {
    "number": (
        "<number> + <small>", "<number> * <number>", "-<number>", "abs(<number>)", "length(<text>)", "length(<list>)",
        "<number> // <number>", "<number> % <number>", "year(<date>)", "date_diff('day', <date>, <date>)",
        "coalesce(<number>, <number>)", "nullif(<number>, <small>)", "case when <bool> then <number> end",
        "case when <bool> then <number> else <small> end", "<list>[1]", "<struct>.a", "<map>['a']",
        "cast(<json> as int64)", "try_cast(<text> as int64)", "cast(<bool> as int64)", "greatest(<number>, <small>)",
        "least(<number>, <number>)", "cast(<decimal> as int64)", "list_sum(<list>)", "json_array_length(<json>)",
        "try(cast(<text> as int64))", "cast(cast(<text> as json) as int64)", "extract(month from <moment>)",
        "if(<bool>, <number>, <number>)", "ifnull(<number>, <number>)", "list_position(<list>, <number>)",
    ),
    "small": ("cast(<number> as int16)", "<small> + 1::int16", "bit_count(<number>)"),
    "float": (
        "<float> + <number>", "sqrt(abs(<float>))", "round(<float>, 1)", "floor(<float>)", "<number> / <number>",
        "cast(<text> as double)", "ln(<float>)", "<float> * <decimal>", "list_avg(<list>)", "ceil(<float>)",
    ),
    "decimal": (
        "<decimal> + <decimal>", "<decimal> * <decimal>", "cast(<number> as decimal(18,3))", "round(<decimal>, 1)",
        "abs(<decimal>)", "greatest(<decimal>, <number>)", "coalesce(<decimal>, 0)", "<decimal> - <small>",
    ),
    "text": (
        "<text> || <text>", "upper(<text>)", "concat(<text>, <number>)", "concat_ws('/', <text>, <text>)",
        "substring(<text>, 1, 2)", "left(<text>, <small>)", "replace(<text>, <text>, 'x')", "trim(<text>)",
        "cast(<number> as varchar)", "cast(<date> as varchar)", "coalesce(<text>, 'x')", "nullif(<text>, '')",
        "regexp_replace(<text>, '[a-z]', 'x')", "regexp_extract(<text>, '([a-z])', 1)", "md5(<text>)",
        "reverse(<text>)",
        "<json> ->> '$.a'", "<struct>.b", "split_part(<text>, 'a', 1)", "case <small> when 1 then <text> end",
        "<text>[1]", "strftime(<moment>, '%Y')", "cast(<json> as varchar)", "hex(<bytes>)", "dayname(<date>)",
        "format('{}', <text>)", "array_to_string([<text>], '-')", "right(<text>, 1)", "cast(<instant> as varchar)",
    ),
    "bool": (
        "<number> > <number>", "<text> = <text>", "<bool> and <bool>", "<bool> or <bool>", "not <bool>",
        "<text> is null", "<text> like 'a%'", "<text> in ('a', <text>)", "<number> between 1 and <number>",
        "<text> ~ 'a'", "contains(<text>, 'a')", "list_contains(<list>, <number>)",
        "<number> is distinct from <number>",
        "starts_with(<text>, <text>)", "json_valid(<text>)", "isnan(<float>)", "<text> not in (<text>)",
        "contains(<list>, <number>)", "<date> < <moment>", "map_contains(<map>, <text>)", "<text> is not null",
    ),
    "date": ("<date> + 1", "cast(<moment> as date)", "last_day(<date>)", "try_cast(<text> as date)", "current_date"),
    "instant": ("now()", "coalesce(<instant>, now())", "<instant> + interval 1 day",
                "timezone('Asia/Tokyo', <moment>)"),
    "moment": (
        "date_trunc('month', <moment>)", "<date> + interval 1 hour", "<instant> at time zone 'Europe/Berlin'",
        "time_bucket(interval 1 hour, <moment>)", "cast(<date> as timestamp)",
    ),
    "list": (
        "[<number>, <number>]", "list_transform(<list>, lambda x: x + 1)", "list_filter(<list>, lambda x: x > 1)",
        "<list> || [<number>]", "list_sort(<list>)", "<list>[1:2]", "[x + 1 for x in <list>]", "list_reverse(<list>)",
        "list_concat(<list>, <list>)", "list_append(<list>, <number>)", "cast(<json> as bigint[])", "map_values(<map>)",
    ),
    "struct": ("{'a': <number>, 'b': <text>}", "struct_pack(a := <number>, b := <text>)",
               "coalesce(<struct>, <struct>)"),
    "map": ("map(['a'], [<number>])", "map_concat(<map>, <map>)", "map {'a': <number>}"),
    "json": (
        "to_json(<text>)", "<json> -> '$.a'", "json_object('a', <number>)", "json_array(<text>)",
        "cast(<text> as json)",
        "to_json(<struct>)", "json_merge_patch(<json>, <json>)", "coalesce(<json>, <json>)",
    ),
    "bytes": ("encode(<text>)", "cast(<text> as binary)", "<bytes> || <bytes>"),
}  # fmt: skip


@st.composite
def expressions(draw: st.DrawFn, kind: str, depth: int = 2) -> str:
    """Draw an expression of a kind: a column, or a template whose places are filled with others."""
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return f"{kind}_{draw(st.sampled_from(['sure', 'maybe']))}"
    template = draw(st.sampled_from(TEMPLATES[kind]))
    filled = re.sub(r"<(\w+)>", lambda found: draw(expressions(found[1], depth - 1)), template)
    return f"({filled})"


def table() -> pa.Table:
    """Return rows of all these values, with nulls where they may be."""
    arrow = SCHEMA.to_arrow()
    columns = []
    for place, (column, field) in enumerate(zip(SCHEMA, arrow, strict=True)):
        values = [*KINDS[column.name.partition("_")[0]][1], *([None] if column.nullable else [])]
        columns.append(pa.array([values[(row + place) % len(values)] for row in range(12)], field.type))
    return pa.Table.from_arrays(columns, schema=arrow)


TABLE = table()


@pytest.mark.once
@settings(deadline=None, max_examples=80)
@given(st.data())
def test_types_and_nulls_are_those_that_were_planned(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3))
    texts = [data.draw(expressions(kind)) for kind in kinds]
    chain = Chain([Step("n", tuple((f"c{n}", t) for n, t in enumerate(texts)))], SCHEMA, policies=["dead_letter"])
    result = chain.run(TABLE)
    assert result.rows.num_rows + sum(r.rows.num_rows for r in result.rejected) == TABLE.num_rows
    for column, values, text in zip(chain.outputs[-1], result.rows.columns, texts, strict=True):
        assert column.nullable or not values.null_count, text
        assert all(value is not None or column.nullable for value in values.to_pylist()), text
    chain.close()


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_the_engine_gives_the_planned_type_by_itself(data: st.DataObject) -> None:
    text = data.draw(expressions(data.draw(st.sampled_from(sorted(KINDS)))))
    checker, session = Checker(), Session(None)
    expression = checker.read(text, SCHEMA.names)
    (planned,) = checker.types([expression], SCHEMA.to_arrow())
    session.register(TABLE)
    try:
        made = session.fetch(select([f"{expression.sql()} as c"])).schema.types[0]
    except duckdb.Error:
        made = planned  # a value fails; that is another test's matter
    assert type_text(made) == type_text(planned)
    session.close()


def test_a_row_that_fails_only_beside_others_comes_through() -> None:
    text = "try(cast(text_sure as int64)) > (number_sure // number_sure)"
    alone = [Chain([Step("n", (("c", text),))], SCHEMA).run(TABLE.slice(n, 1)) for n in (0, 5)]
    both = Chain([Step("n", (("c", text),))], SCHEMA).run(TABLE.take([0, 5]))
    assert both.rows["c"].to_pylist() == [r.rows["c"][0].as_py() for r in alone]


@pytest.mark.parametrize("offer", [o for o in offers() if o.example], ids=lambda o: o.names[0])
def test_an_example_is_planned_as_never_null_only_where_it_is_not(offer) -> None:
    checker, session = Checker(), Session(None)
    session.register(pa.table({"_": [True]}))
    expression = checker.read(offer.example, ["_"])
    if not may_be_null(expression.needs, Schema()):
        assert session.fetch(select([f"{expression.sql()} as c"])).column(0).null_count == 0
    session.close()


@pytest.mark.parametrize(
    "text",
    ["cast(cast('null' as json) as int64)", "cast(cast(text_sure as json) as int64)", "cast(json_sure as int64)",
     "cast(to_json(text_sure) as int64)", "cast('null'::json as varchar)",
     "cast({'a': json_sure} as struct(a int64)).a"],
)  # fmt: skip
def test_a_null_of_json_may_become_one_of_sql(text: str) -> None:
    chain = Chain([Step("n", (("c", text),))], SCHEMA)
    assert chain.outputs[-1]["c"].nullable
