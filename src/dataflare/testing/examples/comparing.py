"""Compares the rows of an output with what a test expects of them, and says how they differ, column by column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.schema import Schema
from dataflare.testing.examples.matching import fits, holds, matched
from dataflare.testing.examples.predicates import PredicateError, predicate_of, shown
from dataflare.testing.examples.results import Failure
from dataflare.testing.examples.rows import RowError, typed
from dataflare.workflow.findings import near

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from dataflare.errors import Place
    from dataflare.workflow.document import Document, Path
    from dataflare.workflow.example_text import ExpectText

Row = dict[str, Any]
SHOWN_MAX = 10
"""How many rows of a kind are shown."""


class Comparison:
    """The rows of one output against one expectation, which stands at `path` of the document."""

    def __init__(self, rows: pa.Table, expected: ExpectText, document: Document, path: Path) -> None:
        """Compare nothing yet."""
        self._schema = Schema.from_arrow(rows.schema)
        self._rows: list[Row] = rows.to_pylist()
        self._expected, self._document, self._path = expected, document, path
        self._name = str(path[-1])
        written = document.at(path)
        self._short = written is None or not isinstance(written.data, dict)

    def failures(self) -> Iterator[Failure]:
        """Yield what does not hold."""
        expected = self._expected
        try:
            if isinstance(expected.rows, int):
                yield from self._count(expected.rows)
            elif expected.rows is not None:
                yield from self._all(self._wanted("rows", expected.rows), ordered=expected.ordered)
            if expected.contains:
                yield from self._some(self._wanted("contains", expected.contains))
            if expected.lacks:
                yield from self._none(self._wanted("lacks", expected.lacks))
            if expected.each:
                yield from self._each()
        except _WrongError as error:
            yield error.failure
        if expected.empty is not None and expected.empty is not (not self._rows):
            what = "should have no rows" if expected.empty else "should have rows"
            lines = tuple(f"+ {_line(row)}" for row in self._rows[:SHOWN_MAX])
            yield Failure(f"{self._name} {what}, and has {len(self._rows)}", self._place("empty"), lines)

    def against(self, wanted: list[Row]) -> Iterator[Failure]:
        """Yield a failure where the rows are not these, which came out of another run."""
        yield from self._all(wanted, ordered=False)

    # What is expected, as values

    def _wanted(self, section: str, rows: Sequence[Row]) -> list[Row]:
        """Return expected rows with values of the types that came out, and conditions."""
        plain: list[Row] = []
        conditions: list[Row] = []
        for index, row in enumerate(rows):
            found: Row = {}
            for column, value in row.items():
                found |= self._condition(section, index, column, value)
            conditions.append(found)
            plain.append({c: v for c, v in row.items() if c not in found})
            missing = [n for n in self._schema.names if n not in row] if self._expected.exact else []
            if missing and section == "rows":
                raise self._wrong(f"the row does not name {', '.join(missing)}, and exact is asked", section, index)
        names = list(dict.fromkeys(c for row in plain for c in row))
        try:
            values = typed(plain, self._schema.select(names), whole=False).to_pylist() if names else [{} for _ in plain]
        except RowError as error:
            raise self._wrong(f"row {error.index + 1}: {error.what}", section, error.index) from error
        kept = [{c: value[c] for c in row} for row, value in zip(plain, values, strict=True)]
        return [{c: {**k, **e}[c] for c in row} for row, k, e in zip(rows, kept, conditions, strict=True)]

    def _condition(self, section: str, index: int, column: str, value: Any) -> Row:
        if column not in self._schema:
            hint = near(column, self._schema.names)
            what = f"there is no column {column!r}{f' ({hint})' if hint else ''}"
            raise self._wrong(what, section, index, column)
        try:
            condition = predicate_of(value, self._schema[column].type)
        except PredicateError as error:
            hint = f" ({error.hint})" if error.hint else ""
            raise self._wrong(f"{column}: {error}{hint}", section, index, column) from error
        return {column: condition} if condition is not None else {}

    def _wrong(self, what: str, section: str, index: int, column: str = "") -> _WrongError:
        path = (index, column) if column else (index,)
        return _WrongError(Failure(f"{self._name}: {what}", self._place(section, *path, key=bool(column))))

    # Judgements

    def _count(self, wanted: int) -> Iterator[Failure]:
        if len(self._rows) != wanted:
            lines = tuple(f"+ {_line(row)}" for row in self._rows[:SHOWN_MAX])
            yield Failure(f"{self._name} has {_many(len(self._rows))}, not {wanted}", self._place("rows"), lines)

    def _all(self, wanted: list[Row], *, ordered: bool) -> Iterator[Failure]:
        if ordered:
            pairs = dict(enumerate(range(min(len(wanted), len(self._rows)))))
            pairs = {w: r for w, r in pairs.items() if fits(wanted[w], self._rows[r])}
        else:
            pairs = matched(wanted, self._rows)
        missing = [w for w in range(len(wanted)) if w not in pairs]
        taken = set(pairs.values())
        extra = [r for r in range(len(self._rows)) if r not in taken]
        if not missing and not extra:
            return
        place = self._place("rows", missing[0]) if missing else self._place("rows")
        yield Failure(self._summary(len(missing), len(extra)), place, self._difference(wanted, missing, extra))

    def _some(self, wanted: list[Row]) -> Iterator[Failure]:
        pairs = matched(wanted, self._rows)
        missing = [w for w in range(len(wanted)) if w not in pairs]
        if missing:
            taken = set(pairs.values())
            free = [r for r in range(len(self._rows)) if r not in taken]
            lines = self._difference(wanted, missing, free, extra_shown=False)
            what = f"{self._name} lacks {_many(len(missing))} that should be there"
            yield Failure(what, self._place("contains", missing[0]), lines)

    def _none(self, unwanted: list[Row]) -> Iterator[Failure]:
        for index, row in enumerate(unwanted):
            found = [r for r in self._rows if fits(row, r)]
            if found:
                lines = tuple(f"+ {_line(r)}" for r in found[:SHOWN_MAX])
                what = f"{self._name} has {_many(len(found))} that should not be there"
                yield Failure(what, self._place("lacks", index), lines)

    def _each(self) -> Iterator[Failure]:
        (wanted,) = self._each_wanted()
        bad = [r for r in self._rows if not fits(wanted, r)]
        if bad:
            lines = [line for r in bad[:SHOWN_MAX] for line in (f"+ {_line(r)}", *_columns(wanted, r))]
            what = f"{self._name}: {len(bad)} of {_many(len(self._rows))} are not as each should be"
            yield Failure(what, self._place("each"), tuple(lines))

    def _each_wanted(self) -> list[Row]:
        return self._wanted("each", [self._expected.each])

    # Words

    def _summary(self, missing: int, extra: int) -> str:
        if missing == extra:
            return f"{self._name}: {_many(missing)} of {len(self._rows)} {'differs' if missing == 1 else 'differ'}"
        parts = [f"{_many(missing)} missing"] if missing else []
        parts += [f"{_many(extra)} too many"] if extra else []
        return f"{self._name}: {', '.join(parts)}"

    def _difference(
        self, wanted: list[Row], missing: list[int], extra: list[int], *, extra_shown: bool = True
    ) -> tuple[str, ...]:
        """Return lines: a row that is missing with the one that came in its place, where one is near."""
        named = list(dict.fromkeys(c for row in wanted for c in row)) or self._schema.names
        lines: list[str] = []
        left = list(extra)
        for number in missing[:SHOWN_MAX]:
            lines.append(f"- {_line(wanted[number])}")
            nearest = max(left, key=lambda r: _alikeness(wanted[number], self._rows[r]), default=None)
            if nearest is not None and _alikeness(wanted[number], self._rows[nearest]):
                left.remove(nearest)
                lines.append(f"+ {_line(self._rows[nearest], named)}")
                lines += _columns(wanted[number], self._rows[nearest])
        shown_extra = left if extra_shown else []
        lines += [f"+ {_line(self._rows[r], named)}" for r in shown_extra[:SHOWN_MAX]]
        more = max(0, len(missing) - SHOWN_MAX) + max(0, len(shown_extra) - SHOWN_MAX)
        return (*lines, *([f"and {more} more"] if more else []))

    def _place(self, section: str, *path: str | int, key: bool = False) -> Place:
        inner = () if self._short or section == "each" else (section,)
        if section == "each":
            return self._document.place((*self._path, "each"), key=True)
        return self._document.place((*self._path, *inner, *path), key=key or not path)


class _WrongError(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def _alikeness(wanted: Row, row: Row) -> int:
    return sum(holds(value, row.get(column)) for column, value in wanted.items())


def _columns(wanted: Row, row: Row) -> list[str]:
    return [
        f"    {column}: expected {shown(value)}, got {shown(row.get(column))}"
        for column, value in wanted.items()
        if not holds(value, row.get(column))
    ]


def _line(row: Row, columns: Sequence[str] | None = None) -> str:
    names = [c for c in columns if c in row] if columns is not None else list(row)
    return "  ".join(f"{name}={shown(row[name])}" for name in names) or "(any row)"


def _many(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"


__all__ = ["Comparison"]
