"""Rows that come as texts of COPY are the rows that come as Arrow; what is no such text comes as Arrow too."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from tests.postgres import Place, place

from dataflare.connectors.postgres.copying import CopySession
from dataflare.connectors.postgres.session import PostgresSession
from dataflare.connectors.postgres.settings import PostgresSourceConfig
from dataflare.connectors.postgres.source import PostgresSource
from dataflare.testing.stage import batches_of, splits_of, staged

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.postgres

COLUMNS: dict[str, list[str]] = {
    "bool": ["true", "false"],
    "int2": ["-32768", "32767"],
    "int4": ["-2147483648", "2147483647"],
    "int8": ["-9223372036854775808", "9223372036854775807"],
    "float4": ["0.1", "'-0'", "'NaN'", "'Infinity'", "1e-45", "3.4028235e38", "16777216"],
    "float8": ["0.1", "'-0'", "'NaN'", "'-Infinity'", "5e-324", "1.7976931348623157e308", "0.30000000000000004"],
    "text": [
        *(
            "''",
            "' '",
            "'null'",
            "'NULL'",
            "E'a\\nb'",
            "E'a\\r\\nb'",
            "'a,b'",
            "'\"'",
            "'\"\"'",
            "E'\\\\.'",
            "E'\\\\N'",
        ),
        *("'é漢😀'", "E'\\t'", "'t'", "'1'"),
    ],
    "char(3)": ["'a'", "''"],
    "varchar": ["'x'"],
    "uuid": ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"],
    "numeric(38,9)": ["1.5", "-99999999999999999999999999999.123456789", "0"],
    "numeric(5,2)": ["999.99", "-0.01"],
    "numeric": ["1.000000001", "-7"],
    "date": ["'0001-01-01'", "'1969-12-31'", "'9999-12-31'"],
    "time": ["'00:00'", "'23:59:59.999999'", "'12:34:56.7'"],
    "timestamp": ["'0001-01-01'", "'1969-12-31 23:59:59.999999'", "'9999-12-31 23:59:59.123'", "'2026-01-01 10:00'"],
    "timestamptz": ["'1969-12-31 23:59:59.999999+00'", "'2026-01-01 10:00+05:30'", "'0001-01-02 00:00+00'"],
}
LATER = {"date": "'12345-01-01'", "timestamp": "'0044-03-15 BC'", "timestamptz": "'20000-01-01 00:00+00'"}


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        yield found


def rows_of(spot: Place, *, texts: bool, **settings: Any) -> tuple[list[tuple[Any, ...]], type]:
    """Return all rows, bit for bit, and the kind of connection at the end."""
    source = staged(PostgresSource(PostgresSourceConfig(**{"url": spot.url, "table": spot.table("t"), **settings})))
    source.open()
    source._speaks_text = texts
    found = []
    for split in splits_of(source):
        for batch in batches_of(source, split):
            assert batch.rows.schema.equals(source.context.schemas[""].to_arrow()), "types are those of the plan"
            found += [tuple(bits(v) for v in row.values()) for row in batch.rows.to_pylist()]
    kind = type(source.session)
    source.close()
    return found, kind


def bits(value: Any) -> Any:
    return struct.pack("d", value) if isinstance(value, float) else value


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("kind", COLUMNS)
def test_a_value_is_the_same_by_either_way(spot: Place, kind: str, keyed: bool) -> None:
    spot.run(f"create table {{}}.t (id int {'primary key' if keyed else ''}, c {kind})")
    values = [*COLUMNS[kind], "null"]
    spot.run("insert into {}.t values " + ", ".join(f"({n}, {v})" for n, v in enumerate(values)))
    spot.run("analyze {}.t")
    by_text, kind_of_texts = rows_of(spot, texts=True)
    by_arrow, kind_of_arrow = rows_of(spot, texts=False)
    assert by_text == by_arrow
    assert len(by_text) == len(values)
    assert (kind_of_texts, kind_of_arrow) == (CopySession, PostgresSession)


def test_a_lone_column_may_be_null_in_every_row(spot: Place) -> None:
    spot.run("create table {}.t (c text)")
    spot.run("insert into {}.t values (null), (''), (null), ('x')")
    spot.run("analyze {}.t")
    found, kind = rows_of(spot, texts=True)
    assert found == [(None,), ("",), (None,), ("x",)]
    assert kind is CopySession


@pytest.mark.parametrize("kind", LATER)
def test_from_a_value_without_such_a_text_on_rows_come_the_other_way(spot: Place, kind: str) -> None:
    spot.run(f"create table {{}}.t (id int primary key, c {kind})")
    spot.run("insert into {}.t select n, '2026-01-01' from generate_series(1, 20000) n")
    spot.run(f"update {{}}.t set c = {LATER[kind]} where id = 15000")
    source = staged(PostgresSource(PostgresSourceConfig(url=spot.url, table=spot.table("t"), fetch_rows=4000)))
    source.open()
    found = [
        (n, v)
        for split in splits_of(source)
        for batch in batches_of(source, split)
        for n, v in zip(
            batch.rows.column("id").to_pylist(), batch.rows.column("c").cast(source_int(kind)).to_pylist(), strict=True
        )
    ]
    assert [n for n, _ in found] == list(range(1, 20001))
    assert len({v for n, v in found if n != 15000}) == 1
    assert found[14999][1] != found[0][1]
    assert isinstance(source.session, PostgresSession)
    source.close()


def source_int(kind: str) -> str:
    """Return the integer of which Arrow makes such a value: Python has no such years."""
    return "int32" if kind == "date" else "int64"


def test_a_server_that_would_shorten_floats_is_told_not_to(spot: Place) -> None:
    spot.run("create table {}.t (id int primary key, c float8)")
    spot.run("insert into {}.t values (1, 0.30000000000000004)")
    shortening = f"{spot.url}{'&' if '?' in spot.url else '?'}options=-c%20extra_float_digits%3D-5"
    found, kind = rows_of(spot, texts=True, url=shortening)
    assert found == [(1, bits(0.30000000000000004))]
    assert kind is CopySession
