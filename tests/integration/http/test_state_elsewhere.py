"""`run --state`: the state and the journal of a webhook are in another folder, and belong together."""

from __future__ import annotations

import socket
import sqlite3
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING

from tests.chaos.processes import begin, dataflare, end, ended, wait_until

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """
id: hook
guarantee: exactly_once
sources:
  orders: {type: webhook, config: {port: PORT, columns: {id: int64}}}
destinations:
  out: {type: sqlite, inputs: [orders], config: {path: out.db, table: out}}
"""


def answered(port: int, body: bytes) -> bool:
    try:
        return int(urllib.request.urlopen(f"http://127.0.0.1:{port}/", body, timeout=60).status) == 200
    except OSError:
        return False


def test_state_and_journal_move_together(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = int(found.getsockname()[1])
    (tmp_path / "hook.yaml").write_text(TEXT.replace("PORT", str(port)))
    for number in range(2):  # the second run goes on behind the first
        process = begin(tmp_path, "run", "hook.yaml", "--state", "kept")
        try:
            wait_until(lambda: answered(port, b'{"id": 1}'), process)
            assert dataflare(tmp_path, "stop", "hook.yaml", "--state", "kept").code == 0
            assert ended(process).code == 0, number
        finally:
            end(process)
    assert (tmp_path / "kept" / "journal" / "default" / "hook" / "orders").is_dir()
    assert (tmp_path / "kept" / "state.db").is_file()
    assert not (tmp_path / ".dataflare").exists()
    assert dataflare(tmp_path, "run", "hook.yaml", "--state", "kept", "--until", "now").code == 0
    with closing(sqlite3.connect(tmp_path / "out.db")) as connection:
        assert connection.execute("select count(*) from out").fetchone() == (2,)


def test_the_workflows_of_a_folder_share_the_state_that_is_named(tmp_path: Path) -> None:
    for name in ("one", "two"):
        text = TEXT.replace("id: hook", f"id: {name}").replace("type: webhook", "type: generator")
        text = text.replace("port: PORT, columns: {id: int64}", "rows: 3, columns: {id: sequence}")
        (tmp_path / f"{name}.yaml").write_text(text.replace("table: out", f"table: {name}"))
    assert dataflare(tmp_path, "run", ".", "--state", "kept").code == 0
    assert not (tmp_path / ".dataflare").exists()
    done = dataflare(tmp_path, "history", "--state", "kept")
    assert [line.split()[0] for line in done.out.splitlines()[1:]] == ["one", "two"]
