"""Runs that are called by HTTP, with the real process of a folder: who may, what is answered, what is kept."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.processes import begin, begin_anew, dataflare, end, ended, press_ctrl_c, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.chaos.processes import Process

TEXT = """
id: NAME
secrets: {hooks: {type: env, prefix: HOOK_}}
sources:
  made: {type: generator, config: {rows: ROWS, columns: {id: sequence}}}
destinations:
  out: {type: file, inputs: [made], config: {path: out-NAME, format: jsonl}}
schedule: {type: event, webhook: WEBHOOK, overlap: OVERLAP}
"""
SECRETS = {"HOOK_TOKEN": "open sesame", "HOOK_SIGN": "swordfish"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def write(folder: Path, name: str, webhook: str = "{}", overlap: str = "queue", rows: str = "5") -> None:
    text = TEXT.replace("NAME", name).replace("WEBHOOK", webhook).replace("OVERLAP", overlap).replace("ROWS", rows)
    (folder / f"{name}.yaml").write_text(text)


def post(
    port: int, path: str, body: bytes = b"{}", headers: dict[str, str] | None = None, method: str = "POST"
) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


@contextmanager
def kept(folder: Path, port: int) -> Iterator[Process]:
    process = begin(folder, "run", ".", "--listen", f"127.0.0.1:{port}", environ=SECRETS)
    try:
        wait_until(lambda: listens(port), process)
        yield process
    finally:
        end(process)


def history(folder: Path, name: str) -> list[dict[str, Any]]:
    found = dataflare(folder, "history", name, "--state", ".dataflare", "--json")
    return [json.loads(line) for line in found.out.splitlines()] if found.code == 0 else []


def runs_ended(folder: Path, name: str, count: int) -> bool:
    return len([run for run in history(folder, name) if run["status"] == "succeeded"]) == count


def test_a_call_is_answered_with_the_run_that_it_starts(tmp_path: Path) -> None:
    write(tmp_path, "plain")
    write(tmp_path, "named", "{path: /a/b, key_header: X-Delivery, body_bytes_max: 1KiB}")
    port = free_port()
    with kept(tmp_path, port) as process:
        status, told = post(port, "/plain", headers={"Idempotency-Key": "one"})
        assert (status, told["workflow"], told["repeated"]) == (202, "plain", False)
        assert post(port, "/plain", headers={"Idempotency-Key": "one"}) == (202, {**told, "repeated": True})
        assert post(port, "/plain", headers={"Idempotency-Key": "k" * 201})[0] == 400
        assert post(port, "/plain", headers={"Idempotency-Key": "k\x9b2J"})[0] == 400
        assert post(port, "/plain", headers={"Origin": "https://else.where"})[0] == 403
        assert post(port, "/plain", method="GET")[0] == 405
        assert post(port, "/named")[0] == 404
        assert post(port, "/a/b", b"x" * 1025)[0] == 413
        assert post(port, "/a/b?page=1", b"\x00 is no JSON", {"X-Delivery": "one"})[0] == 202
        wait_until(lambda: runs_ended(tmp_path, "plain", 1) and runs_ended(tmp_path, "named", 1), process)
        assert [(r["run"], r["trigger"], r["key"]) for r in history(tmp_path, "plain")] == [
            (told["run"], "webhook", "one")
        ]
        press_ctrl_c(process)
        done = ended(process)
    assert done.code == 130
    assert f"listens at http://127.0.0.1:{port}" in done.out
    assert f"plain  run {told['run']} begins (webhook)" in done.out
    assert done.err == ""


def test_who_may_call_is_said_by_a_token_or_a_signature_and_no_secret_is_told(tmp_path: Path) -> None:
    write(tmp_path, "token", '{auth: {type: token, token: "${secret:hooks/TOKEN}"}}')
    write(tmp_path, "signed", '{auth: {type: hmac, secret: "${secret:hooks/SIGN}"}}')
    port, body = free_port(), b'{"ref": "main"}'
    signature = hmac.new(b"swordfish", body, hashlib.sha256).hexdigest()
    with kept(tmp_path, port) as process:
        assert post(port, "/token")[0] == 401
        assert post(port, "/token", headers={"Authorization": "Bearer open"})[0] == 401
        assert post(port, "/token", headers={"Authorization": "Bearer open sesame", "Origin": "https://x"})[0] == 202
        assert post(port, "/signed", body)[0] == 401
        assert post(port, "/signed", body + b" ", {"X-Hub-Signature-256": f"sha256={signature}"})[0] == 401
        assert post(port, "/signed", body, {"X-Hub-Signature-256": f"sha256={signature}"})[0] == 202
        wait_until(lambda: runs_ended(tmp_path, "token", 1) and runs_ended(tmp_path, "signed", 1), process)
        press_ctrl_c(process)
        done = ended(process)
    kept_bytes = b"".join(p.read_bytes() for p in (tmp_path / ".dataflare").rglob("*") if p.is_file())
    for secret in SECRETS.values():
        assert secret not in done.out + done.err
        assert secret.encode() not in kept_bytes


def test_a_run_that_is_called_for_by_hand_is_an_event_of_its_path(tmp_path: Path) -> None:
    write(tmp_path, "plain")
    port = free_port()
    with kept(tmp_path, port) as process:
        wait_until(lambda: post(port, "/plain")[0] == 202, process)  # so that the schedule has been taken up
        wait_until(lambda: runs_ended(tmp_path, "plain", 1), process)
        assert dataflare(tmp_path, "trigger", "/plain", "--state", ".dataflare").code == 0
        wait_until(lambda: runs_ended(tmp_path, "plain", 2), process)
    assert [run["trigger"] for run in history(tmp_path, "plain")] == ["webhook", "event"]


def test_while_a_run_goes_on_a_call_is_told_so(tmp_path: Path) -> None:
    write(tmp_path, "slow", overlap="skip", rows="null, rate: 50")
    (tmp_path / "slow.yaml").write_text((tmp_path / "slow.yaml").read_text().replace("rows: null", "rows: 100000"))
    port = free_port()
    with kept(tmp_path, port) as process:
        first = post(port, "/slow")
        assert first[0] == 202
        assert post(port, "/slow") == (409, {"workflow": "slow", "error": "the run before had not ended"})
        press_ctrl_c(process)
        assert ended(process).code == 130
    statuses = {run["run"]: run["status"] for run in history(tmp_path, "slow")}
    assert statuses[first[1]["run"]] in ("interrupted", "stopped")


@pytest.mark.parametrize(
    ("webhook", "listen", "said"),
    [
        ("{}", "0.0.0.0:0", "whoever listens to a network needs auth"),
        ('{auth: {type: token, token: "${secret:hooks/NONE}"}}', "127.0.0.1:0", "HOOK_NONE"),
        ("{}", "127.0.0.1", "is no address to listen at"),
    ],
)
def test_what_cannot_be_called_is_told(webhook: str, listen: str, said: str, tmp_path: Path) -> None:
    write(tmp_path, "wrong", webhook)
    done = dataflare(tmp_path, "run", ".", "--listen", listen)
    assert done.code in (2, 3)
    assert said in done.err


def test_a_path_belongs_to_one_workflow(tmp_path: Path) -> None:
    write(tmp_path, "plain")
    write(tmp_path, "wrong", "{path: /plain}")
    port = free_port()
    with kept(tmp_path, port) as process:
        assert post(port, "/plain")[1]["workflow"] == "plain"
        press_ctrl_c(process)
        done = ended(process)
    assert "plain is called at /plain, too" in done.err
    assert done.code == 2


def test_an_address_that_another_holds_is_told_and_tried_again(tmp_path: Path) -> None:
    write(tmp_path, "plain")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = int(other.getsockname()[1])
        process = begin_anew(tmp_path, "run", ".", "--listen", f"127.0.0.1:{port}")
        try:
            assert process.stderr is not None
            assert process.stderr.readline().startswith(f"warning: nobody can listen at 127.0.0.1 port {port}")
            other.close()
            wait_until(lambda: listens(port), process)
            assert post(port, "/plain")[0] == 202
        finally:
            end(process)
