"""Arrow searches the disk for a module whenever it guesses the type of a value; many workflows would feel that."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.connectors.generator.settings import ColumnConfig
from dataflare.connectors.generator.values import column

if TYPE_CHECKING:
    import pytest

KINDS: tuple[dict[str, Any], ...] = (
    *({"kind": k} for k in ("sequence", "int", "float", "bool", "string", "uuid", "timestamp")),
    {"kind": "choice", "values": ["a", "b"]},
    {"kind": "choice", "values": [1, 2], "null_rate": 0.5},
)


class Searches:
    """Notes which modules are looked for, and finds none."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        self.names.append(name)


def test_no_type_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    searches = Searches()
    specs = [ColumnConfig.model_validate(kind) for kind in KINDS]
    rows = pa.array(range(10), pa.uint64())
    monkeypatch.delitem(sys.modules, "dateutil", raising=False)
    monkeypatch.setattr(sys, "meta_path", [searches, *sys.meta_path])
    for spec in specs:
        assert len(column(spec, rows, 1)) == 10
    assert "dateutil" not in searches.names
    pa.scalar(5)
    assert "dateutil" in searches.names, "the probe sees nothing"
