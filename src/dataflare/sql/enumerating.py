"""Goes through the tables of a source one after another, also where others are named when a run is resumed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from dataflare.batch import Position
    from dataflare.component import Split

    Ranges = Callable[[str, int, Position | None], Iterator[Split]]


def each_table(now: Collection[str], since: Position | None, ranges: Ranges) -> Iterator[Split]:
    """Yield the splits of each table, as `ranges` does of one by its name and number, from where enumeration goes on.

    A number means the same table as long as a run lasts: one that has gone is passed over, one that came is the last.
    """
    names = list((since or {}).get("names") or now)
    names += [name for name in now if name not in names]
    begin = since["table"] if since else 0
    for number in range(begin, len(names)):
        if names[number] not in now:
            continue
        going_on = since if since and number == begin and "low" in since else None
        for split in ranges(names[number], number, going_on):
            yield split if len(names) == 1 else replace(split, resume={**(split.resume or {}), "names": names})


__all__ = ["each_table"]
