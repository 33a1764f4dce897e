"""The families of components, and the decorators that declare a member."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

from dataflare.component.contract import Component
from dataflare.component.destination import DestinationConnector
from dataflare.component.lookup import Lookup
from dataflare.component.processor import Processor
from dataflare.component.settings import Config
from dataflare.component.source import SourceConnector
from dataflare.component.spec import (
    DestinationTraits,
    NoTraits,
    ProcessorTraits,
    SourceTraits,
    Spec,
    Status,
)
from dataflare.component.store import StateStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

K = TypeVar("K", bound=Component[Any])
T = TypeVar("T", bound=type[Component[Any]])


@dataclass(frozen=True, slots=True)
class Kind(Generic[K]):
    """A family of components that a workflow can name; also the decorator that declares one."""

    name: str
    contract: type[K]
    traits: type[Any] = NoTraits

    @property
    def group(self) -> str:
        """The entry-point group by which packages offer components of this kind."""
        return f"dataflare.{self.name}"

    def __call__(
        self,
        name: str,
        *,
        status: Status = "experimental",
        examples: Sequence[Mapping[str, Any]] = (),
        **traits: Any,
    ) -> Callable[[T], T]:
        """Declare the class below as component `name`; its docstring is its documentation."""

        def declare(cls: T) -> T:
            summary, _, description = (inspect.getdoc(cls) or "").partition("\n\n")
            if not (self._fits(cls) and cls.__doc__):
                raise TypeError(f"{self.name} {name!r} must extend {self.contract.__name__} and have a docstring")
            cls.spec = Spec(
                kind=self.name,
                name=name,
                summary=summary,
                description=description,
                config=_config_of(cls),
                traits=self.traits(**traits),
                status=status,
                examples=tuple(examples),
            )
            return cls

        return declare

    def _fits(self, cls: type) -> bool:
        return issubclass(cls, self.contract)


def _config_of(cls: type) -> type[Config]:
    for parent in cls.__mro__:
        for base in getattr(parent, "__orig_bases__", ()):
            for argument in get_args(base):
                if isinstance(argument, type) and issubclass(argument, Config):
                    return argument
    return Config


source: Kind[SourceConnector[Any]] = Kind("source", SourceConnector, SourceTraits)
destination: Kind[DestinationConnector[Any]] = Kind("destination", DestinationConnector, DestinationTraits)
processor: Kind[Processor[Any]] = Kind("processor", Processor, ProcessorTraits)
lookup: Kind[Lookup[Any]] = Kind("lookup", Lookup)
state_store: Kind[StateStore[Any]] = Kind("state_store", StateStore)


def executor_kind(contract: type[K]) -> Kind[K]:
    """Return the kind of executors; the room above owns their contract."""
    return Kind("executor", contract)
