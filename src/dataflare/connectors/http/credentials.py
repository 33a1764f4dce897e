"""Says who asks, on every request; tokens are fetched when they are needed, and again before they run out."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urlencode

import msgspec

from dataflare.errors import DataError, UnavailableError
from dataflare.security.secrets import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.clock import Clock
    from dataflare.connectors.http.exchange import Answer, Call
    from dataflare.connectors.http.settings import HttpAuth

EARLY_SECONDS = 30.0
"""A token is fetched again so long before it runs out, for a request may wait on its way."""
HOLDS_SECONDS = 300.0
"""How long a token counts where its server does not say."""


class Sends(Protocol):
    """Somebody who sends a request as it is, as often as it takes."""

    async def send(self, call: Call, *, plain: bool = False) -> Answer:
        """Return the answer."""
        ...


class Credentials:
    """What the settings say about who asks. One for all requests of a connector; holds the token between them."""

    def __init__(self, auth: HttpAuth | None, clock: Clock) -> None:
        """Fetch nothing yet."""
        self._auth, self._clock = auth, clock
        self._token: Secret | None = None
        self._until = 0.0

    def hidden(self) -> list[Secret]:
        """Return what was fetched and must not be seen."""
        return [self._token] if self._token is not None else []

    async def headers(self, sender: Sends) -> Mapping[str, str]:
        """Return the headers of a request, having fetched a token where one is needed.

        Raises UnavailableError where the server gives none.
        """
        auth = self._auth
        if auth is None or (auth.type == "api_key" and auth.in_query):
            return {}
        if auth.type == "api_key":
            return {auth.name: auth.value}
        if auth.type == "basic":
            return {"Authorization": f"Basic {_pair(auth.user, auth.password)}"}
        if auth.type == "bearer":
            return {"Authorization": f"Bearer {auth.token}"}
        if self._token is None or self._clock.monotonic() >= self._until:
            await self._fetch(auth, sender)
        assert self._token is not None
        return {"Authorization": f"Bearer {self._token.reveal()}"}

    def parameters(self) -> Mapping[str, str]:
        """Return what a request has in its URL; such parameters are never kept."""
        auth = self._auth
        return {auth.name: auth.value} if auth is not None and auth.type == "api_key" and auth.in_query else {}

    def forget(self) -> bool:
        """Drop a token that was refused; False where there is none to fetch anew."""
        had, self._token = self._token is not None, None
        return had

    async def _fetch(self, auth: HttpAuth, sender: Sends) -> None:
        from dataflare.connectors.http.exchange import Call

        fields = {"grant_type": "client_credentials", **auth.parameters}
        if auth.scopes:
            fields["scope"] = " ".join(auth.scopes)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if auth.client_in_body:
            fields |= {"client_id": auth.client_id, "client_secret": auth.client_secret}
        else:
            headers["Authorization"] = f"Basic {_pair(quote(auth.client_id), quote(auth.client_secret))}"
        began = self._clock.monotonic()
        answer = await sender.send(Call("POST", auth.token_url, (), headers, urlencode(fields).encode()), plain=True)
        if not answer.fine:
            raise UnavailableError(
                f"the server of tokens answered {answer.status}", hint="check token_url, client_id, client_secret"
            )
        try:
            told = msgspec.json.decode(answer.body, type=_Token)
        except msgspec.MsgspecError as error:
            raise DataError("the server of tokens gave no access_token", hint="check token_url") from error
        self._token = Secret(told.access_token)
        self._until = began + max(1.0, (told.expires_in or HOLDS_SECONDS) - EARLY_SECONDS)


class _Token(msgspec.Struct):
    access_token: str
    expires_in: float | None = None


def _pair(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


__all__ = ["Credentials"]
