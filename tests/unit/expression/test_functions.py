"""What expressions may call: only what is offered, each with a meaning and an example that runs."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dataflare.errors import WorkflowError
from dataflare.expression.aggregate import AggregatePlan
from dataflare.expression.catalogue import offered, offers
from dataflare.expression.chain import Chain
from dataflare.expression.check import Checker
from dataflare.expression.session import Session
from dataflare.expression.step import Step
from dataflare.schema import Schema

SCHEMA = Schema.of({"id": "int64", "s": "string"})
CHECKER = Checker()
SYNTAX = {"current_timestamp", "current_time", "localtime", "localtimestamp", "ifnull"}
"""Words of the grammar that look like functions."""


def told(text: str) -> str:
    with pytest.raises(WorkflowError) as caught:
        CHECKER.read(text, SCHEMA.names)
    return str(caught.value)


def test_each_name_is_offered_once_and_is_one_of_the_engine() -> None:
    names = [name for offer in offers() for name in offer.names]
    assert len(names) == len(set(names)) > 450
    known = {row[0] for row in Session(None).execute("select function_name from duckdb_functions()")}
    assert set(names) - known == SYNTAX


@pytest.mark.parametrize("offer", [o for o in offers() if o.group != "Syntax"], ids=lambda o: o.names[0])
def test_each_function_has_a_meaning_and_an_example_of_itself(offer) -> None:
    assert offer.meaning
    assert not offer.meaning.endswith(".")
    if offer.group == "Aggregates":
        assert not offer.example
    else:
        assert any(name in offer.example for name in offer.names)


def test_each_example_runs_and_none_reads_a_column() -> None:
    examples = [o.example for o in offers() if o.example]
    columns = tuple((f"c{n}", text) for n, text in enumerate(examples))
    chain = Chain([Step("n", columns)], Schema.of({"_": "bool"}))
    row = chain.run(pa.table({"_": [True]})).rows
    assert row.schema.equals(chain.outputs[-1].to_arrow())
    nothing = [text for text, value in zip(examples, row.columns, strict=True) if value.null_count]
    assert nothing == ["try_strptime('15/03', '%d.%m.%Y')", "nullif('', '')"]


@pytest.mark.parametrize("name", ["sum(id)", "median(id)", "list(s)", "approx_top_k(s, 2)"])
def test_aggregates_are_offered_where_they_belong(name: str) -> None:
    plan = AggregatePlan([], [("x", name)], SCHEMA)
    plan.close()
    assert "`aggregate` node" in told(name)


@pytest.mark.parametrize(
    "text",
    [
        *("version()", "pg_has_role('x', 'y')", "col_description(1, 2)", "json_serialize_sql('select 1')"),
        *("icu_collate_de(s)", "icu_sort_key(s, 'de')", "create_sort_key(id, 'asc nulls last')", "alias(id)"),
        *("variant_keys(s)", "get_type(id)", "json_serialize_plan('x')", "enum_code(s)", "s.version()"),
        *(
            "list_transform([1], lambda x: version())",
            "st_astext(s)",
            "__internal_barrier(id)",
            "has_table_privilege('x', 'y')",
        ),
    ],
)
def test_a_function_that_is_not_offered_is_refused_wherever_it_stands(text: str) -> None:
    assert "is a function of the engine that expressions may not call" in told(text)


@pytest.mark.parametrize("text", ["read_csv('x')", "read_text('x')", "glob('*')", "duckdb_settings()", "query('x')"])
def test_a_table_function_is_told_with_what_is_meant_instead(text: str) -> None:
    assert "reads tables or files" in told(text)
    assert "source" in told(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("uper(s)", "there is no function uper"),
        ("uper(s)", "did you mean 'upper'?"),
        ("concatws('/', s)", "did you mean 'concat_ws'?"),
        ("s.lenght()", "did you mean 'length'?"),
        ("to_jsn(s)", "did you mean 'to_json'?"),
        ("getenv('HOME')", "there is no function getenv"),
        ("qqqqqq(1)", "docs/reference/functions.md"),
        ("1 +\n uper(s)", " uper(s)\n   ^"),
    ],
)
def test_what_is_not_there_is_told_with_what_is_near(text: str, words: str) -> None:
    assert words in told(text)


def test_nothing_is_suggested_that_may_not_be_called() -> None:
    for text in ("get_variable('x')", "versio()", "pg_has_rol('x')", "random_uuid()"):
        near = told(text).partition("did you mean '")[2].partition("'")[0]
        assert not near or near in offered()


@pytest.mark.parametrize(
    "text",
    [
        *(
            "[id]",
            "{'a': id}",
            "map {'a': id}",
            "(id, s)",
            "[x + 1 for x in [id] if x > 0]",
            "s[1:2]",
            "[id][1]",
            "s[1]",
        ),
        *("extract(year from date '2020-01-01')", "trim(both 'x' from s)", "substring(s from 1 for 2)", "s ~ 'a'"),
        *(
            "position('a' in s)",
            "overlay(s placing 'x' from 1)",
            "s like 'a%' escape '!'",
            "s not ilike 'A!%' escape '!'",
        ),
        *("timestamptz '2020-01-01 00:00:00+00' at time zone 'UTC'", "interval (id) days", "s similar to 'a.*'"),
        *("s glob 'a*'", "id in (1, 2)", "id between 1 and 2", "s is distinct from 'a'", "id ** 2", "id ^ 2", "@id"),
        *("try(cast(s as int))", "s collate nocase", "id::varchar", "try_cast(s as int)", "coalesce(id, 1)", "-id"),
        *(
            "case id when 1 then 2 end",
            "id // 2",
            "id % 2",
            "s || 'a'",
            "s ^@ 'a'",
            "not (id = 1)",
            "s::json ->> '$.a'",
        ),
        *("list_transform([id], lambda x: x + 1)", "ifnull(s, '')", "cast(s as json)"),
    ],
)
def test_syntax_works_whatever_functions_the_engine_makes_of_it(text: str) -> None:
    CHECKER.types([CHECKER.read(text, SCHEMA.names)], SCHEMA.to_arrow())
