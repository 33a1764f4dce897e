"""Between records and columns, by functions that are made once for each list of names."""

from collections.abc import Callable, Collection
from functools import lru_cache
from operator import itemgetter
from typing import Any

from dataflare._results import BadRecord

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


class Picker:
    """Picks the values of a record by names.

    It refuses other names than these and `others`: their values would be lost.
    """

    def __init__(self, names: tuple[str, ...], others: Collection[str]) -> None:
        """Look at nothing yet."""
        self.names = names
        self._allowed = frozenset(names) | frozenset(others)
        self.pick = itemgetter(*names) if names else lambda _: ()

    def slowly(self, record: Record) -> Any:
        """Return the values of a record of which some are missing, which are None, or that has others, too."""
        if not record.keys() <= self._allowed:
            other = next(name for name in record if name not in self._allowed)
            raise BadRecord(f"process returned {other!r}, which is no column of the output")
        if len(self.names) == 1:
            return record.get(self.names[0])
        return tuple([record.get(name) for name in self.names])
