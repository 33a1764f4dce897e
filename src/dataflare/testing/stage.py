"""Puts a component on its feet for a test: a context with a real runtime, and the events that it emits."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dataflare.component import StageContext
from dataflare.executor.runtime import LocalRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataflare.batch import Batch, Position
    from dataflare.component import SourceConnector, Split
    from dataflare.component.contract import Component
    from dataflare.monitoring.events import Event

K = TypeVar("K", bound="Component[Any]")


class HeldSegments:
    """Segments in memory, as a checkpoint would keep them."""

    def __init__(self) -> None:
        """Keep none yet."""
        self.kept: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        """Keep a segment."""
        name = f"state/{len(self.kept)}"
        self.kept[name] = data
        return name

    def get(self, name: str) -> bytes:
        """Return one."""
        return self.kept[name]


def staged(component: K, directory: Path | None = None, events: list[Event] | None = None, **changes: Any) -> K:
    """Give a component a context in `directory`; `changes` are fields of StageContext; events go into `events`.

    A source whose `schemas` are not given gets those that it tells itself.
    """
    runtime = LocalRuntime((events if events is not None else []).append)
    context = StageContext(
        runtime=runtime, workflow="test", node="node", directory=directory or Path(), segments=HeldSegments()
    )
    component.context = replace(context, **changes)
    tell: Callable[[], Any] | None = getattr(component, "streams", None)
    if tell is not None and "schemas" not in changes:
        streams = settled(tell())
        component.context = replace(component.context, schemas={n: s.schema for n, s in streams.items()})
    return component


def settled(value: Any) -> Any:
    """Return what a method answered, awaiting it where it is a coroutine."""
    if not inspect.isawaitable(value):
        return value

    async def wait() -> Any:
        return await value

    return asyncio.run(wait())


def batches_of(
    source: SourceConnector[Any], split: Split, since: Position | None = None, until: Position | None = None
) -> Iterator[Batch]:
    """Yield the batches of a split, of plain and of asynchronous sources alike."""
    found: Any = source.read(split, since, until)
    if not hasattr(found, "__anext__"):
        yield from found
        return

    async def gather() -> list[Batch]:
        return [batch async for batch in found]

    yield from asyncio.run(gather())


def splits_of(source: SourceConnector[Any], since: Position | None = None) -> Iterator[Split]:
    """Yield the splits after `since`, of plain and of asynchronous sources alike."""
    found: Any = settled(source.splits(since))
    if not hasattr(found, "__aiter__"):
        yield from found
        return

    async def gather() -> list[Split]:
        return [split async for split in found]

    yield from asyncio.run(gather())


__all__ = ["HeldSegments", "batches_of", "settled", "splits_of", "staged"]
