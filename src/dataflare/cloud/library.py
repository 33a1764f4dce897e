"""The Ray library, imported when it is first needed, and its failures in our words."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dataflare.errors import ActorDiedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator


def ray() -> Any:
    """Return the library; raise UnavailableError when it is not installed or this process is in no cluster."""
    try:
        import ray as library
    except ImportError as error:
        raise UnavailableError("Ray is not installed", hint="pip install 'dataflare[cloud]'") from error
    if not library.is_initialized():
        raise UnavailableError("this process has not joined a Ray cluster", hint="call ray.init(address=...) before")
    return library


def process_id() -> str:
    """Return what names this process in the cluster, unlike every other one, past or present."""
    return str(ray().get_runtime_context().get_worker_id())


@contextmanager
def translated(actor: str) -> Iterator[None]:
    """Turn what Ray raises about an actor into ActorDiedError; what the actor's own code raised comes out unwrapped.

    An actor that cannot be reached counts as dead: whether it did what it was asked is not known, and its messages
    are no longer whole. Fences keep out one that lives on beyond a cut network.
    """
    from ray.exceptions import RayError, RayTaskError

    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, BaseException):
            raise error.cause from None
        raise ActorDiedError(f"actor {actor}: {error}") from error
    except RayError as error:
        reason = str(error).strip().partition("\n")[0]
        raise ActorDiedError(f"actor {actor} has died or cannot be reached: {reason}") from error
