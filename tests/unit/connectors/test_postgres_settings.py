"""The PostgreSQL connectors make one address of their settings, and hide the password wherever it could be seen."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dataflare.connectors.postgres.failures import translated
from dataflare.connectors.postgres.replication.connection import ReplicationConnection
from dataflare.connectors.postgres.session import PostgresSession
from dataflare.connectors.postgres.settings import PostgresConfig, PostgresDestinationConfig, PostgresSourceConfig
from dataflare.errors import DataError, DataFlareError, ExternalError, UnavailableError, WorkflowError

URL = "postgresql://ann:p%40ss@db.example:5433/shop"


def options(config: PostgresConfig) -> dict[str, str]:
    return {k: v[0] for k, v in parse_qs(urlsplit(config.address("dataflare w/n")).query).items()}


def test_settings_go_before_the_url() -> None:
    found = options(PostgresConfig(url=f"{URL}?application_name=mine", user="bob", password="a&b=c ", port=1))
    assert (found["user"], found["password"], found["port"]) == ("bob", "a&b=c ", "1")
    assert found["application_name"] == "mine"
    assert PostgresConfig(url=URL).address("x").startswith(f"{URL}?")


def test_an_address_can_be_made_of_parts() -> None:
    config = PostgresConfig(host="db", database="shop", user="ann")
    assert config.address("x").startswith("postgresql:///?")
    assert options(config)["dbname"] == "shop"
    assert config.shown() == "db/shop"


@pytest.mark.parametrize(
    ("settings", "mode", "authority"),
    [
        ({}, None, None),
        ({"sslmode": "prefer"}, "prefer", None),
        ({"sslmode": "disable"}, "disable", None),
        ({"sslmode": "require"}, "verify-full", "system"),
        ({"sslmode": "verify-ca"}, "verify-full", "system"),
        ({"sslmode": "require", "sslrootcert": "ca.pem"}, "verify-full", "ca.pem"),
        ({"sslmode": "require", "verify": False}, "require", None),
        ({"url": f"{URL}?sslmode=require"}, "verify-full", "system"),
        ({"url": f"{URL}?sslmode=require&sslrootcert=ca.pem"}, "verify-full", "ca.pem"),
    ],
)
def test_tls_that_is_asked_for_is_verified(settings: dict[str, Any], mode: str | None, authority: str | None) -> None:
    found = options(PostgresConfig(**settings))
    assert (found.get("sslmode"), found.get("sslrootcert")) == (mode, authority)


def test_nothing_shows_the_password() -> None:
    config = PostgresConfig(url=URL, password="hunter two")
    assert "p%40ss" not in repr(config)
    assert "hunter" not in repr(config)
    told = "failed for postgresql://ann:p%40ss@db and hunter two and hunter%20two"
    assert config.scrubbed(told) == "failed for postgresql://ann:***@db and *** and ***"
    assert config.shown() == "db.example:5433/shop"


class RefusalError(Exception):
    sqlstate = ""


@pytest.mark.parametrize(
    ("state", "text", "kind", "shown"),
    [
        ("08006", "IO: connection lost", ExternalError, "connection lost"),
        ("40001", "ERROR: could not serialize", ExternalError, "could not serialize"),
        ("53100", "ERROR: could not extend file", UnavailableError, "could not extend file"),
        ("25006", "ERROR: cannot execute INSERT in a read-only transaction", UnavailableError, "read-only"),
        ("42501", "ERROR: permission denied for table t", UnavailableError, "permission denied for table t"),
        ("42P01", 'ERROR: relation "x" does not exist LINE 1: select', WorkflowError, 'relation "x" does not exist'),
        ("22P02", 'ERROR: invalid input syntax for type uuid: "4711"', DataError, "invalid input syntax for type uuid"),
        ("23505", "ERROR: duplicate key DETAIL: Key (id)=(4711)", DataError, "duplicate key"),
        (
            "22001",
            'ERROR: value too long CONTEXT: COPY t, line 1, column c: "4711"',
            DataError,
            r"too long \(column c\)",
        ),
        ("", "IO: [libpq] Failed to connect: server closed the connection", ExternalError, "server closed"),
        ("", 'FATAL: password authentication failed for user "ann"', UnavailableError, "authentication failed"),
        ("", "FATAL: sorry, too many clients already", ExternalError, "too many clients"),
        ("", "SSL error: certificate verify failed", UnavailableError, "certificate verify failed"),
    ],
)
def test_what_the_server_refuses_is_said_with_who_can_cure_it(
    state: str, text: str, kind: type[DataFlareError], shown: str
) -> None:
    error = RefusalError(text)
    error.sqlstate = state
    found = translated(error, "db/shop", lambda t: t)
    assert type(found) is kind
    assert found.hint
    assert "4711" not in str(found)
    with pytest.raises(kind, match=shown):
        raise found


def test_a_missing_driver_is_told_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql.dbapi", None)
    with pytest.raises(UnavailableError) as caught:
        PostgresSession(PostgresConfig(url=URL), "x")
    assert "pip install 'dataflare[postgres]'" in caught.value.hint


@pytest.mark.parametrize("missing", ["psycopg", "dataflare.connectors.postgres.replication.frames"])
def test_what_change_capture_lacks_is_told_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UnavailableError) as caught:
        ReplicationConnection(PostgresConfig(url=URL), "x")
    assert "pip install 'dataflare[cdc]'" in caught.value.hint


@pytest.mark.parametrize(
    ("tables", "names"),
    [
        (["public.orders", "customers"], ["orders", "customers"]),
        (["a.orders", "b.orders", "b.x"], ["a.orders", "b.orders", "x"]),
    ],
)
def test_outputs_are_named_as_briefly_as_is_clear(tables: list[str], names: list[str]) -> None:
    assert list(PostgresSourceConfig(tables=tables).outputs()) == names


def test_one_table_is_the_default_output() -> None:
    assert PostgresSourceConfig(table="public.orders").outputs() == {"": "public.orders"}
    assert PostgresDestinationConfig(table="t").new_columns == "add"
