"""Settings of a plugin against the JSON Schema of its manifest: the words that settings need, checked by ourselves.

Words that are not here are not looked at, `pattern` among them: an expression of a stranger could take for ever.
"""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sized

_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "integer": lambda v: (isinstance(v, int) or (isinstance(v, float) and v.is_integer())) and not isinstance(v, bool),
}
_BOUNDS: Mapping[str, tuple[Callable[[Any, Any], bool], str]] = {
    "minimum": (lambda v, bound: v >= bound, "at least"),
    "maximum": (lambda v, bound: v <= bound, "at most"),
    "exclusiveMinimum": (lambda v, bound: v > bound, "more than"),
    "exclusiveMaximum": (lambda v, bound: v < bound, "less than"),
}
_LENGTHS: Mapping[str, tuple[type[Sized], str]] = {
    "minLength": (str, "minimum"),
    "maxLength": (str, "maximum"),
    "minItems": (list, "minimum"),
    "maxItems": (list, "maximum"),
}
DEPTH_MAX = 32


def misfits(schema: Any, value: Any, path: str = "settings") -> Iterator[str]:
    """Yield all that is wrong with a value, each with where it is; a schema that is none of itself fits all."""
    if not isinstance(schema, dict) or path.count(".") > DEPTH_MAX:
        return
    types = [t for t in _listed(schema.get("type", [])) if t in _TYPES]
    if types and not any(_TYPES[t](value) for t in types):
        yield f"{path} must be {' or '.join(_named(t) for t in types)}"
        return
    if isinstance(schema.get("enum"), list) and not any(_same(value, one) for one in schema["enum"]):
        yield f"{path} must be one of {', '.join(map(_text, schema['enum']))}"
    if "const" in schema and not _same(value, schema["const"]):
        yield f"{path} must be {_text(schema['const'])}"
    yield from _bounds(schema, value, path)
    if isinstance(value, dict):
        yield from _members(schema, value, path)
    if isinstance(value, list):
        for number, one in enumerate(value):
            yield from misfits(schema.get("items"), one, f"{path}.{number}")


def _members(schema: Mapping[str, Any], value: Mapping[str, Any], path: str) -> Iterator[str]:
    known = schema.get("properties", {})
    known = known if isinstance(known, dict) else {}
    for name in _listed(schema.get("required", [])):
        if name not in value:
            yield f"{path}.{name} is missing"
    others = schema.get("additionalProperties", True)
    for name, one in value.items():
        if name in known:
            yield from misfits(known[name], one, f"{path}.{name}")
        elif others is False:
            near = difflib.get_close_matches(name, known, n=1)
            told = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            yield f"{path}.{name} is unknown, {told}"
        else:
            yield from misfits(others, one, f"{path}.{name}")


def _bounds(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    if _TYPES["number"](value):
        for word, (good, told) in _BOUNDS.items():
            if _TYPES["number"](schema.get(word)) and not good(value, schema[word]):
                yield f"{path} must be {told} {schema[word]}"
    for word, (kind, of) in _LENGTHS.items():
        if isinstance(value, kind) and _TYPES["integer"](schema.get(word)):
            good, told = _BOUNDS[of]
            if not good(len(value), schema[word]):
                yield f"{path} must have {told} {schema[word]} {'characters' if kind is str else 'entries'}"


def _listed(value: Any) -> list[str]:
    found = value if isinstance(value, list) else [value]
    return [one for one in found if isinstance(one, str)]


def _named(kind: str) -> str:
    words = {"object": "a map", "array": "a list", "string": "text", "boolean": "true or false", "null": "nothing"}
    return words.get(kind, "a whole number" if kind == "integer" else "a number")


def _same(one: Any, other: Any) -> bool:
    """Compare as JSON does: true is not 1."""
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


__all__ = ["misfits"]
