"""Queries of users: what they read, what comes out, and what they may not do, each with its place and its cure."""

from __future__ import annotations

import pytest

from dataflare.errors import WorkflowError
from dataflare.expression.query import read_query
from dataflare.schema import Schema

ORDERS = Schema.of({"id": "int64", "ts": "timestamp", "amount": "decimal(12,2)", "email": "string"})
KINDS = Schema.of({"id": "int64", "kind": "string"})
INPUTS = {"orders": ORDERS, "split.big": KINDS, "my-node": KINDS}


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("select id, sum(amount) as total from orders group by all", "id int64, total decimal(38,2)"),
        ("from ORDERS select id;", "id int64"),
        ("select * from split.big", "id int64, kind string"),
        ("select big.kind from split.big where big.id > 1", "kind string"),
        ('select b.kind from "split" . "big" as b join "my-node" m using (id)', "kind string"),
        ("with x as (select * from orders) select x.id, y.ts from x, x as y", "id int64, ts timestamp"),
        ("select id from orders where exists (select 1 from split.big b where b.id = orders.id)", "id int64"),
        ("select id from orders union all select id + 1 from split.big order by 1 limit 3", "id int64"),
        ("select id, row_number() over (partition by kind order by id) as n from split.big", "id int64, n int64"),
        ("select now() as a, current_date as b, current_timestamp as c", "a timestamp, b date, c timestamp"),
        ("select unnest([1, 2]) as n, r from range(3) as t(r)", "n int32, r int64"),
        ("select * from (pivot orders on id in (1, 2) using count(*) group by email)", None),
        ("with recursive n as (select 1 as i union all select i + 1 from n where i < 5) select * from n", "i int32"),
        ("select coalesce(kind, 'é') as kind -- the last word\nfrom split.big", "kind string"),
    ],
)
def test_a_query_is_typed(text: str, output: str | None) -> None:
    found = read_query(text, INPUTS)
    assert output is None or str(found.output) == output
    assert found.tables == ("orders", "__input1", "my-node")


def test_clocks_stand_for_the_time_of_the_epoch_wherever_they_are() -> None:
    found = read_query("select now() as a, kind from split.big where now() > '2026-01-01'", INPUTS)
    wanted = "select make_timestamptz(7) as a, kind from __input1 as \"big\" where make_timestamptz(7) > '2026-01-01'"
    assert found.sql(7) == wanted
    named = {"today": Schema.of({"today": "string"})}
    assert str(read_query("select today from today", named).output) == "today string"


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("select * from ordrs", "there is no input 'ordrs'", "did you mean 'orders'?"),
        ("select * from nothing", "there is no input 'nothing'", 'its inputs are orders, split.big, "my-node"'),
        ("select * from '/etc/passwd'", "there is no input '/etc/passwd'", "its inputs are"),
        ("select * from big", "there is no input 'big'", "its inputs are"),
        ("select * from information_schema.tables", "there is no input 'information_schema.tables'", ""),
        ("select * from read_csv('x')", "read_csv() reads something that is no input", "read it with a source"),
        ("select (select max(x) from read_text('/etc/passwd')) as x", "read_text() reads something", ""),
        ("select * from duckdb_settings()", "duckdb_settings() reads something that is no input", ""),
        ("select * from query('select 1')", "query() reads something that is no input", ""),
        ("with a as (select * from glob('*')) select * from a", "glob() reads something that is no input", ""),
        ("select random() as r from orders", "random() gives another answer at every try", "derive the value"),
        ("select id from orders order by uuid()", "uuid() gives another answer at every try", "derive the value"),
        ("select nextval('s') as s", "nextval() gives another answer at every try", ""),
        ("select age(ts) as a from orders", "age() of one time reads the clock by itself", "write age(current_date"),
        ("select current_user as u from orders", "current_user tells of the session", "write the value itself"),
        ("select current_setting('threads') as t", "current_setting() tells of the session", ""),
        ("select * from orders tablesample 5%", "a sample is drawn by chance", "such as hash(id) % 10 = 0"),
        ("select * from orders using sample 5 rows", "a sample is drawn by chance", ""),
        ("select id from orders where id = $1", "parameters have no meaning here", "write the value itself"),
        ("insert into orders values (1)", "this is no SELECT", "write one SELECT over the inputs"),
        ("copy orders to 'x'", "this is no SELECT", ""),
        ("attach 'x.db'", "this is no SELECT", ""),
        ("set threads = 4", "this is no SELECT", ""),
        ("describe orders", "this is no SELECT", "write one SELECT over the inputs"),
        ("select 1; select 2", "this is more than one statement", "write one SELECT"),
        ("select id, ID from orders", "two columns are called", "give one another name"),
        ("select *, * from orders", "two columns are called 'id'", "give one another name"),
        ("with orders as (select 1 as x) select * from orders", "WITH takes the name of the input 'orders'", "another"),
        ("select from orders", "SELECT clause without selection list", ""),
    ],
)
def test_what_a_query_may_not_do_is_told(text: str, what: str, hint: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        read_query(text, INPUTS)
    assert what in caught.value.what
    assert hint in caught.value.hint
    assert text.splitlines()[0] in caught.value.what


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("select id,\n  nam\nfrom orders", "nam"),
        ("select 'é', random()", "random"),
        ("select id from orders join ordrs using (id)", "ordrs"),
    ],
)
def test_a_mistake_is_shown_at_its_place(text: str, at: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        read_query(text, INPUTS)
    lines = caught.value.what.splitlines()
    caret = next(n for n, line in enumerate(lines) if line.strip() == "^")
    assert lines[caret - 1][lines[caret].index("^") :].startswith(at)


TAGGED = {"orders": ORDERS.tagged({"email": ["pii.email"]}), "names": Schema.of({"id": "int64", "name": "string"})}


@pytest.mark.parametrize(
    ("text", "tagged"),
    [
        ("select id, email from orders", ["email"]),
        ("select email as id, id as email from orders", ["id"]),
        ("select id, lower(o.email) || 'x' as m from orders o", ["m"]),
        ("select *, id + 1 as next from orders", ["email"]),
        ("select orders.* from orders join names using (id)", ["email"]),
        ("select name, max(email) as e from orders join names using (id) group by name", ["e"]),
        ("select id, count(*) as n from orders group by id", []),
        ("select (select max(email) from orders) as e, id from names", ["e"]),
        ("select columns('e.*') from orders", ["email"]),
        ("select x from (select email as x from orders)", ["x"]),
        ("with a as (select email as x, id from orders) select x, id from a", ["x", "id"]),
        ("select id from orders union select 1", ["id"]),
        ("select id, o from orders o", ["o"]),
        ("select lower(email) as e, upper(e) as f, id from orders", ["e", "f"]),
    ],
)
def test_tags_follow_what_is_read(text: str, tagged: list[str]) -> None:
    output = read_query(text, TAGGED).output
    assert [c.name for c in output if c.tags] == tagged
    assert {t for c in output for t in c.tags} <= {"pii.email"}
