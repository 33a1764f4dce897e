"""The chapter on changes from MariaDB is followed on a real server, with names of the test's own."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from tests.changes import logged
from tests.docs.page import blocks_of
from tests.docs.test_documents import ROOT
from tests.docs.test_postgres_cdc import dataflare
from tests.mariadb import Database, database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.mariadb
PAGE = ROOT / "docs" / "mariadb.md"
BLOCKS = blocks_of(PAGE)


@pytest.fixture
def spot() -> Iterator[Database]:
    with database() as found:
        found.run("create table orders (id int primary key, amount decimal(10,2))")
        found.run("create table customers (id int primary key, name text)")
        found.run("insert into orders values (1, 9.50)")
        yield found


def test_the_chapter_is_true(spot: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = next(b.text for b in BLOCKS if b.language == "yaml" and "mode: hybrid" in b.text)
    settings, grants = (b.text for b in BLOCKS if b.language == "sql")
    for statement in settings.split(";"):
        if statement.strip():
            spot.run(statement)  # the server of the tests is set so already
    user, password = f"flare_{secrets.token_hex(4)}", secrets.token_hex(8)
    for old, new in {"flare@": f"{user}@", "'...'": f"'{password}'", "shop.*": f"{spot.name}.*"}.items():
        assert old in grants
        grants = grants.replace(old, new)
    for statement in grants.split(";"):
        if statement.strip():
            spot.run(statement)
    monkeypatch.setenv("SHOP_PASSWORD", password)
    host = spot.server.rpartition("@")[2]
    text = workflow.replace("id: shop\n", f"id: {spot.name}\n").replace(
        "flare@localhost/shop", f"{user}@{host}/{spot.name}"
    )
    assert user in text
    (tmp_path / "shop.yaml").write_text(text)
    try:
        assert "is valid" in dataflare(tmp_path, "validate", "shop.yaml", "--level", "connect")
        dataflare(tmp_path, "run", "shop.yaml", "--until", "now")
        spot.run("update orders set amount = 12 where id = 1")
        spot.run("insert into customers values (7, 'Ada')")
        dataflare(tmp_path, "run", "shop.yaml", "--until", "now")
    finally:
        spot.run(f"drop user {user}@'%'")
    assert [(c["_op"], c["amount"]) for c in logged(tmp_path / "orders")] == [("read", 9.5), ("update", 12.0)]
    assert [(c["_op"], c["name"]) for c in logged(tmp_path / "customers")] == [("insert", "Ada")]


def test_the_chapter_names_every_setting() -> None:
    from dataflare.connectors.mariadb.settings import MariaChangesConfig

    page = PAGE.read_text()
    assert [name for name in MariaChangesConfig.model_fields if f"`{name}" not in page] == []
