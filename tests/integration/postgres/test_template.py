"""The template that reads PostgreSQL runs on a real server, each time on from where it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from tests.postgres import Place, place

from dataflare.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.postgres


@pytest.fixture
def postgres() -> Iterator[Place]:
    with place() as found:
        yield found


def test_new_rows_are_read_and_masked(postgres: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    postgres.run(
        "create table {}.orders (id bigint primary key, email text, status text, amount numeric(12,2), "
        "updated_at timestamptz)"
    )
    postgres.run(
        "insert into {}.orders values (1, 'ada@x.org', 'paid', 12.5, now()), (2, 'bo@x.org', 'open', 1, now())"
    )
    monkeypatch.setenv("DATABASE_URL", postgres.url)
    monkeypatch.setenv("SHOP_SALT", "a long salt of the test")
    monkeypatch.setenv("SHOP_PASSWORD", "")
    folder = tmp_path / "shop"
    assert main(["init", str(folder), "--template", "postgres-to-parquet"]) == 0
    file = folder / "workflow.yaml"
    file.write_text(file.read_text().replace("public.orders", postgres.table("orders")))
    assert main(["run", str(file)]) == 0
    postgres.run("insert into {}.orders values (3, 'cleo@x.org', 'paid', 7, now())")
    assert main(["run", str(file)]) == 0
    rows = pq.read_table(folder / "out" / "orders").sort_by("id").to_pylist()
    assert [row["id"] for row in rows] == [1, 3]
    assert all("@" not in row["email"] for row in rows)
