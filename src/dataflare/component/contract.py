"""What every component has: settings, a context, an open and a close.

Methods of connectors may be coroutines, which run on the event loop, or plain functions, which the engine calls in a
worker thread, one at a time per instance. Generators likewise: `async def read` or `def read`.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar, Union

from dataflare.component.settings import Config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.component.context import StageContext
    from dataflare.component.spec import Spec
    from dataflare.errors import DataFlareError

C = TypeVar("C", bound=Config)
T = TypeVar("T")
MaybeAsync: TypeAlias = Union[Awaitable[T], T]  # noqa: UP007 - `|` makes no generic alias


class Component(ABC, Generic[C]):
    """Something a workflow names. Built from its settings, opened, used, closed."""

    spec: ClassVar[Spec]
    context: StageContext

    def __init__(self, config: C) -> None:
        """Keep the settings. Do no I/O here: `open` is the place for it."""
        self.config = config

    def check(self) -> MaybeAsync[Sequence[DataFlareError] | None]:
        """Look whether the surroundings are as the settings say; return all that is not, or raise it.

        Called by `validate --level connect`, without `open`, and with secrets in the settings. Changes nothing, and
        takes at most a few seconds. None: there is nothing to look at, or all is well.
        """
        return None

    def open(self) -> MaybeAsync[None]:
        """Connect; `self.context` is set. Called before use and after every restart."""

    def close(self) -> MaybeAsync[None]:
        """Release. Called once, also after a failed `open`; never makes anything durable."""


AnyComponent = Component[Any]
