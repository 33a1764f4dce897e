"""Prepared transactions come when they are committed, once, also where a reader goes on between the two; else never."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.changes import followers
from tests.postgres import Place, place

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.postgres


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        found.run("create table {}.t (id int primary key, v text)")
        yield found


@pytest.mark.parametrize("many", [10, 3000])
def test_a_prepared_transaction_comes_at_its_commit_once(spot: Place, many: int) -> None:
    url = f"{spot.url}{'&' if '?' in spot.url else '?'}options=-c%20logical_decoding_work_mem%3D64kB"
    with followers(spot, "cdc") as build:
        one = build("t", url=url)
        assert one.stream is not None
        names = {"kept": 0, "undone": many}
        for name, above in names.items():
            spot.run("begin")
            spot.run(
                f"insert into {{}}.t select n, repeat('x', 100) from generate_series({above + 1}, {above + many}) n"
            )
            spot.run(f"prepare transaction '{spot.schema}_{name}'")
        try:
            spot.run("insert into {}.t values (-1, '')")
            assert [r["id"] for r in one.rows()] == [-1]
            one.again()
        finally:
            spot.run(f"rollback prepared '{spot.schema}_undone'")
            spot.run(f"commit prepared '{spot.schema}_kept'")
        assert [r["id"] for r in one.rows()] == list(range(1, many + 1))
        one.again()
        assert one.rows() == []
