"""The page on changes from PostgreSQL is followed on a real server, with names of the test's own."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from tests.changes import forget, logged
from tests.chaos import processes
from tests.docs.page import blocks_of
from tests.docs.test_documents import ROOT
from tests.postgres import VARIABLE, Place, place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.postgres
BLOCKS = blocks_of(ROOT / "docs" / "postgres-cdc.md")


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        found.run("create table {}.orders (id int primary key, amount numeric(10,2))")
        found.run("create table {}.customers (id int primary key, name text)")
        found.run("insert into {}.orders values (1, 9.50)")
        yield found
        forget(found, f"dataflare_{found.schema}_shop")


def dataflare(folder: Path, *arguments: str) -> str:
    done = processes.dataflare(folder, *arguments)
    assert done.code == 0, done.out + done.err
    return done.out


def test_the_page_is_true(spot: Place, tmp_path: Path) -> None:
    workflow, copy, _ = (b.text for b in BLOCKS if b.language == "yaml")
    grants, publication, lag = (b.text for b in BLOCKS if b.language == "sql")
    named = {"public.": f"{spot.schema}.", "dataflare_shop_shop": f"dataflare_{spot.schema}_shop"}

    def script(text: str) -> list[tuple[object, ...]]:
        for old, new in named.items():
            text = text.replace(old, new)
        found = [spot.run(statement) for statement in text.split(";") if statement.strip()]
        return found[-1]

    password = '\n      password: "${secret:pg/PASSWORD}"'
    assert password in workflow
    for old, new in {**named, "postgresql://flare@localhost/shop": f'"${{{VARIABLE}}}"', password: ""}.items():
        workflow = workflow.replace(old, new)
    copied = {"postgresql://app@other/warehouse": f'"${{{VARIABLE}}}"', "shop.orders}": f"{spot.schema}.copy}}"}
    for old, new in copied.items():
        assert old in copy
        copy = copy.replace(old, new)
    workflow += copy.removeprefix("destinations:\n")
    (tmp_path / "shop.yaml").write_text(workflow.replace("id: shop\n", f"id: {spot.schema}\n"))
    assert "alter table public.orders owner to flare" in grants

    assert "is valid" in dataflare(tmp_path, "validate", "shop.yaml", "--level", "connect")
    dataflare(tmp_path, "run", "shop.yaml", "--until", "now")
    spot.run("update {}.orders set amount = 12 where id = 1")
    spot.run("insert into {}.customers values (7, 'Ada')")
    dataflare(tmp_path, "run", "shop.yaml", "--until", "now")
    assert [(c["_op"], c["amount"]) for c in logged(tmp_path / "orders")] == [("read", 9.5), ("update", 12.0)]
    assert [(c["_op"], c["name"]) for c in logged(tmp_path / "customers")] == [("insert", "Ada")]

    assert [(int(n), float(amount)) for n, amount in spot.run("select id, amount from {}.copy")] == [(1, 12.0)]

    slots = {name: status for name, _, status, _ in script(lag)}
    assert slots[f"dataflare_{spot.schema}_shop"] == "reserved"

    def told(verb: str) -> tuple[str, str]:
        """Return what a verb says, and what the page says that it does."""
        (page,) = (b.text for b in BLOCKS if b.language == "console" and f"$ dataflare cdc {verb} shop.yaml" in b.text)
        for old, new in named.items():
            page = page.replace(old, new)
        yes = ["--yes"] if verb == "drop" else []
        return dataflare(tmp_path, "cdc", verb, "shop.yaml", *yes), page

    status, page = told("status")
    assert [line.split("  ")[0] for line in status.splitlines()] == [
        line.split("  ")[0].rstrip(" -") for line in page.splitlines()[1:]
    ]
    dropped, page = told("drop")
    assert dropped.splitlines() == page.splitlines()[2:]
    script(publication)


def test_messages_come_as_the_page_says(spot: Place, tmp_path: Path) -> None:
    workflow = [b.text for b in BLOCKS if b.language == "yaml"][2]
    assert "postgresql://flare@localhost/shop" in workflow
    workflow = workflow.replace("postgresql://flare@localhost/shop", f'"${{{VARIABLE}}}"')
    (tmp_path / "shop.yaml").write_text(f"id: {spot.schema}\n" + workflow.replace("public.", f"{spot.schema}."))
    dataflare(tmp_path, "run", "shop.yaml", "--until", "now")
    for prefix in ("outbox", "audit.login", "other"):
        spot.run(f"select pg_logical_emit_message(true, '{prefix}', 'of {prefix}')")
    for _ in range(2):
        dataflare(tmp_path, "run", "shop.yaml", "--until", "now")
    found = logged(tmp_path / "events")
    assert [(m["prefix"], base64.b64decode(m["content"])) for m in found] == [
        ("outbox", b"of outbox"),
        ("audit.login", b"of audit.login"),
    ]
    page = (ROOT / "docs" / "postgres-cdc.md").read_text()
    assert [name for name in found[0] if f"| `{name}` |" not in page] == []


def test_the_page_names_every_setting() -> None:
    from dataflare.connectors.postgres.settings import ChangesConfig

    page = (ROOT / "docs" / "postgres-cdc.md").read_text()
    assert [name for name in ChangesConfig.model_fields if name not in page] == []
