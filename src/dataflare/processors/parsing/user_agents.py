"""Reads what browsers and robots say of themselves, each different text of a batch once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dataflare.errors import UnavailableError
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from dataflare.component import Budget
    from dataflare.processors.parsing.reading import Wanted

AGENT_PARTS = {
    "browser": "string",
    "browser_version": "string",
    "os": "string",
    "os_version": "string",
    "device": "string",
    "device_brand": "string",
    "device_model": "string",
    "robot": "bool",
}
"""The parts and their types."""

_LENGTH_MAX = 2048
"""Patterns of the library may backtrack: longer texts are none of a browser's, and are not looked at."""

_REMEMBERED_MAX = 1 << 16


@dataclass(slots=True)
class AgentReader:
    """Reads texts into `wanted` parts. A text that nobody knows has nulls; no text is at fault."""

    wanted: tuple[Wanted, ...]
    _parse: Callable[[str], Any] | None = field(default=None, init=False)
    _schema: pa.Schema | None = field(default=None, init=False)
    _remembered: dict[str, tuple[Any, ...]] = field(default_factory=dict, init=False)

    def open(self, budget: Budget) -> None:
        """Load the library and its patterns."""
        del budget
        try:
            import ua_parser
        except ImportError:
            raise UnavailableError(
                "the format user_agent needs the package ua-parser", hint="pip install 'dataflare[agents]'"
            ) from None
        self._parse = ua_parser.parse
        self._schema = Schema.of((w.name, w.type) for w in self.wanted).to_arrow()

    def run(self, texts: pa.ChunkedArray) -> tuple[pa.Table, pa.ChunkedArray]:
        """Return the columns; no row has a reason, unless something that must be there is missing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        assert self._schema is not None
        coded = texts.combine_chunks().dictionary_encode()
        if isinstance(coded, pa.ChunkedArray):
            coded = coded.chunk(0)
        records = [self._known(text) for text in coded.dictionary.to_pylist()]
        places = list(AGENT_PARTS)
        columns = []
        for wanted in self.wanted:
            place, kind = places.index(wanted.name), self._schema.field(wanted.name).type
            columns.append(pa.array([record[place] for record in records], kind).take(coded.indices))
        reasons: pa.Array = pa.nulls(len(texts), pa.string())
        for wanted, column in zip(self.wanted, columns, strict=True):
            if wanted.required:
                missing = pc.and_(pc.is_null(column), pc.is_valid(coded.indices))
                why = pa.scalar(f"column {wanted.name!r} is missing")
                reasons = pc.if_else(pc.and_(missing, pc.is_null(reasons)), why, reasons)
        return pa.Table.from_arrays(columns, schema=self._schema), pa.chunked_array([reasons])

    def _known(self, text: str) -> tuple[Any, ...]:
        found = self._remembered.get(text)
        if found is None:
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            found = self._remembered[text] = self._parts(text)
        return found

    def _parts(self, text: str) -> tuple[Any, ...]:
        assert self._parse is not None
        if len(text) > _LENGTH_MAX:
            return (None,) * len(AGENT_PARTS)
        found = self._parse(text)
        browser, system, device = found.user_agent, found.os, found.device
        robot = device is not None and device.family == "Spider"
        return (
            browser.family if browser else None,
            _version(browser, "major", "minor", "patch") if browser else None,
            system.family if system else None,
            _version(system, "major", "minor", "patch") if system else None,
            device.family if device else None,
            device.brand if device else None,
            device.model if device else None,
            robot if browser or system or device else None,
        )

    def close(self) -> None:
        """Forget."""
        self._remembered.clear()


def _version(found: Any, *names: str) -> str | None:
    parts = []
    for name in names:
        part = getattr(found, name)
        if part is None:
            break
        parts.append(str(part))
    return ".".join(parts) or None


__all__ = ["AGENT_PARTS", "AgentReader"]
