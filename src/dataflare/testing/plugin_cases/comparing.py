"""How what came of a test differs from what was expected: row by row, column by column."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from dataflare.testing.examples.rows import RowError, typed
from dataflare.testing.plugin_cases.cases import ERRORS, OUT
from dataflare.testing.plugin_cases.running import as_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dataflare.testing.plugin_cases.cases import Case, Row
    from dataflare.testing.plugin_cases.running import Ran

ABSENT = "(no row)"
MATCHED_MAX = 1000


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that is not as expected: the file, the row in it from 1 and the column, "" for a row as a whole.

    Values are JSON texts. A row that is expected and did not come is `(no row)` on the one side, one too many on the
    other.
    """

    file: str
    row: int
    column: str
    expected: str
    got: str

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def compared(case: Case, ran: Ran) -> list[Difference]:
    """Return all differences: of the default output, of the others, of the rows that failed."""
    found: list[Difference] = []
    if ran.failed is not None:
        found.append(Difference("", 0, "", "", str(ran.failed)))
        return found
    for output in dict.fromkeys(["", *case.expected, *ran.rows]):
        file = f"out.{output}.jsonl" if output else OUT
        expected = case.expected.get(output, [])
        if output not in ran.schemas:
            found.append(Difference(file, 0, "", f"{len(expected)} rows", f"the plugin has no output {output!r}"))
            continue
        try:
            wanted = as_json(typed(expected, ran.schemas[output], whole=False), ran.schemas[output])
        except RowError as error:
            hint = f" ({error.hint})" if error.hint else ""
            got = f"{error.what}{hint}"
            found.append(Difference(file, error.index + 1, error.column, _text(expected[error.index]), got))
            continue
        found += _rows(file, wanted, ran.rows.get(output, []))
    return [*found, *_errors(case.errors, ran.errors)]


def _rows(file: str, wanted: Sequence[Row], got: Sequence[Row]) -> Iterator[Difference]:
    left, right = [_text(row) for row in wanted], [_text(row) for row in got]
    for start, stop, begin, end in _unlike(left, right):
        both = min(stop - start, end - begin)
        for n in range(both):
            yield from _columns(file, start + n, wanted[start + n], got[begin + n])
        for n in range(start + both, stop):
            yield Difference(file, n + 1, "", left[n], ABSENT)
        for n in range(begin + both, end):
            yield Difference(file, n + 1, "", ABSENT, right[n])


def _unlike(left: Sequence[str], right: Sequence[str]) -> Iterator[tuple[int, int, int, int]]:
    """Yield the parts in which texts differ; of very many the ends alone are matched, as that takes square time."""
    same = next((n for n, pair in enumerate(zip(left, right, strict=False)) if pair[0] != pair[1]), None)
    first = same if same is not None else min(len(left), len(right))
    last = 0
    while last < min(len(left), len(right)) - first and left[-1 - last] == right[-1 - last]:
        last += 1
    inner, other = left[first : len(left) - last], right[first : len(right) - last]
    if max(len(inner), len(other)) > MATCHED_MAX:
        yield first, first + len(inner), first, first + len(other)
        return
    for tag, start, stop, begin, end in SequenceMatcher(None, inner, other, autojunk=False).get_opcodes():
        if tag != "equal":
            yield first + start, first + stop, first + begin, first + end


def _columns(file: str, at: int, wanted: Row, got: Row) -> Iterator[Difference]:
    for column in dict.fromkeys([*wanted, *got]):
        if wanted.get(column) != got.get(column):
            yield Difference(file, at + 1, column, _text(wanted.get(column)), _text(got.get(column)))


def _errors(wanted: Sequence[Row], got: Sequence[Row]) -> Iterator[Difference]:
    """Compare the reasons, of which a part is enough, and the rows, where they are told."""
    for n, one in enumerate(wanted):
        if n >= len(got):
            yield Difference(ERRORS, n + 1, "", _text(one), ABSENT)
            continue
        if str(one.get("error", "")) not in got[n]["error"]:
            yield Difference(ERRORS, n + 1, "error", _text(one.get("error")), _text(got[n]["error"]))
        row = one.get("row")
        if isinstance(row, dict):
            yield from _columns(ERRORS, n, row, got[n]["row"])
    for n in range(len(wanted), len(got)):
        yield Difference(ERRORS, n + 1, "", ABSENT, _text(got[n]))


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


__all__ = ["ABSENT", "Difference", "compared"]
