"""Tables of all kinds, and a seeded script of changes to them: one that any reader of the log must tell alike."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

LONG = "repeat(md5({}), 300)"
"""A long value that stays outside of the row (`storage external`), so that updates of others leave it out."""

KINDS: dict[str, tuple[str, ...]] = {
    "bool": ("true", "false"),
    "int2": ("-32768", "32767", "0"),
    "int4": ("-2147483648", "2147483647", "7"),
    "int8": ("-9223372036854775808", "9223372036854775807", "9007199254740993"),
    "float4": ("0.1", "'-0'", "1e-45", "3.4028235e38", "16777216"),
    "float8": ("0.1", "'-0'", "5e-324", "1.7976931348623157e308", "0.30000000000000004"),
    "numeric(12,2)": ("9999999999.99", "-0.01", "0", "1.50"),
    "numeric(38,9)": ("-99999999999999999999999999999.123456789", "1.5", "0.000000001"),
    "numeric(4,0)": ("42", "-9999"),
    "text": ("''", "' '", "'NULL'", "E'a\\nb\\\\\"\\t'", "'é漢😀'", "'__unchanged'", "repeat('long', 20000)"),
    "varchar(5)": ("'abc'", "'é'", "''"),
    "char(5)": ("'abc'", "''"),
    "bytea": ("''", "'\\x00ff'", "'\\xDEADBEEF'"),
    "uuid": ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'00000000-0000-0000-0000-000000000000'"),
    "json": ('\'{"b":  1, "b": 2}\'', "'null'", "'[1, 2.50]'"),
    "jsonb": ('\'{"b": [1.50, null, "é"]}\'', "'null'", "'\"x\"'", "'1e400'"),
    "date": ("'0001-01-01'", "'1582-10-10'", "'1969-12-31'", "'2026-02-28'", "'9999-12-31'", "'12345-02-28'"),
    "time": ("'00:00'", "'23:59:59.999999'", "'12:34:56.7'"),
    "timestamp": ("'0001-01-01'", "'1582-10-10 01:02:03'", "'1969-12-31 23:59:59.999999'", "'9999-12-31 23:59:59'"),
    "timestamptz": ("'1969-12-31 23:59:59.9+00'", "'2026-01-01 10:00+05:30'", "'0001-06-01 00:00+00'"),
    "int4[]": ("'{1,null,-3}'", "'{}'", "'{2147483647}'"),
    "int8[]": ("'{9223372036854775807}'", "'{}'"),
    "text[]": ('\'{a,null,"NULL","","a,b"}\'', "array[E'x\\\\', '\"', ' é ']", "'{}'"),
    "bool[]": ("'{t,null,f}'",),
    "numeric(6,2)[]": ("'{1.5,null,-9999.99}'",),
    "uuid[]": ("array['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, null]",),
    "date[]": ("'{2026-01-01,1969-12-31}'",),
    "inet": ("'10.0.0.1/8'", "'10.0.0.1'", "'::1'"),
    "cidr": ("'10.0.0.0/8'", "'fe80::/10'"),
    "macaddr": ("'08:00:2b:01:02:03'",),
    "xml": ("'<a b=\"1\">é</a>'",),
    "int4range": ("'[1,5)'", "'empty'", "'(,5)'"),
    "tstzrange": ("'[2026-01-01 00:00+02,)'",),
    "{schema}.mood": ("'ok'", "'sad'"),
    "{schema}.amount": ("1.25", "-0.5"),
    "{schema}.positive": ("5",),
    "public.hstore": ("'a=>1, b=>null'", "''"),
    "public.citext": ("'Straße'", "''"),
}
"""Types that DataFlare and Debezium both have, with values that both can tell.

