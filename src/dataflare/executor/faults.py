"""Gives a failure of user or library code a place: the node that it happened in."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dataflare.errors import DataFlareError, Fault, Place, Retry, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataflare.component import Runtime
    from dataflare.plan import Plan


class ComponentError(DataFlareError):
    """A component raised something that is no DataFlareError: its own bug, or a case that it does not translate."""

    code, fault, retry = "component.failed", Fault.INTERNAL, Retry.NEVER


@contextmanager
def located(node: str) -> Iterator[None]:
    """Let errors that leave this block name the node; foreign ones become ComponentError or UnavailableError."""
    try:
        yield
    except DataFlareError as error:
        error.in_node(node)
        raise
    except OSError as error:
        what = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
        raise UnavailableError(what, place=Place(path=node)) from error
    except Exception as error:
        if isinstance(error, asyncio.CancelledError):
            raise
        raise ComponentError(f"{type(error).__name__}: {error}", place=Place(path=node)) from error


async def invoke(runtime: Runtime, node: str, method: Callable[..., Any], *arguments: Any) -> Any:
    """Call a component's method: a coroutine on the loop, a plain function in a worker thread."""
    with located(node):
        if inspect.iscoroutinefunction(method):
            return await method(*arguments)
        result = await runtime.call(method, *arguments)
        return await result if inspect.isawaitable(result) else result


def told(error: BaseException | None, plan: Plan) -> DataFlareError:
    """Return a failure of a run as it may be told: nobody knows what a foreign error says of tagged rows."""
    known = as_error(error)
    node = known.place.path.partition("/")[0]
    if not isinstance(known, ComponentError) or not plan.sees_tagged(node):
        return known
    what = f"{known.what.partition(':')[0]}, whose words are not told, as rows of this node hold tagged values"
    return ComponentError(what, hint=known.hint, place=known.place)


def as_error(error: BaseException | None) -> DataFlareError:
    """Return any failure as a DataFlareError."""
    if isinstance(error, DataFlareError):
        return error
    return ComponentError(f"{type(error).__name__}: {error}" if error else "ended without a reason")
