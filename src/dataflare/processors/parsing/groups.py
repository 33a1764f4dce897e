"""Reads texts by the groups of regular expressions, which RE2 runs: in time that grows with the text alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dataflare.errors import WorkflowError
from dataflare.processors.parsing.reading import TEXT, Reading
from dataflare.sql.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMED = re.compile(r"\(\?P?<([A-Za-z_]\w*)>")
_CLASS = re.compile(r"\[\^?\]?")
_LENGTH_MAX = 1 << 16


def named_groups(patterns: Sequence[str]) -> tuple[str, list[str]]:
    """Return one pattern that matches where one of these does, and the names of its groups in order.

    A group without a name is called "". Names may repeat; in the pattern that is returned there are none.
    """
    found = [_without_names(pattern) for pattern in patterns]
    names = [name for _, names in found for name in names]
    return (found[0][0] if len(found) == 1 else "|".join(f"(?:{text})" for text, _ in found)), names


def _without_names(pattern: str) -> tuple[str, list[str]]:
    names: list[str] = []
    out: list[str] = []
    at, inside = 0, False
    while at < len(pattern):
        part = pattern[at]
        if pattern.startswith(r"\Q", at):
            end = pattern.find(r"\E", at)
            part = pattern[at : end + 2] if end >= 0 else pattern[at:]
        elif part == "\\":
            part = pattern[at : at + 2]
        elif inside:
            inside = part != "]"
        elif part == "[":
            inside, opening = True, _CLASS.match(pattern, at)
            part = opening[0] if opening else part
        elif part == "(" and (named := _NAMED.match(pattern, at)):
            names.append(named[1])
            at += len(named[0]) - 1
        elif part == "(" and not pattern.startswith("(?", at):
            names.append("")
        out.append(part)
        at += len(part)
    return "".join(out), names


def checked(pattern: str) -> str:
    """Return the pattern if it is one of RE2's; raise WorkflowError otherwise."""
    import duckdb

    from dataflare.expression.session import Session

    if len(pattern) > _LENGTH_MAX:
        raise WorkflowError(f"pattern: it has more than {_LENGTH_MAX:,} characters", hint="take it apart")
    session = Session(None)
    try:
        session.execute("select regexp_matches('', $1)", [pattern])
    except duckdb.Error as error:
        what = str(error).partition("\n")[0].partition(": ")[2]
        raise WorkflowError(
            f"pattern: {what[:1].lower()}{what[1:]}",
            hint="patterns are those of RE2, which looks neither ahead nor behind and has no back-references",
        ) from None
    finally:
        session.close()
    return pattern


def group_reading(pattern: str, columns: Sequence[str]) -> Reading:
    """Return how the groups 1, 2, ... of a pattern are read; `columns` name them, "" those that nobody wants.

    A group that took no part in the match, or matched nothing, is null. Of several groups of one name, the first that
    matched something counts.
    """
    names = ", ".join(literal(f"g{n}") for n in range(len(columns)))
    found = f"regexp_extract({TEXT}, {literal(pattern)}, [{names}])"
    something = " or ".join(f"__found.g{n} <> ''" for n in range(len(columns)))
    matched = f"({something}) or regexp_matches({TEXT}, {literal(pattern)})"
    groups: dict[str, list[str]] = {}
    for n, name in enumerate(columns):
        groups.setdefault(name, []).append(f"nullif(__found.g{n}, '')")
    texts = {name: f"coalesce({', '.join(found)})" for name, found in groups.items() if name}
    fault = ("not __matched", "the text does not match the pattern")
    return Reading(((("__found", found),), (("__matched", matched),)), texts, (fault,))


__all__ = ["checked", "group_reading", "named_groups"]
