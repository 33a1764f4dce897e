"""Turns grok expressions, such as `%{IPORHOST:client} %{NUMBER:bytes:int}`, into regular expressions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dataflare.errors import WorkflowError
from dataflare.processors.columns import near
from dataflare.processors.parsing.grok_library import LIBRARY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_REFERENCE = re.compile(r"%\{(\w+)(?::([^:}]+))?(?::(\w+))?\}")
_TYPES = {"int": "int64", "long": "int64", "float": "float64", "double": "float64", "boolean": "bool"}
_TYPES |= {"bool": "bool", "string": "string"}
_DEPTH_MAX = 32
_LENGTH_MAX = 1 << 16


class GrokExpressions:
    """Expands expressions by a library of patterns; remembers the fields that it met, by the names of their groups."""

    def __init__(self, own: Mapping[str, str]) -> None:
        """Take the patterns of the workflow, which go before those of the library."""
        self._library = {**LIBRARY, **own}
        self._fields: dict[str, str] = {}
        self.types: dict[str, str] = {}

    def expand(self, expression: str) -> str:
        """Return the regular expression, in which a field is a group; raise WorkflowError."""
        return self._expanded(expression, ())

    def fields(self, groups: Sequence[str]) -> list[str]:
        """Return the fields that groups of these names stand for; a group that is no field of grok keeps its name."""
        return [self._fields.get(name, name) for name in groups]

    def _expanded(self, text: str, inside: tuple[str, ...]) -> str:
        found = _REFERENCE.sub(lambda match: self._reference(match, inside), text)
        if len(found) > _LENGTH_MAX:
            raise WorkflowError(f"pattern: it expands to more than {_LENGTH_MAX:,} characters", hint="take it apart")
        return found

    def _reference(self, match: re.Match[str], inside: tuple[str, ...]) -> str:
        name, field, kind = match[1], match[2], match[3]
        if name not in self._library:
            raise WorkflowError(f"pattern: there is no grok pattern {name!r}", hint=_near(name, self._library))
        if name in inside or len(inside) >= _DEPTH_MAX:
            chain = " in ".join((name, *reversed(inside)))
            raise WorkflowError(f"patterns: {chain}", hint="a pattern cannot hold itself")
        inner = self._expanded(self._library[name], (*inside, name))
        if field is None:
            return f"(?:{inner})"
        column = ".".join(re.findall(r"[^\[\]]+", field))
        if kind is not None:
            if kind not in _TYPES:
                raise WorkflowError(f"pattern: {kind!r} is no type of grok", hint=f"known: {', '.join(_TYPES)}")
            self.types[column] = _TYPES[kind]
        group = f"grok{len(self._fields)}"
        self._fields[group] = column
        return f"(?P<{group}>{inner})"


def _near(name: str, library: Mapping[str, str]) -> str:
    hint = near(name, library)
    return hint if hint.startswith("did") else "name your own under `patterns`"


__all__ = ["GrokExpressions"]
