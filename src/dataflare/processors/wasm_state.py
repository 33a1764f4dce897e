"""State that plugins keep by key: in memory, and in the checkpoint as a log of what has changed.

A key is the JSON list of the values of the key columns. Rows come to the task that has the key group of their key, so
the state of a key is there, too, however many tasks there are.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.component.processor import SEGMENTED
from dataflare.errors import DataError, StateError, WorkflowError
from dataflare.processors.columns import known
from dataflare.processors.held import HeldRows, held_name, told_by
from dataflare.processors.wasm_texts import LINES
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dataflare.component import StageContext
    from dataflare.processors.wasm_texts import Texts

_KEY, _VALUE, _LOG = "__key", "__value", "log"
_LOG_SHARE = 8
"""The part of its memory that a task may fill with the log; the rest of that is in a file."""
_ENTRY_BYTES = 100
"""What a key takes beside its texts."""
OTHERS_MAX = 1 << 12
MERGE_ROWS = 1 << 18
_NO_KEYS = ("float", "list", "struct", "map", "json", "binary")
"""Types of which no state is kept: floats, whose texts are not exact, and values with parts."""


def check_key(given: Schema, key: Sequence[str], seen: Sequence[str]) -> None:
    """Raise WorkflowError for columns by which a plugin, which sees some of those given, cannot keep state."""
    known(key, given.names, "key")
    for name in key:
        if name not in seen:
            raise WorkflowError(f"key: the plugin is not given {name!r}", hint="name it under `columns`, too")
        if given[name].type.startswith(_NO_KEYS):
            raise WorkflowError(
                f"key: {name!r} is {given[name].type}, by which no state is kept", hint="cast it to text before"
            )


def check_restored(state: Mapping[int, bytes], *, keyed: bool) -> None:
    """Raise StateError for a state that a node with other settings has left."""
    free = any(json.loads(data)["keys"] for group, data in state.items() if group != SEGMENTED)
    if (free and keyed) or (SEGMENTED in state and not keyed):
        raise StateError(
            "the checkpoint holds state by key of a node that had another `key`",
            hint="let the node be as it was, or start anew with another runtime.state.path",
        )


class KeyedState:
    """The state of the keys of one task. `texts` writes keys as the plugin is given them; it closes it.

    Takes more than `memory_bytes_max` never: what a plugin sets beyond it ends the run.
    """

    def __init__(self, schema: Schema, memory_bytes_max: int, texts: Texts, context: StageContext) -> None:
        """`schema` are the key columns."""
        self._schema = Schema(tuple(replace(c, nullable=True) for c in schema))
        self._memory_bytes_max, self._texts, self._context = memory_bytes_max, texts, context
        self._names = [held_name(c.name) for c in schema]
        typed = [f.with_name(n) for f, n in zip(self._schema.to_arrow(), self._names, strict=True)]
        self._logged = pa.schema([*typed, pa.field(_KEY, pa.string()), pa.field(_VALUE, pa.large_string())])
        self._log = HeldRows(self._logged, context.budget.memory_bytes_max // _LOG_SHARE, context, self._names)
        self._values: dict[str, str] = {}
        self._set: dict[str, str | None] = {}
        self._changed: set[str] = set()
        self._rows: pa.Table | None = None
        self._here: set[str] = set()
        self._others: set[str] = set()
        self._bytes = self._set_bytes = 0
        self._is_full = False

    # ---- what a plugin asks -------------------------------------------------------------------------------------

    def rows(self, rows: pa.Table) -> None:
        """Learn which rows the plugin is called with next: their keys are known to be of this task."""
        self._rows = rows

    def get(self, key: str) -> str | None:
        """Return the state of a key; raise ValueError for one that is not of this task."""
        key = self._own(key)
        return self._set[key] if key in self._set else self._values.get(key)

    def set(self, key: str, value: str | None) -> None:
        """Keep the state of a key, for as long as the call lasts; raise ValueError where it may not."""
        key = self._own(key)
        self._set_bytes += _size(key, value)
        if self._bytes + self._set_bytes > 2 * self._memory_bytes_max:  # one call, that may set a key again and again
            self._is_full = True
            raise ValueError("the state by key takes more memory than it may")
        self._set[key] = value

    def settle(self, *, kept: bool) -> None:
        """Keep what the call set, or not; raise DataError where it is more than the memory that there is for it."""
        changed, self._set, self._set_bytes = self._set, {}, 0
        if kept:
            self._changed.update(changed)
            for key, value in changed.items():
                self._keep(key, value)
            self._check()
        if self._is_full:
            self._is_full = False
            raise self._too_much()

    def _check(self) -> None:
        if self._bytes > self._memory_bytes_max:
            raise self._too_much()

    def _too_much(self) -> DataError:
        return DataError(
            f"the state of {len(self._values):,} keys takes more than {self._memory_bytes_max / 1e6:,.0f} MB",
            hint="raise `memory` of the node, run it in more tasks, or let the plugin forget keys that are over",
        ).in_node(self._context.node)

    def _own(self, key: str) -> str:
        """Return a key as it is kept."""
        if self._rows is not None:
            self._here, self._rows = set(self._keys_of(self._rows)), None
        if key in self._here or key in self._values:
            return key
        found = _canonical(key)
        if found not in self._here and found not in self._values and found not in self._others:
            self._look(found)
            self._others = {found} if len(self._others) >= OTHERS_MAX else self._others | {found}
        return found

    def _look(self, key: str) -> None:
        """Raise ValueError for a key that is none, or that rows of another task have."""
        import pyarrow.compute as pc

        from dataflare.expression.keys import key_groups

        typed = self._typed([key])
        if typed is None or self._keys_of(typed) != [key]:
            names = ", ".join(f"{c.name} {c.type}" for c in self._schema)
            raise ValueError(f"the key is no list of {names}")
        groups, own = key_groups(typed, self._schema.names), self._context.key_groups
        if not pc.is_in(groups, pa.array(own, pa.int32()))[0].as_py():
            raise ValueError("the key is of no row of this task: a plugin has the state of the rows that it is given")

    # ---- the checkpoint -----------------------------------------------------------------------------------------

    def state(self) -> dict[int, bytes]:
        """Return what has changed, in segments, of which most are written already."""
        if self._changed:
            self._add(sorted(self._changed))
            self._changed.clear()
        if self._log.rows > MERGE_ROWS + 2 * len(self._values):
            self._log.close()
            keys = list(self._values)
            for at in range(0, len(keys), MERGE_ROWS):
                self._add(keys[at : at + MERGE_ROWS])
        return {SEGMENTED: json.dumps({_LOG: self._log.told()}).encode()} if self._log.rows else {}

    def segments(self) -> Sequence[str]:
        """Return the names of the segments that the state refers to."""
        return self._log.segments()

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take it back, perhaps of several; raise DataError where it is more than there is memory for."""
        for told in told_by(state):
            if told.keys() != {_LOG}:
                raise StateError("the checkpoint holds no state by key", hint="let the node be as it was")
            self._log.restore(told[_LOG])
        for rows in self._log.all():
            for key, value in zip(rows.column(_KEY).to_pylist(), rows.column(_VALUE).to_pylist(), strict=True):
                self._keep(key, value)
        self._check()

    def close(self) -> None:
        """Forget everything."""
        self._log.close()
        self._values, self._bytes = {}, 0

    def _keep(self, key: str, value: str | None) -> None:
        before = self._values.pop(key, None)
        if before is not None:
            self._bytes -= _size(key, before)
        if value is not None:
            self._values[key] = value
            self._bytes += _size(key, value)

    def _add(self, keys: Sequence[str]) -> None:
        typed = self._typed(keys)
        assert typed is not None, "each key was one"
        values = pa.array([self._values.get(k) for k in keys], pa.large_string())
        self._log.add(pa.Table.from_arrays([*typed.columns, pa.array(keys), values], schema=self._logged))

    # ---- keys as texts ------------------------------------------------------------------------------------------

    def _keys_of(self, rows: pa.Table) -> list[str]:
        """Return the key of each row."""
        text = self._texts.written(rows.select(self._schema.names), LINES)
        return [_told(record.values()) for record in _decoded(f"[{text.replace(chr(10), ',')}]")]

    def _typed(self, keys: Sequence[str]) -> pa.Table | None:
        """Return keys as rows; None where one of them is no key of these columns."""
        lists = [_decoded(key) for key in keys]
        if any(not isinstance(values, list) or len(values) != len(self._names) for values in lists):
            return None
        names = self._schema.names
        lines = "\n".join(_json(dict(zip(names, values, strict=True))) for values in lists)
        found, unfit = self._texts.read(lines, LINES, self._schema)
        return None if unfit else found


def _size(key: str, value: str | None) -> int:
    return sys.getsizeof(key) + sys.getsizeof(value) + _ENTRY_BYTES


def _decoded(text: str) -> Any:
    """Return JSON, fractions exactly; raise ValueError."""
    import msgspec

    try:
        return msgspec.json.Decoder(float_hook=Decimal).decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"the key is no JSON: {error}") from None


def _canonical(key: str) -> str:
    """Return the one text of a key, however it was written."""
    found = _decoded(key)
    if not isinstance(found, list):
        raise ValueError("the key is no list of values")  # noqa: TRY004 - what the plugin gave, no type of ours
    return _told(found)


def _told(values: Iterable[Any]) -> str:
    return f"[{','.join(_json(value) for value in values)}]"


def _json(value: Any) -> str:
    if isinstance(value, Decimal):
        return str(int(value)) if value == value.to_integral_value() else f"{value.normalize():f}"
    if isinstance(value, dict):
        return f"{{{','.join(f'{json.dumps(n)}:{_json(v)}' for n, v in value.items())}}}"
    return json.dumps(value, ensure_ascii=False)


__all__ = ["KeyedState", "check_key", "check_restored"]
