"""Compares the columns that a source declares with those that are really there."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from dataflare.errors import DataFlareError
from dataflare.plan_words import NodeKind
from dataflare.workflow.components import contract_of
from dataflare.workflow.connecting import FOREIGN
from dataflare.workflow.findings import near

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dataflare.component import Stream
    from dataflare.schema import Schema
    from dataflare.workflow.drafts import Draft, Outline
    from dataflare.workflow.faults import Faults
    from dataflare.workflow.findings import Findings

_FAMILIES = {
    "number": ("int", "uint", "float", "decimal"),
    "time": ("date", "timestamp", "datetime"),
    "nested": ("list", "struct", "map", "json"),
}
_TAKES_ALL = ("string", "json")


def tell_drift(outline: Outline, findings: Findings, faults: Faults) -> None:
    """Ask every source that declares its columns what is really there, and warn of what differs."""
    for draft in outline.drafts.values():
        for _, declared, observed in observations(draft, faults):
            _Drift(draft, findings, faults).tell(declared, observed)


def observations(draft: Draft, faults: Faults) -> Iterator[tuple[str, Schema, Schema]]:
    """Yield the streams of a source that declares its columns: name, declared columns, those that are there."""
    if draft.kind is not NodeKind.SOURCE or draft.component is None:
        return
    try:
        declared = draft.component.declared()
        observed = _settled(draft.component.observed()) if declared is not None else None
    except DataFlareError as error:
        faults.tell(draft, error)
        return
    except FOREIGN as error:
        faults.foreign(draft, error)
        return
    for name, stream in (declared or {}).items():
        if observed is not None and name in observed:
            yield name, stream.schema, observed[name].schema


class _Drift:
    def __init__(self, draft: Draft, findings: Findings, faults: Faults) -> None:
        self._draft, self._findings, self._faults = draft, findings, faults

    def tell(self, declared: Schema, observed: Schema) -> None:
        words = contract_of(self._draft.text)
        of_columns, of_types = (
            self._findings.error if words.get(w) == "freeze" else self._findings.warning
            for w in ("columns", "data_type")
        )
        more = []
        for name, was, now in drifted(declared, observed):
            place = self._faults.place(self._draft, name, "")
            if not now:
                what = f"{self._draft.id}: the column {name!r} is declared, but not there"
                of_columns("drift", what, place, near(name, observed.names) or "it will be null")
            elif was:
                what = f"{self._draft.id}: the column {name!r} is declared as {was}, and looks like {now}"
                of_types("drift", what, place, "change its type, or the data")
            else:
                more.append(name)
        if more:
            what = f"{self._draft.id}: there are columns that are not declared: {', '.join(more)}"
            place = self._faults.place(self._draft, "columns", "")
            tell = of_columns if words.get("columns") == "freeze" else self._findings.info
            tell("drift", what, place, "declare them to read them")


def drifted(declared: Schema, observed: Schema) -> Iterator[tuple[str, str, str]]:
    """Yield each column that is not as it is declared: its name, its declared type, that which is there ("": none)."""
    for column in declared:
        found = observed[column.name].type if column.name in observed else ""
        if not (found and _holds(column.type, found)):
            yield column.name, column.type, found
    for column in observed:
        if column.name not in declared:
            yield column.name, "", column.type


def _holds(declared: str, found: str) -> bool:
    """Tell whether a column of a declared type may look like another one in a sample."""
    kind = _family(declared)
    return (
        declared in _TAKES_ALL or found == "null" or kind == _family(found) or (kind == "nested" and found == "string")
    )


def _family(kind: str) -> str:
    return next((name for name, begins in _FAMILIES.items() if kind.startswith(begins)), kind)


def _settled(value: Any) -> Mapping[str, Stream] | None:
    if not inspect.isawaitable(value):
        found: Mapping[str, Stream] | None = value
        return found

    async def wait() -> Any:
        return await value

    answer: Mapping[str, Stream] | None = asyncio.run(wait())
    return answer


__all__ = ["drifted", "observations", "tell_drift"]
