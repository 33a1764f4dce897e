"""Between records and columns, by functions that are made once for each list of names."""

from array import array
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from dataflare._results import BadRecord
from dataflare._texts import write

Record = dict[str, Any]


@lru_cache(maxsize=64)
def records_of(names: tuple[str, ...]) -> Callable[..., list[Record]]:
    """Return what makes records of lists, one for each name; records that are written out are made fastest."""
    lists = ", ".join(f"c{n}" for n in range(len(names)))
    values = ", ".join(f"v{n}" for n in range(len(names)))
    fields = ", ".join(f"{name!r}: v{n}" for n, name in enumerate(names))
    if len(names) == 1:
        return eval(f"lambda c0: [{{{fields}}} for v0 in c0]")
    return eval(f"lambda {lists}: [{{{fields}}} for {values} in zip({lists})]")


def lists_of(columns: dict[str, Any]) -> dict[str, list[Any]]:
    """Return columns as lists: they come as such, or as the base64 of 8 bytes a float, with the places of nulls."""
    return {name: column if type(column) is list else _floats(column) for name, column in columns.items()}


def _floats(column: dict[str, Any]) -> list[Any]:
    values = array("d", a2b_base64(column["f64"])).tolist()
    for place in column.get("nulls", ()):
        values[place] = None
    return values


def packed(values: Sequence[Any]) -> str:
    """Return a list as JSON, or as its bytes where it has nothing but floats."""
    if values and type(values[0]) is float and set(map(type, values)) == {float}:
        return f'{{"f64":"{b2a_base64(array("d", values), newline=False).decode()}"}}'
    return write(values)


class Picker:
    """Picks the values of a record by names.

    It refuses other names than these and `others`: their values would be lost.
    """

    def __init__(self, names: tuple[str, ...], others: Collection[str]) -> None:
        """Look at nothing yet."""
        self.names, self.width = names, len(names)
        self.allowed = frozenset(names) | frozenset(others)
        self.pick = itemgetter(*names) if names else lambda _: ()

    def slowly(self, record: Record) -> Any:
        """Return the values of a record of which some are missing, which are None, or that has others, too."""
        if not record.keys() <= self.allowed:
            other = next(name for name in record if name not in self.allowed)
            raise BadRecord(f"process returned {other!r}, which is no column of the output")
        if len(self.names) == 1:
            return record.get(self.names[0])
        return tuple([record.get(name) for name in self.names])
