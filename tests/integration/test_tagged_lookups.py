"""Values that are tagged leave no trace where rows are looked up, told apart or remembered (invariant 7).

The state holds what it must, and so does a savepoint; what commands print of them does not.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.processes import Ended, dataflare, run
from tests.http_server import Asked, LocalServer, Said
from tests.integration.test_tagged_values import CANARY, clean, prepared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHOWN = ("out", "dead")
QUICK = {"attempts": 2, "initial": "1ms"}
COMMANDS = (
    *("validate workflow.yaml --level sample", "plan workflow.yaml", "status workflow.yaml"),
    *("checkpoint list workflow.yaml", "checkpoint show workflow.yaml 1", "checkpoint export workflow.yaml saved"),
)


def answers(asked: Asked) -> Said:
    """Return what a server says that likes to repeat what it is asked."""
    key = asked.path.rpartition("/")[2]
    told = {"told": f"no {key}, and no {CANARY}"}
    said = {
        "broken": Said.of(told, status=500),
        "absent": Said.of(told, status=404),
        "wrong": Said.of(told, status=400),
        "garbled": Said(f'{{"email": "{key}'.encode()),
        "other": Said.of({"email": key, "label": [CANARY]}),
        "elsewhere": Said(status=302, headers={"Location": f"/nowhere/{key}"}),
        "late": Said.of(told, status=503, headers={"Retry-After": "9999"}),
        "cut": Said(b'{"email": "' + CANARY.encode(), sent=8, headers={"Content-Length": "100"}),
    }
    return said.get(asked.path.split("/")[1], said["absent"])


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer(answers) as found:
        yield found


def tables(folder: Path) -> None:
    """Write lookups whose values are secret, too, in every way in which they can be wrong."""
    with closing(sqlite3.connect(folder / "names.db")) as connection:
        connection.execute("create table names (email text, label text, number integer)")
        rows = [(CANARY, CANARY, CANARY), (CANARY, CANARY.upper(), 2), ("ada@x.org", "ada", 3)]
        connection.executemany("insert into names values (?, ?, ?)", rows)
        connection.commit()
    (folder / "names.csv").write_text(f"email,label\n{CANARY},{CANARY}\nada@x.org,1\n")


def outside(**settings: Any) -> dict[str, Any]:
    return {"keys": {"email": "email"}, "tags": {"label": "pii"}, "from": settings, "retry": QUICK}


DATABASE = {"type": "sqlite", "path": "names.db", "table": "names"}
COLUMNS = {"email": "string", "label": "string"}
LOOKUPS: dict[str, dict[str, Any]] = {
    "a key that several rows have": outside(**DATABASE, columns=COLUMNS),
    "a value of another type": {**outside(**DATABASE, columns={**COLUMNS, "number": "int64"}), "multiple": "first"},
    "a key of another type": {**outside(**DATABASE), "keys": {"email": "number"}},
    "a row that is not there": {**outside(**DATABASE, columns=COLUMNS), "multiple": "all", "miss": "fail"},
    "a row whose letter is dead": {**outside(**DATABASE, columns=COLUMNS), "multiple": "all", "miss": "dead_letter"},
    "all of a table": {**outside(**DATABASE, columns=COLUMNS), "cache": "all"},
    "an expression over it": {
        **outside(**DATABASE, columns=COLUMNS),
        "multiple": "first",
        "take": {"n": "cast(label as int64)"},
    },
    "a file": outside(type="file", path="names.csv", columns={"email": "string", "label": "int64"}),
    "a file, and a miss": {**outside(type="file", path="names.csv", columns=COLUMNS), "miss": "fail"},
}
TOLD_APART: dict[str, dict[str, Any]] = {
    "by a key": {"keys": ["email"]},
    "the last of a key": {"keys": ["email", "note"], "keep": "last"},
    "near rows": {"keys": ["email"], "within": {"rows": 2}},
}


def enriched(folder: Path, node: str, config: dict[str, Any], action: str) -> Ended:
    prepared(folder, node, config, action)
    tables(folder)
    text = (folder / "workflow.yaml").read_text()
    (folder / "workflow.yaml").write_text(text.replace("method: redact", "method: 'null'"))
    return run(folder, "--log", "json")


@pytest.mark.parametrize("action", ["fail", "dead_letter"])
@pytest.mark.parametrize("name", LOOKUPS)
def test_a_value_that_is_looked_up_is_nowhere(tmp_path: Path, name: str, action: str) -> None:
    told = enriched(tmp_path, "enrichment", LOOKUPS[name], action)
    assert told.code in (0, 1, 2, 3), told.err
    clean(tmp_path, told, folders=SHOWN)
    if action == "fail":
        clean(tmp_path, dataflare(tmp_path, "validate", "workflow.yaml", "--level", "sample"), folders=SHOWN)


@pytest.mark.parametrize("action", ["fail", "dead_letter"])
@pytest.mark.parametrize(
    "path", ["broken", "absent", "wrong", "garbled", "other", "elsewhere", "late", "cut"]
)  # fmt: skip
def test_a_value_that_a_server_is_asked_for_is_nowhere(
    tmp_path: Path, server: LocalServer, path: str, action: str
) -> None:
    config = outside(type="http", url=f"{server.url}/{path}/{{email}}", columns=COLUMNS, retry=QUICK)
    told = enriched(tmp_path, "enrichment", config, action)
    assert server.asked, told.err
    assert told.code in (0, 1, 3), told.err
    clean(tmp_path, told, folders=SHOWN)


def test_a_value_that_nobody_can_be_asked_for_is_nowhere(tmp_path: Path) -> None:
    with LocalServer(answers) as gone:
        url = gone.url
    told = enriched(tmp_path, "enrichment", outside(type="http", url=f"{url}/{{email}}", columns=COLUMNS), "fail")
    assert told.code == 3
    clean(tmp_path, told, folders=SHOWN)


@pytest.mark.parametrize("action", ["fail", "dead_letter"])
@pytest.mark.parametrize("name", TOLD_APART)
def test_a_value_by_which_rows_are_told_apart_is_nowhere(tmp_path: Path, name: str, action: str) -> None:
    told = enriched(tmp_path, "deduplicate", TOLD_APART[name], action)
    assert told.code == 0, told.err
    clean(tmp_path, told, folders=SHOWN)


REMEMBERED = {
    "deduplicate": TOLD_APART["the last of a key"],
    "enrichment": {**LOOKUPS["a row that is not there"], "miss": "keep"},
}


@pytest.mark.parametrize("node", REMEMBERED)
def test_no_command_tells_what_is_remembered(tmp_path: Path, node: str) -> None:
    assert enriched(tmp_path, node, REMEMBERED[node], "fail").code == 0
    for command in COMMANDS:
        for more in ([], ["--json"]):
            told = dataflare(tmp_path, *command.split(), *more)
            assert told.code == 0, told.err
            clean(tmp_path, told, folders=SHOWN)


POSITIONS = {
    "a cursor": ("incremental", {"incremental": {"cursor_field": "email"}}),
    "a key": ("full", {"key": ["email"], "query": "select * from names where label <> upper(label)", "table": ""}),
    "a cursor beside a key": ("incremental", {"key": ["email"], "incremental": {"cursor_field": "number"}}),
}


@pytest.mark.parametrize("name", POSITIONS)
def test_a_position_that_holds_a_value_is_not_told(tmp_path: Path, name: str) -> None:
    mode, more = POSITIONS[name]
    config = json.dumps({k: v for k, v in {**DATABASE, "columns": None, **more}.items() if v and k != "type"})
    source = f"people: {{type: sqlite, mode: {mode}, config: {config}, tags: {{email: pii, label: pii}}}}"
    prepared(tmp_path, "union", "{}", "fail", source=source)
    tables(tmp_path)
    with closing(sqlite3.connect(tmp_path / "names.db")) as connection:
        connection.execute("update names set number = rowid")
        connection.commit()
    told = run(tmp_path, "--log", "json")
    assert told.code == 0, told.err
    clean(tmp_path, told, folders=SHOWN)
    for arguments in ([], ["--json"]):
        told = dataflare(tmp_path, "checkpoint", "show", "workflow.yaml", "1", *arguments)
        assert told.code == 0, told.err
        assert "***" in told.out
        clean(tmp_path, told, folders=SHOWN)
