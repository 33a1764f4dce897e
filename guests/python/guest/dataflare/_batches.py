"""Batches: `process` is called for each row in here, as a call into the component costs more than most functions do."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from dataflare._columns import Picker, lists_of, packed, records_of
from dataflare._loading import Plugin
from dataflare._results import Fatal, Routed, Transient, several, told
from dataflare._texts import read, read_lines, whole, write

Errors = list[tuple[int, str]]
"""Numbers of rows, and why they are bad."""
Part = tuple[str, int, str, list[int] | None]
"""An output, how many rows it has, the rows, and which ones they came of."""


def lines(plugin: Plugin, count: int, data: str, decimals: list[str]) -> tuple[list[Part], Errors]:
    """Call `process` for each line of JSON, or `process_columns` with all of them."""
    records = read_lines(data)
    if decimals:
        records = (exact(record, decimals) for record in records)
    if plugin.process is not None:
        return _each(plugin.process, records, count, lambda _: Lines())
    rows = list(records)
    given = {name: [row.get(name) for row in rows] for name in (rows[0] if rows else ())}
    lists = _called(plugin.process_columns, given, count)
    made = [write(dict(zip(lists, values, strict=True))) for values in zip(*lists.values(), strict=True)]
    return [("", len(made), whole("\n".join(made)), None)], []


def exact(record: dict[str, Any], decimals: list[str]) -> dict[str, Any]:
    """Make decimals of the texts of these columns."""
    for name in decimals:
        if record.get(name) is not None:
            record[name] = Decimal(record[name])
    return record


def columns(plugin: Plugin, count: int, data: str) -> tuple[list[Part], Errors]:
    """Call `process` for each row of columns, or `process_columns` with all of them."""
    lists = lists_of(read(data))
    if plugin.process_columns is not None:
        made_lists = _called(plugin.process_columns, lists, count)
        rows = len(next(iter(made_lists.values()), ()))
        return [("", rows, _object(made_lists, plugin), None)], []
    given = tuple(lists)
    records = records_of(given)(*lists.values()) if given else [{} for _ in range(count)]

    def made(output: str) -> Columns:
        types = plugin.types(output)
        adds = not output and plugin.output is None and plugin.adds is not None
        return Columns(Picker(given if types is None else tuple(types), given if adds else ()), plugin)

    return _each(plugin.process, records, count, made)


class Lines:
    """The rows of one output, as lines. `sources` are those they came of; None: they are the same so far."""

    def __init__(self) -> None:
        """Have none yet."""
        self._texts: list[str] = []
        self.sources: list[int] | None = None
        self.put = self._texts.append

    def count(self) -> int:
        """Return how many there are."""
        return len(self._texts)

    def plainly(self, process: Callable[[Any], Any], records: Iterator[Any]) -> Any:
        """Go through rows for as long as each becomes one record; return what does not, or _END."""
        put = self.put
        for record in records:
            result = process(record)
            if type(result) is not dict:
                return result
            put(write(result))
        return _END

    taken = staticmethod(write)
    """Returns what is put of a record; raises where it cannot be written."""

    def written(self, errors: Errors) -> tuple[int, str]:
        """Return how many rows there are, and these."""
        try:
            return len(self._texts), whole("\n".join(self._texts))
        except UnicodeEncodeError:
            sources = self.sources if self.sources is not None else range(len(self._texts))
            kept = [n for n, text in enumerate(self._texts) if _good(lambda text=text: text, sources[n], errors)]
            self._texts = [self._texts[n] for n in kept]
            self.sources = [sources[n] for n in kept]
            return len(kept), "\n".join(self._texts)


class Columns:
    """The rows of one output, by columns. `sources` are those they came of; None: they are the same so far."""

    def __init__(self, picker: Picker, plugin: Plugin) -> None:
        """Have none yet."""
        self._picker, self._plugin = picker, plugin
        self._rows: list[Any] = []
        self.sources: list[int] | None = None
        self.put = self._rows.append
        self._width, self._pick, self._slowly = picker.width, picker.pick, picker.slowly

    def count(self) -> int:
        """Return how many there are."""
        return len(self._rows)

    def plainly(self, process: Callable[[Any], Any], records: Iterator[Any]) -> Any:
        """Go through rows for as long as each becomes one record of all names; return what does not, or _END."""
        put, pick, width, allowed = self.put, self._pick, self._width, self._picker.allowed
        for record in records:
            result = process(record)
            if type(result) is not dict or (len(result) != width and not result.keys() <= allowed):
                return result
            try:
                put(pick(result))
            except KeyError:
                return result
        return _END

    def taken(self, record: dict[str, Any]) -> Any:
        """Return what is put of a record; raise where it has other names."""
        if len(record) == self._width:
            try:
                return self._pick(record)
            except KeyError:
                pass
        return self._slowly(record)

    def written(self, errors: Errors) -> tuple[int, str]:
        """Return how many rows there are, and these."""
        try:
            return len(self._rows), self._text()
        except (ValueError, TypeError, RecursionError):  # that of half a letter is a ValueError, too
            rows = self._rows
            sources = self.sources if self.sources is not None else range(len(rows))
            kept = [n for n, row in enumerate(rows) if _good(lambda row=row: write(row), sources[n], errors)]
            self._rows = [rows[n] for n in kept]
            self.sources = [sources[n] for n in kept]
            return len(kept), self._text()

    def _text(self) -> str:
        names, rows = self._picker.names, self._rows
        lists = [rows] if len(names) == 1 else list(zip(*rows, strict=True)) or [()] * len(names)
        return _object(dict(zip(names, lists, strict=True)), self._plugin)


def _object(lists: dict[str, Sequence[Any]], plugin: Plugin) -> str:
    written = packed if plugin.packs else write
    texts = [f"{write(name)}:{written(one)}" for name, one in lists.items()]
    return whole(f"{{{','.join(texts)}}}")


def _good(make: Callable[[], str], source: int, errors: Errors) -> bool:
    try:
        whole(make())
    except (ValueError, TypeError, RecursionError) as error:
        errors.append((source, told(error)))
        return False
    return True


_END = object()


def _each(
    process: Callable[[Any], Any], records: Iterable[Any], count: int, made: Callable[[str], Lines | Columns]
) -> tuple[list[Part], Errors]:
    errors: Errors = []
    main = made("")
    parts = {"": main}
    records = iter(records)
    try:
        result = main.plainly(process, records)
    except (Transient, Fatal):
        raise
    except BaseException as error:  # SystemExit, too: the row is bad, and the others go on
        result = None
        errors.append((main.count(), told(error)))
    number = main.count()
    if result is not _END:
        main.sources = list(range(number))
        _put(result, number, parts, made, errors)
        number = _generally(process, records, number + 1, parts, made, errors)
    if number != count:
        raise Fatal(f"the host said {count} rows, and there are {number}")
    every = list(range(count))
    found = []
    for output, part in parts.items():
        rows, data = part.written(errors)
        found.append((output, rows, data, None if part.sources is None or part.sources == every else part.sources))
    return found, errors


def _generally(
    process: Callable[[Any], Any],
    records: Iterator[Any],
    number: int,
    parts: dict[str, Lines | Columns],
    made: Callable[[str], Lines | Columns],
    errors: Errors,
) -> int:
    """Go on with rows of which anything may become; return the number of the one after the last."""
    main = parts[""]
    put, taken, came = main.put, main.taken, main.sources.append
    for record in records:
        try:
            result = process(record)
            if type(result) is dict:
                put(taken(result))
                came(number)
            elif result is not None:
                _put_several(result, number, parts, made)
        except (Transient, Fatal):
            raise
        except BaseException as error:
            errors.append((number, told(error)))
        number += 1
    return number


def _put(
    result: Any,
    number: int,
    parts: dict[str, Lines | Columns],
    made: Callable[[str], Lines | Columns],
    errors: Errors,
) -> None:
    if result is None:
        return
    try:
        _put_several(result, number, parts, made)
    except (Transient, Fatal):
        raise
    except BaseException as error:
        errors.append((number, told(error)))


def _put_several(
    result: Any, number: int, parts: dict[str, Lines | Columns], made: Callable[[str], Lines | Columns]
) -> None:
    """Put all records of a row, or none."""
    ready = []
    for one in several(result):
        output, record = (one.output, one.record) if isinstance(one, Routed) else ("", one)
        if output not in parts:
            parts[output] = made(output)
            parts[output].sources = []
        ready.append((parts[output], parts[output].taken(record)))
    for part, value in ready:
        part.put(value)
        part.sources.append(number)


def _called(process: Callable[..., Any], lists: dict[str, list[Any]], count: int) -> dict[str, list[Any]]:
    """Return the columns that `process_columns` makes, all of the same length."""
    result = process(lists, count)
    if result is None:
        result = {}
    if not isinstance(result, dict):
        raise Fatal(f"process_columns returned no dict of lists, but {type(result).__name__}")
    found: dict[str, list[Any]] = {}
    for name, values in result.items():
        if isinstance(values, (str, bytes, dict)) or not hasattr(values, "__iter__"):
            raise Fatal(f"process_columns returned {type(values).__name__} for {name}, which is no list")
        found[str(name)] = list(values)
    first = next(iter(found), "")
    for name, values in found.items():
        if len(values) != len(found[first]):
            raise Fatal(f"process_columns returned {len(values)} values of {name} and {len(found[first])} of {first}")
    return found


__all__ = ["columns", "exact", "lines"]
