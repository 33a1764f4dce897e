"""The Python source keeps the contract of sources, whatever form its rows have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from dataflare.connectors.python.source import PythonSource, PythonSourceConfig
from dataflare.errors import WorkflowError
from dataflare.plan_words import EdgeKind
from dataflare.testing.source_suite import SourceSuite
from dataflare.testing.stage import staged


def records() -> Iterator[dict[str, Any]]:
    """Yield dicts."""
    for n in range(25):
        yield {"id": n, "name": f"row {n}"}


def mixed() -> Iterator[Any]:
    """Yield dicts, lists of dicts and tables."""
    yield {"id": 1, "name": "a"}
    yield {"id": 2, "name": "b"}
    yield pa.table({"id": [3, 4], "name": ["c", None]})
    yield [{"id": 5, "name": "d"}, {"id": 6, "name": "e"}]
    yield pa.record_batch({"id": [7], "name": ["f"]})


def pairs(since: int | None) -> Iterator[tuple[Any, int]]:
    """Yield rows, each with the position after it."""
    for n in range(since or 0, 12, 3):
        yield [{"id": n + i} for i in range(3)], n + 3


def changes() -> Iterator[Any]:
    """Yield changes of rows, as records and as a table that tells less of them."""
    yield {"id": 1, "name": "a", "_op": "insert", "_tx": "1"}
    yield {"id": 1, "_op": "delete", "_tx": "2"}
    yield pa.table({"id": [2], "name": ["b"], "_op": ["read"]})


class _Source(SourceSuite):
    function: ClassVar[Callable[..., Any]]
    settings: ClassVar[dict[str, Any]] = {}

    def new(self, **changes: Any) -> PythonSource:
        kind = type("Source", (PythonSource,), {"functions": {"rows": type(self).__dict__["function"]}})
        return staged(kind(PythonSourceConfig(function="here:rows", batch_rows=4, **self.settings)), **changes)


class TestRecords(_Source):
    function = records


class TestMixedForms(_Source):
    function = mixed


class TestPairs(_Source):
    function = pairs


class TestChanges(_Source):
    function = changes
    settings: ClassVar = {"key": ["id"]}

    def test_the_rows_are_changes_by_key(self) -> None:
        (stream,) = self.new().streams().values()
        assert (stream.kind, stream.key) == (EdgeKind.UPSERT, ("id",))
        assert stream.schema.names == ["id", "name", "_op", "_commit_ts", "_tx"]

    def test_changes_tell_what_happened(self) -> None:
        source = staged(
            PythonSource(PythonSourceConfig(module="x.py", columns={"id": "int64"}, key=["id"])), schemas={}
        )
        with pytest.raises(WorkflowError, match="need the column _op"):
            source.declared()
