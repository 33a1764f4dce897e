"""What a source of mode incremental does to find deletes: it remembers the keys that it told, and compares them.

Windows of new rows come ahead of the next comparison, which therefore begins when they are read and is told what they
and the one before it remember (`Split.before`). Its deletes are behind their rows everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from dataflare.batch import RESERVED, Batch
from dataflare.changes import OP, TX, Op, changing
from dataflare.component import Split, Stream
from dataflare.errors import WorkflowError
from dataflare.plan_words import EdgeKind
from dataflare.schema import arrow_type
from dataflare.sql.known_keys import Comparison, KeyLayers, layers_told, wants_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dataflare.batch import Position
    from dataflare.component import StageContext
    from dataflare.schema import Schema

    Found = Iterable[tuple[str, str, dict[str, Any], dict[str, Any]]]

WINDOWS_MAX = 500
"""So many windows may wait for a comparison; then it comes before its time."""
DELETES_ROWS = 1 << 16


class Reads(Protocol):
    """The source, as far as it reads rows."""

    context: StageContext

    def groups(self, rows: pa.Table, keys: Sequence[str]) -> pa.ChunkedArray:
        """Return the key group (0..255) of each row."""
        ...

    def good_rows(self, split: Split, since: Position | None, until: Position | None) -> Iterator[Batch]:
        """Yield the rows of a part, and those that are not taken."""
        ...


class Deleting:
    """Belongs to one source; `keys` are the columns that tell rows apart, by output; `every` in seconds."""

    def __init__(self, source: Reads, keys: Mapping[str, tuple[str, ...]], every: float) -> None:
        """Remember nothing yet."""
        self._source, self._keys, self._every = source, keys, every
        self._layers: KeyLayers | None = None

    # ---- splits -------------------------------------------------------------------------------------------------

    def splits(self, since: Mapping[str, Any] | None, found: Found) -> Iterator[Split]:
        """Yield the windows that were found after `since`, then a comparison of each table whose time has come."""
        now = self._source.context.runtime.clock.now()
        known = set((since or {}).get("marks", {}))
        compared = {name: dict(told) for name, told in (since or {}).get("compared", {}).items()}
        begun: set[str] = set()
        resume = {k: v for k, v in (since or {}).items() if k != "compared"}
        for name in self._keys:
            if name in known and name not in compared:  # rows were read whose keys nobody remembers
                compared[name] = {"number": 0, "at": now, "windows": 0, "unknown": True}
        for identity, name, data, after in found:
            if name not in compared:
                begun.add(name)
                compared[name] = {"number": 0, "at": now, "windows": 0}
            told = compared[name]
            told["windows"] += 1
            resume = after
            number = data["window"]["high"]["number"] if "window" in data else 0
            more = {"stream": name, **data, "number": number, "first": name in begun}
            yield Split(identity, more, _after(resume, compared), before=_name(name, told["number"] + 1))
        for name in self._keys:
            if name not in compared or name in begun or not self._is_due(compared[name], now):
                continue
            number = compared[name]["number"] + 1
            data = {"stream": name, "compare": True, "unknown": "unknown" in compared[name]}
            data["number"] = resume.get("marks", {}).get(name, {}).get("number", 0)
            compared[name] = {"number": number, "at": now, "windows": 0}
            yield Split(_name(name, number), data, _after(resume, compared), before=_name(name, number + 1))

    def _is_due(self, told: Mapping[str, Any], now: int) -> bool:
        since = (now - told["at"]) / 1_000_000
        return "unknown" in told or told["windows"] >= WINDOWS_MAX or since >= self._every or since < 0

    # ---- rows ---------------------------------------------------------------------------------------------------

    def read(self, split: Split, since: Position | None) -> Iterator[Batch]:
        """Yield the rows of a window as changes, or the deletes that a comparison finds."""
        return self._compared(split, since) if "compare" in split.data else self._told(split, since)

    def kept(self, position: Position) -> Position:
        """Return a position with all keys that were told before it."""
        return {**position, "layers": self._layers.told()} if self._layers is not None else position

    def _told(self, split: Split, since: Position | None) -> Iterator[Batch]:
        stream, number = split.data["stream"], split.data["number"]
        layers = self._layers = KeyLayers(self._source.context.segments, since["layers"] if since else [])
        at = since["at"] if since else None
        op = Op.READ if split.data["first"] else Op.UPDATE
        schema = self._source.context.schemas[stream]
        for batch in self._source.good_rows(split, at, None):
            at = batch.position
            position = {"at": at, "number": number, "layers": layers.full()}
            if batch.stream == "errors":
                yield Batch(batch.payload, "errors", position)
                continue
            layers.add(batch.rows.select(list(self._keys[stream])))
            yield Batch(as_changes(batch.rows, schema, op, _tx(number)), stream, position)
        position = {"at": at, "number": number, "layers": layers.told()}
        self._layers = None
        yield Batch(schema.to_arrow().empty_table(), stream, position)

    def _compared(self, split: Split, since: Position | None) -> Iterator[Batch]:
        """Yield deletes; those that were told before a restart are among the layers, so none is told twice."""
        stream, number = split.data["stream"], split.data["number"]
        context, names = self._source.context, self._keys[stream]
        schema, segments = context.schemas[stream], context.segments
        told = since["layers"] if since and "layers" in since else layers_told((since or {}).get("splits", {}))
        empty = schema.to_arrow().empty_table()
        if segments is None:
            return
        layers = self._layers = KeyLayers(segments, told)
        whole = KeyLayers(segments, ()) if wants_whole(told) or split.data["unknown"] else None
        kinds = pa.schema([pa.field(n, arrow_type(schema[n].type)) for n in names])
        comparison = Comparison(segments, names, context.budget.memory_bytes_max // 4, self._source.groups, kinds)
        for found in comparison.run(told, self._there(split, names, whole if split.data["unknown"] else None)):
            # An empty batch lets barriers pass.
            yield Batch(empty, stream, {"number": number, "layers": layers.full()})
            if found is None:
                continue
            gone, stay = found
            for begin in range(0, gone.num_rows, DELETES_ROWS):
                keys = gone.slice(begin, DELETES_ROWS)
                layers.add(keys, gone=True)
                rows = as_changes(keys, schema, Op.DELETE, f"{_tx(number)}/{split.id.rpartition('#')[2]}")
                yield Batch(rows, stream, {"number": number, "layers": layers.full()})
            if whole is not None and not split.data["unknown"]:
                whole.add(stay, base=True)
        self._layers = None
        yield Batch(empty, stream, {"number": number, "layers": (whole or layers).told()})

    def _there(self, split: Split, names: tuple[str, ...], learnt: KeyLayers | None) -> Iterator[pa.Table]:
        """Yield the keys that are there, and remember all of them where nobody knows which were told."""
        all_keys = Split(split.id, {"stream": split.data["stream"], "only": list(names)})
        for batch in self._source.good_rows(all_keys, None, None):
            if batch.stream != "errors":
                keys = batch.rows.select(list(names))
                if learnt is not None:
                    learnt.add(keys, base=True)
                yield keys


def as_stream(schema: Schema, key: tuple[str, ...]) -> Stream:
    """Return the output of a table whose deletes are found; raise WorkflowError where its key is not read."""
    lost = [name for name in key if name not in schema]
    if lost:
        raise WorkflowError(
            f"deletes are found by the key, but {lost[0]} is not read", hint="add it to columns, or leave columns out"
        )
    return Stream(changing(schema, key), EdgeKind.UPSERT, key)


def as_changes(rows: pa.Table, schema: Schema, op: Op, tx: str) -> pa.Table:
    """Return rows as changes of one kind and place, in a schema of changes; columns that they lack are null."""
    told, arrow = {OP: op.value, TX: tx}, schema.to_arrow()
    arrays = [
        rows.column(f.name)
        if f.name in rows.column_names and f.name not in RESERVED
        else pa.repeat(pa.scalar(told.get(f.name), f.type), len(rows))
        for f in arrow
    ]
    return pa.Table.from_arrays(arrays, schema=arrow)


def unheeded(resume: Position | None, since: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return where enumeration goes on of a source that finds no deletes, so that it may find them again later."""
    told = {n: {**t, "unknown": True} for n, t in (since or {}).get("compared", {}).items()}
    return {**(resume or {}), **({"compared": told} if told else {})}


def _after(resume: Mapping[str, Any], compared: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {**resume, "compared": {name: dict(told) for name, told in compared.items()}}


def _name(table: str, number: int) -> str:
    return f"{table}#keys{number}"


def _tx(number: int) -> str:
    """Return a place that sorts as windows do; that of a comparison is behind the windows before it."""
    return f"{number:016x}"


__all__ = ["Deleting", "as_changes", "as_stream", "unheeded"]
