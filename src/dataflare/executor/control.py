"""Control of a running workflow over a unix socket of mode 0600: one JSON object a line, each way.

Request: `{"verb", "workflow", "principal", "arguments": {...}}`; answer: `{"ok": value}` or `{"error": finding}`.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import TYPE_CHECKING, Any, Self

from dataflare.errors import DataFlareError, Place, UnavailableError, WorkflowError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dataflare.actor.ref import ActorRef

VERBS: Mapping[str, str] = {
    "status": "describe",
    "pause": "pause",
    "resume": "unpause",
    "stop": "stop",
    "checkpoint": "checkpoint",
    "measure": "measure",
    "tap": "tap",
    "requests": "take_requests",
    "reload": "reload",
    "followed": "followed",
}
"""The closed set of verbs and the message that each sends."""

ARGUMENTS: Mapping[str, tuple[str, ...]] = {"tap": ("node", "rows")}
"""What a verb is given besides, by name; what is missing is null."""

REQUEST_BYTES_MAX = 1 << 16
ANSWER_SECONDS_MAX = 120.0


class ControlServer:
    """Serves the verbs for one workflow as long as it runs."""

    def __init__(self, path: Path, workflow: str, coordinator: ActorRef) -> None:
        """Listen at `path` once entered; the caller holds the workflow's lease, so a file there is a dead one."""
        self._path, self._workflow, self._coordinator = path, workflow, coordinator
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX)
        try:
            # For its user alone from the first moment; the mask of the process would be that of other threads, too.
            os.fchmod(listening.fileno(), 0o600)
            listening.bind(str(self._path))
            self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=REQUEST_BYTES_MAX)
        except OSError as error:
            listening.close()
            raise UnavailableError(
                f"the control socket {self._path} cannot be made: {error.strerror or error}",
                hint="let runtime.state.path be short (a socket path has at most 107 characters), on a disk with room, "
                "and where this user may write",
            ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            answer = await self._answer(line)
        except asyncio.CancelledError:  # the run ends; asyncio of 3.11 would tell it as an error
            writer.close()
            return
        except DataFlareError as error:
            answer = {"error": error.as_finding().as_json()}
        except ValueError as error:
            answer = {"error": WorkflowError(f"not a control request: {error}").as_finding().as_json()}
        try:
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        request = json.loads(line)
        if not isinstance(request, dict) or request.get("verb") not in VERBS:
            raise WorkflowError("not a control verb", hint=f"one of {', '.join(VERBS)}")
        given = request.get("arguments") or {}
        arguments = [given.get(name) for name in ARGUMENTS.get(request["verb"], ())]
        return {"ok": await self._coordinator.ask("request", self._workflow, VERBS[request["verb"]], *arguments)}


def request(path: Path, verb: str, *, seconds: float = ANSWER_SECONDS_MAX, **arguments: Any) -> dict[str, Any]:
    """Ask a running workflow; blocking. Raises UnavailableError when nothing listens at `path`."""
    line = json.dumps({"verb": verb, "principal": f"uid:{os.getuid()}", "arguments": arguments}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(str(path))
            connection.sendall(line)
            with connection.makefile("rb") as answers:
                answer = json.loads(answers.readline() or b"{}")
        except (OSError, ValueError) as error:
            raise UnavailableError(
                f"no running workflow answers at {path}", hint="start it with: dataflare run FILE"
            ) from error
    if "error" in answer:
        finding = answer["error"]
        place = Place(finding["file"], finding["line"], finding["column"], finding["path"])
        raise WorkflowError(finding["message"], hint=finding["hint"], place=place)
    if "ok" not in answer:
        raise UnavailableError(f"the workflow at {path} ended before it answered")
    value = answer["ok"]
    return value if isinstance(value, dict) else {"value": value}
