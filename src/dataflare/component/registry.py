"""Finds components by kind and name. A value, not a global: tests and sandboxes make their own."""

from __future__ import annotations

import difflib
import importlib
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from dataflare.component.contract import Component
from dataflare.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dataflare.component.kind import Kind

K = TypeVar("K", bound=Component[Any])


class Registry:
    """Names to component classes; a class is imported the first time a workflow names it."""

    def __init__(self, loaders: Mapping[tuple[str, str], Callable[[], type[Component[Any]]]]) -> None:
        """Take the loaders as they are, keyed by (kind, name)."""
        self._loaders = dict(loaders)
        self._found: dict[tuple[str, str], type[Component[Any]]] = {}

    @classmethod
    def installed(cls) -> Self:
        """Everything that installed packages offer under `dataflare.<kind>`."""
        offers = entry_points()
        groups = (group for group in offers.groups if group.startswith("dataflare."))
        found = (entry for group in groups for entry in offers.select(group=group))
        return cls({(e.group.removeprefix("dataflare."), e.name): e.load for e in found})

    @classmethod
    def of(cls, *components: type[Component[Any]]) -> Self:
        """Exactly these classes."""
        return cls({(c.spec.kind, c.spec.name): partial(_itself, c) for c in components})

    def including(self, *components: type[Component[Any]]) -> Registry:
        """Return a copy that also has these classes."""
        return Registry(self._loaders | {(c.spec.kind, c.spec.name): partial(_itself, c) for c in components})

    def without(self, *names: str) -> Registry:
        """Return a copy that lacks these names (what a sandboxed tenant gets)."""
        return Registry({k: v for k, v in self._loaders.items() if k[1] not in names})

    def names(self, kind: Kind[Any]) -> list[str]:
        """List what is there, importing nothing."""
        return sorted(n for k, n in self._loaders if k == kind.name)

    def find(self, kind: Kind[K], name: str) -> type[K]:
        """Return the class, or raise WorkflowError that says which names are near.

        `python:package.module:Class` is imported as it stands.
        """
        if name.startswith("python:"):
            return cast("type[K]", _imported(kind, name.removeprefix("python:")))
        loader = self._loaders.get((kind.name, name))
        if loader is None:
            near = difflib.get_close_matches(name, self.names(kind), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(self.names(kind))}"
            raise WorkflowError(f"no {kind.name} named {name!r}", hint=hint)
        found = self._found.get((kind.name, name))
        if found is None:
            found = self._found[kind.name, name] = loader()
        return cast("type[K]", found)

    def __iter__(self) -> Iterator[type[Component[Any]]]:
        """Load and yield every component, sorted by kind and name."""
        return (self._loaders[key]() for key in sorted(self._loaders))


def _itself(component: type[Component[Any]]) -> type[Component[Any]]:
    return component


def _imported(kind: Kind[Any], path: str) -> type[Component[Any]]:
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise WorkflowError(
            f"python:{path} cannot be imported: {error}",
            hint="write python:package.module:Class, and put its folder on PYTHONPATH",
        ) from error
    except Exception as error:
        what = f"{error.msg}, {error.filename}:{error.lineno}" if isinstance(error, SyntaxError) else str(error)
        what = f"{type(error).__name__}: {what}"
        raise WorkflowError(f"python:{path} cannot be imported: {what}", hint="correct the module") from error
    if not (isinstance(found, type) and issubclass(found, kind.contract) and hasattr(found, "spec")):
        raise WorkflowError(f"python:{path} is not a declared {kind.name}")
    return found
