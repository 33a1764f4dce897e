"""A bucket of an object store, reached through obstore; what it refuses is said with the name and the cure."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dataflare.errors import DataError, DataFlareError, ExternalError, Place, UnavailableError
from dataflare.objects.settings import SCHEME, ObjectStoreConfig
from dataflare.security.secrets import Secret, scrub

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore.store import S3Store

_MISSING = "dataflare[s3] is not installed"
_CODES = (
    ("NoSuchBucket", "there is no such bucket", "check the name of the bucket, `endpoint` and `region`"),
    ("InvalidAccessKeyId", "the key is not known", "check access_key_id, and that it belongs to this server"),
    ("SignatureDoesNotMatch", "the secret of the key is wrong", "check secret_access_key"),
    ("ExpiredToken", "the token has expired", "get a new session_token"),
    ("AccessDenied", "access is denied", "give the key the permission, or set anonymous: true for public buckets"),
    ("PermanentRedirect", "the bucket is in another region", "set region"),
    ("AuthorizationHeaderMalformed", "the bucket is in another region", "set region"),
)


def split_name(name: str) -> tuple[str, str]:
    """Return bucket and key of `s3://bucket/key`; raise UnavailableError where there is no bucket."""
    bucket, _, key = name.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise UnavailableError(f"{name} names no bucket", hint="write s3://bucket/key")
    return bucket, key


class Bucket:
    """One bucket, and what it refuses said with the name and the cure."""

    def __init__(self, name: str, config: ObjectStoreConfig, certificates: bytes = b"") -> None:
        """Connect to nothing yet; raise UnavailableError where obstore is missing or a setting cannot be."""
        try:
            from obstore.store import S3Store
        except ImportError as error:
            raise UnavailableError(_MISSING, hint="pip install 'dataflare[s3]'") from error
        self.name = name
        self._secrets = [Secret(t) for t in (config.access_key_id, config.secret_access_key, config.session_token)]
        options: dict[str, Any] = {
            "allow_http": config.endpoint.startswith("http://"),
            "timeout": timedelta(seconds=config.timeout),
            "connect_timeout": timedelta(seconds=min(10.0, config.timeout)),
        }
        if certificates:
            options["root_certificate"] = certificates
        told: dict[str, Any] = {
            "region": config.region,
            "endpoint": config.endpoint,
            "access_key_id": config.access_key_id,
            "secret_access_key": config.secret_access_key,
            "session_token": config.session_token,
        }
        switches = {"skip_signature": config.anonymous, "virtual_hosted_style_request": config.virtual_host}
        with self.answering(f"{SCHEME}{name}"):
            self.store: S3Store = S3Store(
                name,
                client_options=options,  # type: ignore[arg-type]
                retry_config={
                    "max_retries": config.retries,
                    "retry_timeout": timedelta(seconds=3 * config.timeout),
                    "backoff": {
                        "init_backoff": timedelta(milliseconds=100),
                        "max_backoff": timedelta(seconds=15),
                        "base": 2,
                    },
                },
                **{key: value for key, value in {**told, **switches}.items() if value},
            )

    def check(self) -> None:
        """Raise where the bucket does not answer, is not there or may not be listed."""
        import obstore

        with self.answering(f"{SCHEME}{self.name}"):
            next(obstore.list(self.store, chunk_size=1), None)

    @contextmanager
    def answering(self, name: str) -> Iterator[None]:
        """Translate what the server refuses in this block; no secret is in the text."""
        from obstore import exceptions

        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise self._translated(name, str(error)) from None
            raise UnavailableError(f"there is no {name}", hint="check bucket and key") from None
        except exceptions.PreconditionError:
            raise replaced(name) from None
        except (exceptions.BaseError, ValueError, OSError) as error:
            raise self._translated(name, str(error)) from None

    def _translated(self, name: str, text: str) -> DataFlareError:
        text = scrub(text.partition("\n\nDebug source")[0], self._secrets)
        found = re.search(r"<Code>(\w+)</Code>", text)
        code = found[1] if found else ""
        for known, what, hint in _CODES:
            if code == known or (not code and f"status code: {_STATUS.get(known, '-')}" in text):
                return UnavailableError(f"{name}: {what}", hint=hint)
        reason = re.search(r"<Message>([^<]*)</Message>", text)
        shown = f"{code}: {reason[1]}" if reason else text.partition("\n")[0]
        return ExternalError(f"{name}: {shown}", hint="is the server up? check `endpoint`")


_STATUS = {"AccessDenied": "403"}


def replaced(name: str) -> DataError:
    """Return the error for an object that is another one than that of which a part was read."""
    return DataError(
        "the object was replaced after a part of it was read",
        hint="put back what was there; or begin anew: remove the state, and what the destinations hold of this run",
        place=Place(name),
    )


__all__ = ["Bucket", "replaced", "split_name"]
