"""Gives every aggregate of an expression one more condition on its rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dataflare.expression.explain import wrong
from dataflare.expression.pieces import call_text
from dataflare.expression.wording import spliced_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.expression.check import Checker


def filtered(text: str, names: Sequence[str], condition: str, checker: Checker) -> str:
    """Return the expression over the rows that meet the condition alone; raise WorkflowError where it is none.

    `names` are the columns; `condition` is SQL.
    """
    expression = checker.read(text, names, aggregates=True)
    if not expression.calls:
        raise wrong(text, "this aggregates nothing", "write an aggregate, such as sum(amount) or first(amount)")
    raw, parts = expression.text.encode(), []
    for call in expression.calls:
        found = call_text(call.name, raw[call.start : call.end].decode())
        both = f"({found.filter}\n) and {condition}" if found.filter else condition
        parts.append((call.start, call.end, str(replace(found, filter=both))))
    return spliced_text(expression.text, parts)


__all__ = ["filtered"]
