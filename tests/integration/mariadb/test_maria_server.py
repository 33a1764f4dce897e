"""The private MariaDB of the tests starts, is found again, forgets nothing when it stops, and leaves nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.mariadb import VARIABLE

pytestmark = pytest.mark.mariadb
SERVICES = Path(__file__).resolve().parents[3] / "scripts" / "services.py"


def test_a_server_of_its_own_starts_twice_keeps_its_data_and_is_wiped() -> None:
    if not os.environ.get(VARIABLE):
        pytest.skip(f"{VARIABLE} is not set: python scripts/services.py start, then env")
    import pymysql

    folder = Path(tempfile.mkdtemp(prefix="dataflare-server-"))
    folder.chmod(0o755)  # the account of the server must reach it
    port = 41_400 + os.getpid() % 90 * 50  # far from those that other workers look at
    own = {"DATAFLARE_SERVICES_DIR": str(folder), "DATAFLARE_SERVICES_PORT_BASE": str(port)}

    def do(command: str) -> str:
        ran = [sys.executable, str(SERVICES), command, "mariadb"]
        done = subprocess.run(ran, env={**os.environ, **own}, capture_output=True, text=True, check=True, timeout=100)
        return done.stdout

    def ask(sql: str) -> str:
        place = urlsplit(do("env").strip().partition("=")[2])
        told = {"host": place.hostname, "port": place.port, "user": place.username, "password": place.password}
        with closing(pymysql.connect(**told, ssl_disabled=True, autocommit=True)) as connection:
            cursor = connection.cursor()
            cursor.execute(sql)
            return str((cursor.fetchone() or [""])[0])

    try:
        assert "started" in do("start")
        assert "runs already" in do("start")
        assert (
            ask("select concat_ws(' ', @@binlog_format, @@binlog_row_metadata, if(@@log_bin, 'ON', 'OFF'))")
            == "ROW FULL ON"
        )
        ask("create database kept")
        assert "stopped" in do("stop")
        assert "does not run" in do("stop")
        do("start")
        assert ask("show databases like 'kept'") == "kept"
        do("wipe")
        assert [p.name for p in (folder / "mariadb").iterdir() if p.name in ("data", "service.json", "users.sql")] == []
    finally:
        do("stop")
        shutil.rmtree(folder, ignore_errors=True)
