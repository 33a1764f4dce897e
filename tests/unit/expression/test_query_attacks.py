"""What somebody may try to write into a query: it reads its inputs and calls what expressions may, or it is refused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from dataflare.component import Registry
from dataflare.errors import WorkflowError
from dataflare.expression.query import read_query
from dataflare.schema import Schema
from dataflare.workflow import load

if TYPE_CHECKING:
    from pathlib import Path

ORDERS = Schema.of({"id": "int64", "ts": "timestamp", "email": "string", "tags": "list<string>", "j": "json"})
INPUTS = {"orders": ORDERS, "kinds": Schema.of({"id": "int64", "kind": "string"})}
CALLS = ("getenv('HOME')", "current_setting('home_directory')", "read_text('/etc/passwd')", "random()", "age(ts)")
PLACES = (
    *("select {} as x from orders", "select id from orders where {} is null", "select id from orders order by {}"),
    *("select count(*) from orders group by {}", "select 1 from orders group by id having {} is null"),
    *(
        "select id from orders qualify row_number() over () > 1 and {} is null",
        "select 1 from orders, kinds order by 1, {}",
    ),
    *("select sum(id) filter ({} is null) from orders", "select sum(id) over (order by {}) from orders"),
    *("select sum(id) over w from orders window w as (partition by {})", "select list(id order by {}) from orders"),
    *("select * replace ({} as id) from orders", "select distinct on ({}) id from orders"),
    *("select try({}) from orders", "select o.id from orders o join kinds k on {} is null"),
    *("select x from (select {} as x from orders)", "with a as (select {} as x from orders) select x from a"),
    *("with a as (with b as (select {} as x from orders) from b) from a", "select (select {}) as x from orders"),
    *("select id from orders where exists (select {})", "select x from orders, lateral (select {} as x)"),
    *("from orders, unnest([{}]) as u(x)", "select [{}] as x from orders", "select {{'a': {}}} as x from orders"),
    *("select list_transform([1], lambda x: {}) as x from orders", "select [{} for x in tags] as x from orders"),
    *("select case when {} is null then 1 end as x from orders", "select {}::varchar collate nocase as x from orders"),
    *("select 1 as x union all select 2 from orders where {} is null", "select map {{'a': {}}} as x from orders"),
    *("with recursive n as (select 1 as i union all select i + 1 from n, orders where {} is null) from n",),
)
TABLES = (
    *("read_csv('x')", "READ_CSV('x')", "\"read_csv\"('x')", "system.main.read_csv('x')", "read_csv /* c */ ('x')"),
    *("read_text('x')", "read_blob('x')", "read_parquet('x')", "read_json('x')", "glob('/*')", "sniff_csv('x')"),
    *("duckdb_settings()", "duckdb_secrets()", "pragma_version()", "query('select 1')", "query_table('orders')"),
    *("json_execute_serialized_sql('x')", "checkpoint()", "seq_scan('orders')", "nosuch('x')", "repeat(1, 2)"),
    *("'file.csv'", '"file.csv"', "'https://example.com/x.parquet'", "'s3://a/b'", "file.csv", "-- c\n'x.csv'"),
    *("duckdb_settings", "information_schema.tables", "pg_catalog.pg_class", "sqlite_master", "memory.main.orders"),
    *("main.orders", "__input0", "rows", "(describe orders)", "(show tables)", "(summarize orders)"),
    *("orders tablesample 10%", "orders at (version => 1)"),
)
AROUND = (
    *("select * from {}", "from {}", "with a as (select * from {}) select * from a", "select exists(from {}) as x"),
    *("with a as (with b as (from {}) from b) from a", "select id from orders where id in (from {})"),
    *("select id from orders union all (from {})", "select * from (select * from (from {}))"),
)
STATEMENTS = (
    *("attach 'x.db'", "copy orders to '/tmp/x'", "pragma version", "load httpfs", "install httpfs", "vacuum"),
    *("export database 'x'", "set threads = 1", "call pragma_version()", "create table x as select 1", "use memory"),
    *("create macro f(x) as getenv(x)", "drop view orders", "explain select 1", "describe orders", "show tables"),
    *("delete from orders", "update orders set id = 1", "insert into orders select 1", "prepare p as select 1"),
    *("select 1; attach 'x'", "select 1 /* ; */ ; /* x */ copy orders to 'x'", "select 'a' -- ;\n; attach 'x'"),
    *("with x as (insert into orders values (1) returning *) from x", "create macro f() as table from 'x'; from f()"),
    *("with x as (delete from orders returning *) select * from x", "with x as (update orders set id = 1) select 1"),
)
ALONE = (
    *("select 'HOME'.getenv() as x", "select \"getenv\"('x') as x", "select getenv/**/('x') as x", "select user as x"),
    *("select system.main.current_setting('x') as x", "select getvariable('x') as x", "select pg_sleep(1) as x"),
    *("select version() as x", "select write_log('x') as x", "select current_query() as x", "select uuidv7() as x"),
    *("select in_search_path('a', 'b') as x", "select has_table_privilege('a', 'b') as x", "select ago('1h') as x"),
    *("select getenv('x') over () from orders", "select random() over () from orders", "select alias(id) from orders"),
    *("select upper(email) over () from orders", "select $1 as x", "select $x as x", "select stats(id) from orders"),
    *("select pg_postmaster_start_time() as x", "select nosuch(1) as x", "table 'x.csv'", "select now(1) as x"),
    *("from (pivot orders on email using count(*))", "select unnest(glob('*')) as x", "select * from orders, glob(j)"),
)


def refused(query: str) -> WorkflowError:
    with pytest.raises(WorkflowError) as caught:
        read_query(query, INPUTS)
    return caught.value


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_no_expression_may_make_is_refused_wherever_it_stands(call: str) -> None:
    for around in PLACES:
        query = around.format(call)
        error = refused(query)
        lines = error.what.splitlines()
        shown = query.splitlines()[error.place.line - 1][error.place.column - 1 :]
        assert shown.startswith(call), f"{query}: {lines}"
        assert error.hint


def test_the_places_are_those_of_a_query_that_is_allowed() -> None:
    for around in PLACES:
        read_query(around.format("upper('x')"), INPUTS)


@pytest.mark.parametrize("table", TABLES)
def test_what_is_no_input_is_not_read_wherever_it_stands(table: str) -> None:
    for around in AROUND:
        error = refused(around.format(table))
        assert error.place.line, error.what
        assert error.hint


@pytest.mark.parametrize("query", STATEMENTS + ALONE)
def test_what_is_not_one_select_over_the_inputs_is_refused_at_its_place(query: str) -> None:
    error = refused(query)
    assert error.place.line, error.what
    assert "Error" not in error.what, "it is the engine that noticed, not the check"


@pytest.mark.parametrize(
    "query",
    [
        "select array(select id from kinds) as a, [x || 'a' for x in tags if x > 'a'] as b, tags[1:2] as c from orders",
        "select grouping(email) as g, count(*) as n, geomean(id) as m from orders group by rollup (email)",
        "select j->'$.a' as a, j->>'$.b' as b, {'a': id}.a as c, row(1, 2) as d, email ~ 'x' as e from orders",
        "select extract(year from ts) as y, ts at time zone 'UTC' as t, position('a' in email) as p from orders",
        (
            "select lag(id) over w as a, nth_value(id, 2) over w as b, sum(id) over w as c, fill(id) over w as d "
            "from orders window w as (order by id)"
        ),
        "select unnest(tags) as t, generate_subscripts(tags, 1) as g from orders",
        "select percentile_cont(0.5) within group (order by id) as g, json_group_array(id) as h from orders",
        "from (pivot orders on email in ('a') using count(*) group by id)",
        "select * exclude (id) replace (upper(kind) as kind) from kinds limit 10%",
    ],
)
def test_what_sql_is_made_of_is_allowed(query: str) -> None:
    read_query(query, INPUTS)


def test_validate_refuses_it_with_the_place_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text("""
id: w
sources:
  orders: {type: generator, config: {rows: 1}}
transformations:
  asked:
    type: sql
    inputs: [orders]
    config:
      query: select getenv('HOME') as home from orders
destinations:
  out: {type: stdout, inputs: [asked]}
""")
    (found,) = (
        f for f in load(file, registry=Registry.installed(), environ=os.environ).findings if f.severity == "error"
    )
    assert found.message.startswith("asked: there is no function getenv")
    assert (found.place.line, found.place.column) == (10, 21)
