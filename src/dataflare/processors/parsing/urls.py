"""Reads the parts of URLs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dataflare.processors.parsing.groups import group_reading
from dataflare.processors.parsing.reading import TEXT

if TYPE_CHECKING:
    from dataflare.processors.parsing.reading import Reading

PARTS = {
    "scheme": "string",
    "user": "string",
    "host": "string",
    "port": "uint16",
    "path": "string",
    "query": "string",
    "fragment": "string",
    "parameters": "map<string, string>",
}
"""The parts and their types; the password of a URL is none of them."""

_PATTERN = (
    r"^(?:([A-Za-z][A-Za-z0-9+.-]*):)?"
    r"(?://(?:([^/?#@:\s]*)(?::[^/?#@\s]*)?@)?(\[[0-9A-Fa-f:.%]+\]|[^/?#:@\[\]\s]*)(?::([0-9]*))?)?"
    r"([^?#\s]*)(?:\?([^#\s]*))?(?:#(\S*))?$"
)


def url_reading() -> Reading:
    """Return how the parts are read. Scheme and host are in small letters; keys and values of parameters are decoded.

    Of a parameter that is there twice the first counts. A text with white space in it is no URL; a path alone is one.
    """
    names = [name for name in PARTS if name != "parameters"]
    reading = group_reading(_PATTERN, names)
    texts = dict(reading.texts)
    for name in ("scheme", "host"):
        texts[name] = f"lower({texts[name]})"
    pairs = f"list_filter(string_split({texts['query']}, '&'), lambda p: p <> '')"
    key, value = _decoded("split_part(p, '=', 1)"), _decoded("substr(p, strpos(p || '=', '=') + 1)")
    levels = (
        *reading.levels,
        (("__pairs", pairs),),
        (
            ("__keys", f"list_transform(__pairs, lambda p: {key})"),
            ("__values", f"list_transform(__pairs, lambda p: {value})"),
        ),
    )
    firsts = "list_filter(__keys, lambda k, i: list_position(__keys, k) = i)"
    picked = f"list_transform({firsts}, lambda k: __values[list_position(__keys, k)])"
    texts["parameters"] = f"case when __pairs is not null then map({firsts}, {picked}) end"
    faults = ((f"not __matched or {TEXT} = ''", "the text is no URL"),)
    return replace(reading, levels=levels, texts=texts, faults=faults, values=frozenset({"parameters"}))


def _decoded(text: str) -> str:
    return f"coalesce(try(url_decode(replace({text}, '+', ' '))), {text})"


__all__ = ["PARTS", "url_reading"]
