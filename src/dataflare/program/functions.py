"""The functions that a program gave to a workflow, by the name that its settings have for them."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from dataflare.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.component import Kind, Registry

HERE = "here:"


class Functions:
    """Functions by node."""

    def __init__(self) -> None:
        """Begin with none."""
        self._by_name: dict[str, Callable[..., Any]] = {}

    def add(self, node: str, function: Callable[..., Any]) -> str:
        """Keep a function; return the setting `function` for it."""
        self._by_name[node] = function
        return f"{HERE}{node}"

    def known_to(self, registry: Registry) -> Registry:
        """Return a registry whose `python` components know these functions."""
        from dataflare.component import processor, source

        if not self._by_name:
            return registry
        kinds: tuple[Kind[Any], ...] = (source, processor)
        return registry.including(*(self._knowing(registry.find(kind, "python")) for kind in kinds))

    def _knowing(self, component: type[Any]) -> type[Any]:
        return type(component.__name__, (component,), {"functions": dict(self._by_name), "__doc__": component.__doc__})

    def named(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the document with `package.module:name` in the place of each function.

        Raises WorkflowError for one that cannot be imported by its name: a lambda, a function inside another, or one
        of a program that is no module.
        """
        found = dict(document)
        for section in ("sources", "transformations"):
            nodes = {name: dict(node) for name, node in document.get(section, {}).items()}
            for name, node in nodes.items():
                config = node.get("config", {})
                if node["type"] == "python" and str(config.get("function", "")).startswith(HERE):
                    node["config"] = {**config, "function": _importable(self._by_name[name], name)}
            if nodes:
                found[section] = nodes
        return found


def _importable(function: Callable[..., Any], node: str) -> str:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    found: Any = sys.modules.get(module or "")
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not function or module == "__main__" or not _finds(module or ""):
        raise WorkflowError(
            f"{node}: no file can name the function {name or function!r}",
            hint="move it to the top of a module that can be imported",
        )
    return f"{module}:{name}"


def _finds(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


__all__ = ["Functions"]
