"""Reads a sheet of a workbook as CSV, so that its cells are typed, and bad rows told, as those of CSV are."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any

from dataflare.errors import DataError, Place, UnavailableError, WorkflowError
from dataflare.formats.excel.stream import LargeSheet, sheet_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PIECE_BYTES = 1 << 20
INTEGERS_SURE = float(1 << 53)
_RANGE = re.compile(r"([A-Z]{1,3})([1-9]\d{0,6})?(?::([A-Z]{1,3})([1-9]\d{0,6})?)?", re.IGNORECASE)
_LETTERS = 26


class Area:
    """The cells to read: `B3:F100`, `B:F`, or from `B3` on."""

    def __init__(self, text: str) -> None:
        """Read the text; "" is all cells. Raises WorkflowError for what is none."""
        found = _RANGE.fullmatch(text.strip()) if text else None
        if text and found is None:
            raise WorkflowError(f"{text!r} is no range of cells", hint="such as B3:F100, B:F or B3")
        left, top, right, bottom = found.groups() if found else ("", "", "", "")
        self.left, self.top = _number(left) if left else 0, int(top or 1) - 1
        single = found is not None and not right and not top  # one column
        self.right = _number(left) + 1 if single else _number(right) + 1 if right else None
        self.bottom = int(bottom) if bottom else None
        if (self.right or self.left + 1) <= self.left or (self.bottom or self.top + 1) <= self.top:
            raise WorkflowError(f"the range {text!r} is empty", hint="name the upper left cell first")


def sheet_text(file: IO[bytes], name: str, sheet: str | int, area: Area) -> Iterator[bytes]:
    """Yield the CSV of a sheet, a line a row: an empty one where a row is.

    Memory: the workbook and the sheet; of a large sheet in a file of Excel 2007 and later a part of its rows at a time.
    Raises DataError for what is no workbook, and where there is no such sheet.
    """
    rows = _rows(file, name, sheet)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for number, row in enumerate(rows):
        if number < area.top:
            continue
        if area.bottom is not None and number >= area.bottom:
            break
        cells = [_TEXTS.get(type(v), str)(v) for v in row[area.left : area.right]]
        if any(cells):
            writer.writerow(cells)
        else:
            out.write("\n")
        if out.tell() >= PIECE_BYTES:
            yield out.getvalue().encode("utf-8", "replace")
            out.seek(0)
            out.truncate()
    yield out.getvalue().encode("utf-8", "replace")


def _rows(file: IO[bytes], name: str, wanted: str | int) -> Iterator[list[Any]]:
    """Yield the rows of a sheet from the first one on, their cells from column A on."""
    try:
        import python_calamine
    except ImportError as error:
        raise UnavailableError("Excel needs python-calamine", hint="pip install 'dataflare[excel]'") from error
    try:
        large = _large(file, name, wanted)
        if large is not None:
            yield from _rows_of_parts(*large)
            return
        file.seek(0)
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(file.read()))
        sheet = book.get_sheet_by_index(_chosen(book.sheet_names, name, wanted))
    except (python_calamine.CalamineError, OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"not a workbook that can be read: {reason}",
            hint="is it encrypted, or was it copied in part?",
            place=Place(name),
        ) from error
    if sheet.start is not None:
        before = [""] * sheet.start[1]  # the rows above are there, the columns before are not
        for row in sheet.iter_rows():
            yield before + row


def _large(file: IO[bytes], name: str, wanted: str | int) -> tuple[LargeSheet, int] | None:
    """Return a sheet that is read in parts, and its number; None for any other."""
    if not zipfile.is_zipfile(file):
        return None
    archive = zipfile.ZipFile(file)
    try:
        number = _chosen(sheet_names(archive), name, wanted)
        sheet = LargeSheet(archive, number)
    except (KeyError, IndexError):
        return None
    return (sheet, number) if sheet.is_large() else None


def _rows_of_parts(sheet: LargeSheet, number: int) -> Iterator[list[Any]]:
    import python_calamine

    done = 0
    for part in sheet.parts():
        found = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(part.book)).get_sheet_by_index(number)
        if found.start is None:
            continue
        top, left = found.start
        yield from ([] for _ in range(done, top))
        rows: list[list[Any]] = found.to_python(skip_empty_area=True)
        before, behind = [""] * left, [""] * (part.width - left - found.width)
        yield from (before + row + behind for row in rows)
        done = top + len(rows)


def _chosen(names: Sequence[str], name: str, wanted: str | int) -> int:
    """Return the number of a sheet, from 0; raise DataError where there is no such one."""
    if isinstance(wanted, int):
        if not 1 <= wanted <= len(names):
            raise DataError(f"there are {len(names)} sheets, not {wanted}", place=Place(name))
        return wanted - 1
    if wanted not in names:
        shown = ", ".join(map(repr, names))
        raise DataError(f"there is no sheet {wanted!r}", hint=f"there are: {shown}", place=Place(name))
    return names.index(wanted)


def _number(letters: str) -> int:
    value = 0
    for letter in letters.upper():
        value = value * _LETTERS + ord(letter) - ord("A") + 1
    return value - 1


def _float(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < INTEGERS_SURE else repr(value)


def _lasting(value: dt.timedelta) -> str:
    seconds = round(value.total_seconds())
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


_TEXTS: dict[type, Callable[[Any], str]] = {
    str: str,
    float: _float,
    int: str,
    bool: lambda v: "true" if v else "false",
    dt.date: dt.date.isoformat,
    dt.datetime: dt.datetime.isoformat,
    dt.time: dt.time.isoformat,
    dt.timedelta: _lasting,
}
"""How a cell of each type is written in the CSV."""

__all__ = ["Area", "sheet_text"]
