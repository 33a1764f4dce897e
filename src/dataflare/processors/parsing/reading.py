"""Takes texts apart by one statement for a batch: typed columns, and for each row why it could not be read.

No expression fails: what does not parse is null beside its reason, so that one bad row costs the others nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataflare.errors import WorkflowError
from dataflare.expression.check import Checker
from dataflare.expression.fit import fit_column
from dataflare.expression.session import INPUT, Statement, select
from dataflare.schema import Schema, arrow_type
from dataflare.sql.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from dataflare.component import Budget

TEXT = "__text"
"""The column of texts, as expressions read it."""

_UNREADABLE = ("null", "binary")
_TEXTUAL = ("string", "json")
_WHOLE = ("int", "uint")
_TIMED = ("timestamp", "datetime", "date", "time")


@dataclass(frozen=True, slots=True)
class Reading:
    """How a format takes a text apart, as SQL over `TEXT` that fails for no text.

    `levels` are columns by name, each level over those before. `texts` give the text of each column, or its value
    where it is one of `values`. `faults` are conditions and what they say about a row; the first that holds counts.
    """

    levels: tuple[tuple[tuple[str, str], ...], ...]
    texts: Mapping[str, str]
    faults: tuple[tuple[str, str], ...] = ()
    values: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A column that is wanted: its type, the format of its times if not the usual one, whether it must be there."""

    name: str
    type: str = "string"
    format: str = ""
    required: bool = False


@dataclass(slots=True)
class TextReader:
    """Reads texts into `wanted` columns."""

    reading: Reading
    wanted: tuple[Wanted, ...]
    _statement: Statement | None = field(default=None, init=False)
    _schema: pa.Schema | None = field(default=None, init=False)

    def open(self, budget: Budget) -> None:
        """Prepare the statement."""
        import pyarrow as pa

        self._schema = Schema.of((w.name, w.type) for w in self.wanted).to_arrow()
        self._statement = Statement(pa.schema([pa.field(TEXT, pa.string())]), budget)
        self._statement.prepare(self._sql())

    def _sql(self) -> str:
        kinds = types_in_sql([w.type for w in self.wanted])
        source = INPUT
        texts = tuple((f"__t{n}", self.reading.texts[w.name]) for n, w in enumerate(self.wanted))
        values = tuple((f"__v{n}", self._value(w, n, kinds[n])) for n, w in enumerate(self.wanted))
        for level in (*self.reading.levels, texts, values):
            source = f"({select(['*', *(f'{sql} as {name}' for name, sql in level)], source)})"
        cases = list(self.reading.faults)
        for n, wanted in enumerate(self.wanted):
            cases += self._doubts(wanted, n)
        whens = " ".join(f"when {condition} then {literal(why)}" for condition, why in cases)
        why = f"case when {TEXT} is null then null {whens} end" if cases else "cast(null as varchar)"
        return select([*(name for name, _ in values), f"{why} as __why"], source)

    def _value(self, wanted: Wanted, number: int, kind: str) -> str:
        text = f"__t{number}"
        return text if wanted.name in self.reading.values else converted(text, wanted.type, kind, wanted.format)

    def _doubts(self, wanted: Wanted, number: int) -> list[tuple[str, str]]:
        text, value = f"__t{number}", f"__v{number}"
        found = []
        if wanted.type not in _TEXTUAL and wanted.name not in self.reading.values:
            found.append((f"{text} is not null and {value} is null", mismatch(wanted)))
        if wanted.required:
            found.append((f"{value} is null", f"column {wanted.name!r} is missing"))
        return found

    def run(self, texts: pa.ChunkedArray) -> tuple[pa.Table, pa.ChunkedArray]:
        """Return the columns, and the reason of each row that could not be read."""
        import pyarrow as pa

        assert self._statement is not None
        assert self._schema is not None
        found = self._statement.run(pa.table({TEXT: texts}))
        columns = [fit_column(c, f) for c, f in zip(found.columns[:-1], self._schema, strict=True)]
        return pa.Table.from_arrays(columns, schema=self._schema), found.column(len(columns))

    def close(self) -> None:
        """Free the plan."""
        if self._statement is not None:
            self._statement.close()


def converted(text: str, kind: str, kind_in_sql: str, time_format: str = "") -> str:
    """Return the SQL of the value that a text stands for, null where it stands for none."""
    if kind in _TEXTUAL:
        return text
    if time_format:
        return f"try_cast(try_strptime({text}, {literal(time_format)}) as {kind_in_sql})"
    value = f"try_cast({text} as {kind_in_sql})"
    if kind.startswith(_WHOLE):  # 1.5 would be rounded
        return f"case when cast({value} as double) = try_cast({text} as double) then {value} end"
    return value


def mismatch(wanted: Wanted) -> str:
    """Return what is wrong with a row whose text is not of the type of a column."""
    written = f" written as {wanted.format}" if wanted.format else ""
    return f"column {wanted.name!r}: the value is not of type {wanted.type}{written}"


def types_in_sql(types: list[str]) -> list[str]:
    """Return the names that DuckDB has for these types."""
    import pyarrow as pa

    if not types:
        return []
    schema = pa.schema([pa.field(f"c{n}", arrow_type(t)) for n, t in enumerate(types)])
    return Checker().described(f"from {INPUT}", schema)


def check_readable(wanted: Wanted, *, nested: bool = False) -> None:
    """Raise WorkflowError for a type that no text holds; nested types only where the format has them."""
    word = wanted.type.partition("<")[0]
    if word in _UNREADABLE or (word != wanted.type and not nested):
        raise WorkflowError(
            f"columns: {wanted.name!r} cannot be of type {wanted.type} in this format", hint="read it as string"
        )
    if wanted.format and word not in _TIMED:
        raise WorkflowError(
            f"times: {wanted.name!r} is of type {wanted.type}, not a time", hint="give its type in `columns`"
        )


__all__ = ["TEXT", "Reading", "TextReader", "Wanted", "check_readable", "converted", "mismatch", "types_in_sql"]
