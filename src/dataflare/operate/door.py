"""The one HTTP listener of a process: which workflow is called at a path, by whom, and what the caller is told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataflare.errors import DataFlareError, Place, UnavailableError, WorkflowError
from dataflare.listening.requests import Admission, RefusedError, admitted, answer
from dataflare.listening.server import serve
from dataflare.listening.settings import CallerAuth
from dataflare.monitoring.events import CallsTaken, Noticed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from dataflare.component import Runtime
    from dataflare.listening.server import Address
    from dataflare.operate.calls import Answered
    from dataflare.schedule import Webhook

METHODS = ("POST",)
KEY_CHARACTERS_MAX = 200
ANSWER_SECONDS = 30.0
"""A caller waits at most so long for the state to be written."""
RETRY_AFTER = {"retry-after": "5"}
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class Hook:
    """Where a workflow is called: its path, what a call must be, and the header that tells calls apart."""

    path: str
    rules: Admission
    key_header: str

    @classmethod
    def of(cls, workflow: str, webhook: Webhook, auth: Mapping[str, Any] | None) -> Hook:
        """Make one; `auth` has no references to secrets any more. Raises WorkflowError where it is none."""
        from pydantic import ValidationError

        try:
            known = CallerAuth.model_validate(auth) if auth is not None else None
        except ValidationError as error:
            first = str(error.errors()[0]["msg"])
            raise WorkflowError(f"auth: {first}", place=Place(path="schedule.webhook")) from None
        return cls(webhook.path_of(workflow), Admission(METHODS, known, webhook.body_bytes_max), webhook.key_header)


class Door:
    """The ASGI application. `called` is given a workflow and a key; what it returns is told to the caller."""

    def __init__(self, called: Callable[[str, str], Awaitable[Answered]]) -> None:
        """Know no path yet."""
        self._called = called
        self._hooks: dict[str, tuple[str, Hook]] = {}
        self.error: DataFlareError | None = None
        """Why it does not listen, where it should."""

    @property
    def paths(self) -> Mapping[str, str]:
        """The workflow that is called at each path."""
        return {path: workflow for path, (workflow, _) in self._hooks.items()}

    def put(self, workflow: str, hook: Hook | None) -> None:
        """Let a workflow be called by this hook and no other one; by none where it is None."""
        self._hooks = {path: found for path, found in self._hooks.items() if found[0] != workflow}
        if hook is not None:
            self._hooks[hook.path] = workflow, hook

    async def listen(self, address: Address, runtime: Runtime) -> None:
        """Listen until cancelled; where the address cannot be had, say so and try again."""
        pause = PAUSE_SECONDS

        def opened(port: int) -> None:
            nonlocal pause
            self.error, pause = None, PAUSE_SECONDS
            host = f"[{address.host}]" if ":" in address.host else address.host
            runtime.emit(CallsTaken("", f"http://{host}:{port}"))

        while True:
            try:
                await serve(self, address, opened)
            except UnavailableError as error:
                self.error = error
                runtime.emit(Noticed("", error.code, str(error)))
            await runtime.clock.sleep(pause)
            pause = min(PAUSE_SECONDS_MAX, pause * 2)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one call."""
        if scope["type"] != "http":
            return
        try:
            workflow, key = await self._admitted(scope, receive)
            async with asyncio.timeout(ANSWER_SECONDS):
                answered = await self._called(workflow, key)
        except RefusedError as refused:
            await answer(send, refused.status, {"error": refused.reason}, refused.headers)
        except (DataFlareError, TimeoutError):
            await answer(send, 503, {"error": "it cannot be kept now"}, RETRY_AFTER)
        else:
            await _tell(send, workflow, answered)

    async def _admitted(self, scope: Any, receive: Any) -> tuple[str, str]:
        """Return the workflow that is called, and the key of the call; empty where it has none."""
        if scope["path"] not in self._hooks:
            raise RefusedError(404, "there is nothing here")
        workflow, hook = self._hooks[scope["path"]]
        headers, _ = await admitted(scope, receive, hook.rules)
        if hook.rules.auth is None and "origin" in headers:  # any page that a user of this machine looks at may send
            raise RefusedError(403, "a page in a browser may not call without auth")
        key = headers.get(hook.key_header.lower(), "").strip()
        if len(key) > KEY_CHARACTERS_MAX or not key.isprintable():  # it is told on terminals
            raise RefusedError(400, f"a key has at most {KEY_CHARACTERS_MAX} characters, all of them printable")
        return workflow, key


async def _tell(send: Any, workflow: str, answered: Answered) -> None:
    if answered.refused and answered.later:
        await answer(send, 503, {"workflow": workflow, "error": answered.refused}, RETRY_AFTER)
    elif answered.refused:
        await answer(send, 409, {"workflow": workflow, "error": answered.refused})
    else:
        told = {"workflow": workflow, "run": answered.run, "repeated": answered.repeated}
        await answer(send, 202, told)


__all__ = ["Door", "Hook"]
