"""Says which columns inputs have and a setting may name, and which one was meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, WithJsonSchema

from dataflare.errors import InvalidWorkflowError, Place, WorkflowError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from dataflare.schema import Schema


Names = Annotated[
    list[str],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
"""Several names; one alone may stand without a list."""


def known(names: Iterable[str], columns: Iterable[str], setting: str) -> None:
    """Raise WorkflowError for names that are no columns."""
    listed = list(columns)
    unknown = [n for n in dict.fromkeys(names) if n not in listed]
    together([missing(f"{setting}: there is no column {n!r}", n, listed) for n in unknown])


def missing(what: str, name: str, names: Iterable[str], path: str = "") -> WorkflowError:
    """Return the error of a name that is not one of `names`; its place is where the settings say it, or `path`."""
    return WorkflowError(what, hint=near(name, names), place=Place(path=path or name))


def together(problems: Sequence[WorkflowError]) -> None:
    """Raise what is wrong: nothing, the one error, or one that carries all of them."""
    if len(problems) > 1:
        raise InvalidWorkflowError([p.as_finding() for p in problems])
    for problem in problems:
        raise problem


def same_columns(inputs: Sequence[Schema]) -> Schema:
    """Return the one schema that all inputs have; raise WorkflowError where they differ."""
    first = inputs[0]
    for other in inputs[1:]:
        if [(c.name, c.type) for c in other] != [(c.name, c.type) for c in first]:
            raise WorkflowError("its inputs have different columns", hint="bring them together with a union node")
    return first


def near(name: str, names: Iterable[str]) -> str:
    """Return the hint for a name that is not one of `names`."""
    listed = list(names)
    found = difflib.get_close_matches(name, listed, n=1)
    return f"did you mean {found[0]!r}?" if found else f"known: {', '.join(listed)}"


def free(name: str, taken: Iterable[str]) -> str:
    """Return a name that no column has, whatever its case."""
    used = {n.lower() for n in taken}
    while name.lower() in used:
        name += "_"
    return name


def passed_on(wanted: AbstractSet[str] | None, besides: AbstractSet[str]) -> AbstractSet[str] | None:
    """Return what is read where columns are passed on, and others are looked at besides; None: all."""
    return None if wanted is None else {*wanted, *besides}


__all__ = ["Names", "free", "known", "missing", "near", "passed_on", "same_columns", "together"]
