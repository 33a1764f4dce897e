"""Sends requests: at the pace that is allowed, again where that may help, and never for ever."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urljoin, urlsplit

from dataflare.connectors.http.credentials import Credentials
from dataflare.connectors.http.exchange import REDIRECT, REFUSED, TRIED_AGAIN, UNAUTHORIZED, Answer, Call, asked_wait
from dataflare.errors import DataError, DataFlareError, ExternalError, UnavailableError
from dataflare.formats.packing import unpacked
from dataflare.monitoring.events import Noticed

if TYPE_CHECKING:
    from types import TracebackType

    from dataflare.component import StageContext
    from dataflare.connectors.http.settings import HttpConfig

REDIRECTS_MAX = 5
EXCERPT_CHARACTERS = 200
_PACKED = {"": "none", "identity": "none", "gzip": "gzip", "x-gzip": "gzip"}


class _BrokenError(Exception):
    """A request to which no whole answer came; the text says why, and holds nothing of the request."""


class HttpClient:
    """Requests to one server on one event loop; `async with` opens and closes its connections.

    `send` returns whatever the server says at last, good or bad; it raises ExternalError where no answer comes, or none
    but one that asks to come again, and UnavailableError where the server is not to be trusted.
    """

    def __init__(self, config: HttpConfig, context: StageContext, credentials: Credentials | None = None) -> None:
        """Open nothing. `credentials` outlive the client, so that a token does."""
        self._config, self._context = config, context
        self._clock = context.runtime.clock
        self._credentials = credentials or Credentials(config.auth, self._clock)
        self._turn, self._next = asyncio.Lock(), 0.0
        self._asking_who = asyncio.Lock()
        self._http: Any = None

    async def __aenter__(self) -> Self:
        """Make ready; raise UnavailableError where the library or a file of the settings is missing."""
        try:
            import httpx2
        except ImportError as error:
            raise UnavailableError(
                "the connector needs an HTTP client", hint="pip install 'dataflare[http]'"
            ) from error
        self._errors: Any = httpx2
        timeout = httpx2.Timeout(self._config.timeout, connect=self._config.connect_timeout)
        self._http = httpx2.AsyncClient(verify=self._trust(), timeout=timeout, follow_redirects=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def send(self, call: Call, *, plain: bool = False) -> Answer:
        """Return the answer to a request; `plain`: nobody in particular asks."""
        retry, renewed, attempt = self._config.retry, False, 0
        while (attempt := attempt + 1) <= retry.attempts:
            asked = 0.0
            try:
                answer = await self._follow(call, plain=plain)
            except _BrokenError as error:
                what = str(error)
            else:
                if answer.status == UNAUTHORIZED and not plain and not renewed and self._credentials.forget():
                    renewed, attempt = True, attempt - 1  # a token may run out before its time: the next try is free
                    continue
                if answer.status not in TRIED_AGAIN:
                    return answer
                what, asked = f"it answered {answer.status}", asked_wait(answer.headers, self._clock.now())
            if attempt < retry.attempts:
                await self._wait(attempt, asked, f"{self._shown(call)}: {what}")
        times = f" {retry.attempts} times" if retry.attempts > 1 else ""
        raise ExternalError(
            f"{self._shown(call)}: {what}{times}",
            hint="see whether the server runs and can be reached; retry, timeout and requests_per_second say how "
            "patient the connector is",
        )

    def refused(self, answer: Answer, *, tell: bool = True) -> DataFlareError:
        """Return the error of an answer that is none; `tell`: what the server says may be shown."""
        said = f"{self._shown(answer)}: it answered {answer.status}"
        if tell and not answer.shown and (excerpt := self._excerpt(answer)):
            said = f"{said}: {excerpt}"
        hints = {
            401: "check auth",
            403: "check auth, and what this user may do",
            404: "check url",
            405: "check method",
            415: "check headers and format",
        }
        hint = hints.get(answer.status, "check url, params and body")
        return UnavailableError(said, hint=hint) if answer.status >= REFUSED else DataError(said, hint=hint)

    def _shown(self, said: Call | Answer) -> str:
        return self._config.shown(said.shown or said.url)

    def scrubbed(self, text: str) -> str:
        """Return a text without secrets, those fetched meanwhile too."""
        from dataflare.security.secrets import scrub

        return scrub(text, [*self._config.secrets(), *self._credentials.hidden()])

    # ---- one request --------------------------------------------------------------------------------------------

    async def _follow(self, call: Call, *, plain: bool) -> Answer:
        """Send a request, and again where the same server says that it has moved."""
        for _ in range(REDIRECTS_MAX):
            answer = await self._once(call, plain=plain)
            target = urljoin(answer.url, answer.headers.get("location", ""))
            if not (REDIRECT <= answer.status < REFUSED and "location" in answer.headers):
                return answer
            old, new = urlsplit(answer.url), urlsplit(target)
            secured = (old.scheme, new.scheme) == ("http", "https") and new.hostname == old.hostname
            same = secured or (new.scheme, new.netloc) == (old.scheme, old.netloc)
            if call.method not in ("GET", "HEAD") or not same:
                raise UnavailableError(
                    f"{self._shown(call)} has moved to {self._shown(replace(call, url=target))}",
                    hint="write that address under url, if you trust it",
                )
            call = replace(call, url=target, params=())
        raise UnavailableError(f"{self._shown(call)} moves again and again", hint="check url")

    async def _once(self, call: Call, *, plain: bool) -> Answer:
        http = self._errors
        headers = {"Accept-Encoding": "gzip", **(call.headers or {})}
        params = list(call.params)
        if not plain:
            async with self._asking_who:  # many requests at once need one token
                headers |= await self._credentials.headers(self)
            params += self._credentials.parameters().items()
        await self._pace()
        try:
            url = http.URL(call.url)
            if params:
                named = {name for name, _ in params}
                kept = [(n, v) for n, v in url.params.multi_items() if n not in named]
                url = url.copy_with(params=http.QueryParams([*kept, *params]))
            async with asyncio.timeout(self._config.timeout):
                request = self._http.build_request(call.method, url, headers=headers, content=call.body)
                response = await self._http.send(request, stream=True)
                try:
                    body = await self._body(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise _BrokenError(f"no answer within {self._config.timeout:g} s") from None
        except http.ConnectTimeout:
            raise _BrokenError(f"no connection within {self._config.connect_timeout:g} s") from None
        except http.InvalidURL as error:
            raise DataError(f"{self._shown(call)} is no address", hint="check url") from error
        except http.TransportError as error:
            raise self._broken(error) from None
        return Answer(
            response.status_code,
            {n.lower(): v for n, v in response.headers.items()},
            body,
            str(response.url),
            call.shown,
        )

    async def _body(self, response: Any) -> bytes:
        """Return the whole body, unpacked by ourselves: who unpacks leniently takes half a body for a whole one."""
        most, pieces, size = self._config.answer_bytes_max, [], 0
        async for piece in response.aiter_raw():
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise self._too_long()
        packing = _PACKED.get(response.headers.get("content-encoding", "").strip().lower())
        if packing is None:
            raise DataError("the answer is packed in a way that nobody asked for", hint="gzip is understood")
        if packing == "none" or not size:
            return b"".join(pieces)
        text, size = [], 0
        try:
            for part in unpacked(iter(pieces), packing, "the answer"):
                text.append(part)
                size += len(part)
                if size > most:
                    raise self._too_long()
        except DataError as error:
            if "answer_bytes_max" in error.hint:
                raise
            raise _BrokenError(error.what) from None
        return b"".join(text)

    def _too_long(self) -> DataError:
        most = self._config.answer_bytes_max
        return DataError(
            f"an answer is longer than {most:,} bytes", hint="ask for smaller pages, or raise answer_bytes_max"
        )

    def _broken(self, error: Exception) -> Exception:
        """Return what became of a request; certificates that do not fit are no case for another try."""
        seen: BaseException | None = error
        while seen is not None:
            if isinstance(seen, ssl.SSLCertVerificationError):
                return UnavailableError(
                    f"{self._config.shown()}: its certificate is not trusted: {seen.verify_message}",
                    hint="name the authority's file in ca_file, and the host as it is certified",
                )
            seen = seen.__cause__ or seen.__context__
        kinds = (
            (self._errors.ConnectError, "no connection"),
            (self._errors.TimeoutException, f"no answer within {self._config.timeout:g} s"),
            (self._errors.RemoteProtocolError, "the answer broke off, or is no HTTP"),
        )
        for kind, what in kinds:
            if isinstance(error, kind):
                return _BrokenError(what)
        return _BrokenError("the connection broke")

    def _trust(self) -> ssl.SSLContext | bool:
        config, path = self._config, self._context.path
        if not (config.ca_file or config.cert_file):
            return config.verify
        try:
            trust = ssl.create_default_context(cafile=str(path(config.ca_file)) if config.ca_file else None)
            if not config.verify:
                trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
            if config.cert_file:
                trust.load_cert_chain(path(config.cert_file), path(config.key_file) if config.key_file else None)
        except OSError as error:
            raise UnavailableError(
                f"the certificates cannot be read: {error.strerror or 'they are none'}",
                hint="check ca_file, cert_file and key_file",
            ) from error
        return trust

    # ---- time ---------------------------------------------------------------------------------------------------

    async def _pace(self) -> None:
        """Wait for the turn of a request."""
        if self._config.requests_per_second is None:
            return
        async with self._turn:
            now = self._clock.monotonic()
            if now < self._next:
                await self._clock.sleep(self._next - now)
            self._next = max(now, self._next) + 1 / self._config.requests_per_second

    async def _wait(self, attempt: int, asked: float, what: str) -> None:
        """Wait before another try: a time drawn anew each time, so that many who failed together do not meet again."""
        retry = self._config.retry
        if asked > retry.server_max:
            raise ExternalError(
                f"{what}, and asks to wait {asked:,.0f} s", hint="raise retry.server_max to wait so long"
            )
        own = self._context.runtime.random.uniform(0, min(retry.max, retry.initial * 2 ** (attempt - 1)))
        message = f"{self.scrubbed(what)}; it is asked again"
        self._context.emit(Noticed(self._context.workflow, "http.retried", message, self._context.node))
        await self._clock.sleep(max(own, asked))

    def _excerpt(self, answer: Answer) -> str:
        text = " ".join(answer.body[: EXCERPT_CHARACTERS * 4].decode("utf-8", "replace").split())
        return self.scrubbed(text)[:EXCERPT_CHARACTERS]


__all__ = ["HttpClient"]