NaN, infinity, years before 1 and `24:00` are not among them: Debezium tells them as other values than they are, or not.
"""

SETUP = """
create extension if not exists hstore schema public;
create extension if not exists citext schema public;
create type {schema}.mood as enum ('sad', 'ok', 'happy');
create domain {schema}.amount as numeric(6,2);
create domain {schema}.positive as int check (value > 0);
create table {schema}.kinds (id int primary key, {kinds});
create table {schema}.pairs (a int, note text, b text, v numeric(12,3), primary key (b, a));
create table {schema}.bare (x int, y text, z numeric(8,2));
alter table {schema}.bare replica identity full;
create table {schema}.whole (id int primary key, n int, long text, other text);
alter table {schema}.whole replica identity full, alter long set storage external;
create table {schema}.longs (id int primary key, n int, long text, other text, doc jsonb);
alter table {schema}.longs alter long set storage external, alter other set storage external;
create table {schema}.byindex (id int primary key, code text not null unique, v int);
alter table {schema}.byindex replica identity using index byindex_code_key;
create table {schema}.grown (id int primary key, v int);
create table {schema}.bulk (id bigint primary key, v int, t text);
create table {schema}.finish (id int primary key);
"""
TABLES = ("kinds", "pairs", "bare", "whole", "longs", "byindex", "grown", "bulk")
LAST = "finish"
GROWN = "alter table {schema}.grown add w text default 'from before'"


def columns() -> dict[str, str]:
    """Return the columns of `kinds` with their types."""
    return {f"c{number}": kind for number, kind in enumerate(KINDS)}


@dataclass
class Script:
    """Writes to the tables of a schema; the same seed writes the same. `done` counts what was done, by what it was."""

    connection: psycopg.Connection[Any]
    schema: str
    seed: int
    done: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rng, self._next, self._is_grown = random.Random(self.seed), 100, False

    def set_up(self) -> None:
        """Make the tables, with a few rows in each."""
        listed = ", ".join(f"{name} {kind}" for name, kind in columns().items())
        self._run(SETUP.replace("{kinds}", listed))
        for _ in range(8):
            for table in ("kinds", "pairs", "bare", "whole", "longs", "byindex", "grown"):
                self._insert(table)

    def play(self, transactions: int, bulk_rows: int) -> None:
        """Do transactions of every kind; a large one and a new column in the middle; the row that ends it."""
        for number in range(transactions):
            if number == transactions // 3:
                self._bulk(bulk_rows)
            if number == transactions // 2:
                self._run(GROWN)
                self._is_grown = True
            self._transaction()
        self._run(f"insert into {{schema}}.{LAST} values (1)")

    # ---- transactions -------------------------------------------------------------------------------------------

    def _transaction(self) -> None:
        rng = self._rng
        if rng.random() < 0.3:
            self._change()
            return
        self._run("begin")
        for _ in range(rng.choice([1, 2, 3, 8, 15])):
            if rng.random() < 0.15:
                self._savepoint()
            else:
                self._change()
        end = "rollback" if rng.random() < 0.15 else "commit"
        self._count(end)
        self._run(end)

    def _savepoint(self) -> None:
        kept = self._rng.random() < 0.4
        self._run("savepoint one")
        for _ in range(self._rng.randrange(1, 4)):
            self._change()
        self._count("released" if kept else "undone")
        self._run("release one" if kept else "rollback to one")

    def _bulk(self, rows: int) -> None:
        """Change some thousand rows in one transaction, more than the server decodes in memory at once."""
        self._run("begin")
        self._run(f"insert into {{schema}}.bulk select n, 0, md5(n::text) from generate_series(1, {rows}) n")
        self._run("savepoint two")
        self._run("delete from {schema}.bulk where id % 3 = 0")
        self._run("rollback to two")
        self._run("update {schema}.bulk set v = id % 100 where id % 2 = 0")
        self._run("delete from {schema}.bulk where id % 10 = 0")
        self._insert("pairs")
        self._run("commit")

    # ---- changes ------------------------------------------------------------------------------------------------

    def _change(self) -> None:
        rng = self._rng
        table = rng.choice(["kinds", "kinds", "pairs", "bare", "whole", *["longs"] * 3, "byindex", "grown"])
        kind = rng.choices(["insert", "update", "delete", "key", "truncate"], [30, 45, 12, 12, 1])[0]
        self._count(kind)
        match kind:
            case "insert":
                self._insert(table)
            case "update":
                self._update(table)
            case "delete":
                self._run(f"delete from {{schema}}.{table} where {self._one(table)}")
            case "key":
                self._rekey(table)
            case _:
                self._run(f"truncate {{schema}}.{table}, {{schema}}.byindex" if table != "byindex" else "select 1")

    def _insert(self, table: str) -> None:
        rng, new = self._rng, self._new()
        values = {
            "kinds": ", ".join([str(new), *(self._value(k) for k in KINDS)]),
            "pairs": f"{new}, {self._text()}, 'b{rng.randrange(3)}', {rng.randrange(999)}.125",
            # Without a key all columns tell a row apart, so none may be null: DataFlare refuses it.
            "bare": f"{rng.randrange(4)}, 't{rng.randrange(3)}', {rng.choice(['1.10', '-2'])}",
            "whole": f"{new}, 0, {self._long()}, {self._text()}",
            "longs": f"{new}, 0, {self._long()}, {self._long()}, '{{\"n\": {new}}}'",
            "byindex": f"{new}, 'c{new}', {rng.choice(['null', '5'])}",
            "grown": f"{new}, {rng.randrange(9)}" + (f", {self._text()}" if self._is_grown else ""),
        }
        self._run(f"insert into {{schema}}.{table} values ({values[table]})")

    def _update(self, table: str) -> None:
        rng = self._rng
        name, kind = rng.choice(list(columns().items()))
        sets = {
            "kinds": [f"{name} = {self._value(kind)}"],
            "pairs": [f"note = {self._text()}", "v = v + 0.125", "v = null"],
            "bare": ["y = y || 'x'", "z = 7.25", "z = z + 0.01", "x = x"],
            "whole": ["n = n + 1", f"long = {self._long()}", f"other = {self._text()}", "n = null"],
            "longs": ["n = n + 1", f"long = {self._long()}", f"other = {self._long()}", "long = null", "doc = '[1]'"],
            "byindex": ["v = v + 1", "v = 0", f"id = {self._new()}"],
            "grown": ["v = v + 1", *(["w = null", f"w = {self._text()}"] if self._is_grown else [])],
        }
        chosen, where = rng.choice(sets[table]), self._one(table)
        if rng.random() < 0.05 and not chosen.startswith("id ="):
            where = "true"
        self._run(f"update {{schema}}.{table} set {chosen} where {where}")

    def _rekey(self, table: str) -> None:
        """Give a row another key; not where its long values would not be sent, which DataFlare refuses."""
        new = self._new()
        sets = {
            "kinds": None,
            "pairs": self._rng.choice([f"a = {new}", f"b = b || {new}", f"a = {new}, note = {self._text()}"]),
            "bare": f"x = {self._rng.randrange(4)}",
            "whole": f"id = {new}",
            "longs": None,
            "byindex": f"code = 'd{new}'",
            "grown": f"id = {new}, v = 1",
        }
        if sets[table]:
            self._run(f"update {{schema}}.{table} set {sets[table]} where {self._one(table)}")

    def _one(self, table: str) -> str:
        """Return the condition that picks one row there is, the same one in each run."""
        order = {"pairs": "a, b", "bare": "x, y, z, ctid"}.get(table, "id")
        at = self._rng.randrange(12)
        picked = f"(select ctid from {{schema}}.{table} order by {order} offset {at} limit 1)"
        return f"ctid = {picked}"

    def _value(self, kind: str) -> str:
        return "null" if self._rng.random() < 0.15 else self._rng.choice(KINDS[kind])

    def _text(self) -> str:
        return self._rng.choice(["null", "''", f"'t{self._new()}'", f"'é{self._new()}'"])

    def _long(self) -> str:
        return self._rng.choice(["null", "'short'", *[LONG.format(f"'{self._new()}'")] * 3])

    def _new(self) -> int:
        self._next += 1
        return self._next

    def _count(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1

    def _run(self, text: str) -> None:
        quoted = sql.Identifier(self.schema).as_string(self.connection)
        self.connection.execute(text.replace("{schema}", quoted).encode())


__all__ = ["LAST", "TABLES", "Script", "columns"]
