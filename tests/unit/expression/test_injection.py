"""What somebody may try to write into an expression: it is one expression over a row, or it is refused with a cure."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare.errors import WorkflowError
from dataflare.expression.chain import Chain
from dataflare.expression.check import Checker
from dataflare.expression.session import quoted
from dataflare.expression.step import Step
from dataflare.schema import Schema

SCHEMA = Schema.of({"id": "int64", "s": "string", "ts": "timestamp"})
CHECKER = Checker()


def kind(text: str) -> pa.DataType:
    (found,) = CHECKER.types([CHECKER.read(text, SCHEMA.names)], SCHEMA.to_arrow())
    return found


@pytest.mark.parametrize(
    "text",
    [
        # other statements, other clauses
        *("id; select 2", "id;", "; drop table x", "id) from x --", "1) union all (select 2", "id from (select 1)"),
        *("id limit 1", "with x as (select 1) select 1", "set threads = 1", "pragma version", "copy x to 'y'"),
        *("attach 'x'", "install httpfs", "export database 'x'", "call pragma_version()", "create macro f() as 1"),
        # other rows
        *("(from '/etc/passwd')", "(values (1))", "array(select 1)", "id in (from range(3))", "id = any(select 1)"),
        *("exists(from duckdb_settings())", "id is distinct from (table x)", "{'a': (select 1)}", "(table x)"),
        *("case (select 1) when 1 then 1 end", "[x for x in (select [1])]", "try((select 1))", "abs((select 1))"),
        *("list_transform([1], x -> (select x))", "list_transform([1], lambda x: (select x))"),
        # files, settings, the system
        *("read_text('/etc/passwd')", "read_csv('/etc/passwd')", "read_blob('x')", "read_json('x')", "glob('/*')"),
        *("getenv('HOME')", "current_setting('home_directory')", "query('select 1')", "query_table('x')"),
        *("duckdb_settings()", "sniff_csv('x')", "json_execute_serialized_sql('x')", "checkpoint()", "write_log('x')"),
        *("current_query()", "current_database()", "txid_current()", "sleep_ms(10)", "s.read_text()", "id.getenv()"),
        *("in_search_path('a', 'b')", "pg_get_viewdef(1)", "currval('x')", "setseed(0.5)", "set_config('a', 'b')"),
        # names that are none of a column
        *('"id""; drop"', "main.abs(id)", "system.main.abs(id)", "pg_catalog.abs(id)", "__input", "__input.id"),
        *("rowid", "U&'\\0027'", 'cast(id as "x; drop")', "cast(id as main.t)", 'id collate "x; drop"'),
        # what stands for something else
        *("?", "?1", "$1", "$x", ":x", "#1", "*", "columns('.*')", "default"),
        # chance inside of something
        *("list_filter([1], lambda x: random() > 0.5)", "case when random() > 1 then 1 end", "coalesce(uuid(), 1)"),
        *("{'a': gen_random_uuid()}", "try(random())", "[random()]"),
    ],
)
def test_what_is_not_one_expression_over_a_row_is_refused(text: str) -> None:
    with pytest.raises(WorkflowError):
        kind(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'a; drop table x; --'", "a; drop table x; --"),
        ("$$; drop '$$", "; drop '"),
        ("$tag$ $$ ' $tag$", " $$ ' "),
        ("E'\\x27; drop'", "'; drop"),
        ("'''; select ''' || s", "'; select 'x"),
        ("/*+ hint */ 's'", "s"),
        ("s /* ; select 1 */ || /* nested /* comment */ ) */ '!'", "x!"),
        ("s -- ) union select 1", "x"),
        ("s || -- ;\n '!'", "x!"),
        ("concat(s, '/*', '--', '*/')", "x/*--*/"),
    ],
)
def test_texts_and_comments_hold_anything_and_do_nothing(text: str, value: str) -> None:
    row = pa.Table.from_pylist([{"id": 1, "s": "x", "ts": None}], schema=SCHEMA.to_arrow())
    assert Chain([Step("n", (("v", text),))], SCHEMA).run(row).rows["v"].to_pylist() == [value]


ODD = st.text(st.sampled_from("ab\"'`;-/*().,${}[]\\\n é"), min_size=1, max_size=12)


@settings(deadline=None, max_examples=60)
@given(ODD.filter(str.strip), ODD)
def test_any_name_of_a_column_and_any_value_pass_as_they_are(name: str, value: str) -> None:
    schema = Schema.of({name: "string"})
    row = pa.table({name: [value]})
    steps = [
        Step("n", ((name, quoted(name)), ("copy", f"{quoted(name)} || ''"))),
        Step("f", condition="copy is not null"),
    ]
    result = Chain(steps, schema).run(row)
    assert result.rows.to_pylist() == [{name: value, "copy": value}] if name != "copy" else result.rows.num_rows == 1


@settings(deadline=None, max_examples=60)
@given(ODD)
def test_any_text_written_as_a_literal_is_that_text(value: str) -> None:
    row = pa.table({"id": [1]})
    written = "'" + value.replace("'", "''") + "'"
    result = Chain([Step("n", (("v", written),))], Schema.of({"id": "int64"})).run(row)
    assert result.rows["v"].to_pylist() == [value]


@settings(deadline=None, max_examples=60)
@given(st.text(st.sampled_from("id s()',;\"-*/$1=+.|&[]{}:\n"), max_size=16))
def test_whatever_is_written_is_refused_by_name_or_has_a_type(text: str) -> None:
    try:
        found = kind(text)
    except WorkflowError as error:
        assert error.what
    else:
        assert isinstance(found, pa.DataType)


CLOCKS = ["now()", "current_timestamp", "current_date", "today()", "localtimestamp", "current_localtime()", "s.now()"]


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_clock_is_the_time_of_the_epoch_and_nothing_else(clock: str) -> None:
    times = [1_700_000_000_000_000, 1_800_000_000_000_000]
    row = pa.Table.from_pylist([{"id": 1, "s": "x", "ts": None}] * 3, schema=SCHEMA.to_arrow())
    epochs = [*[times[0]] * 2, *[times[1]] * 2]
    here = iter(epochs)
    chain = Chain([Step("n", (("v", f"cast({clock} as varchar)"),))], SCHEMA, epoch_time=here.__next__)
    found = [chain.run(row).rows["v"].to_pylist() for _ in epochs]
    assert found[0] == found[1] != found[2] == found[3]
    assert len(set(found[0])) == 1
    assert found[0][0].startswith(("2023-11-14", "22:13:20"))
