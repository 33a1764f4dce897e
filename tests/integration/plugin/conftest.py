"""Plugins in workflows that run as users run them, beside a second plugin that must not notice anything."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dataflare.cli.main import main

MARK = "!"
"""Stands in the rows on which a hostile plugin does what it is there for."""
WITNESS = "export const process = (r) => ({ ...r, name: r.name + ' seen by ' + typeof Array.prototype.flat });"


@dataclass(frozen=True)
class Ran:
    """What came of a run: its exit code, the rows of the outputs, those put aside, and all that was printed."""

    code: int
    good: list[dict[str, Any]]
    bad: list[dict[str, Any]]
    witnessed: list[dict[str, Any]]
    said: str

    @property
    def ids(self) -> list[int]:
        """Return the ids of the rows that arrived."""
        return [row["id"] for row in self.good]

    @property
    def reasons(self) -> dict[int, str]:
        """Return why rows were put aside, by their ids."""
        return {json.loads(row["row"])["id"]: row["error"] for row in self.bad}


Run = Callable[..., Ran]


def lines_of(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def workflow(module: str, config: Mapping[str, Any], action: str) -> dict[str, Any]:
    """Return a workflow of one source, the plugin, and the witness."""
    columns = {"id": "int64", "name": "string"}
    out = {"type": "file", "config": {"format": "jsonl"}}
    errors = {"bad": {**out, "inputs": ["tried.errors"], "config": {"path": "bad", "format": "jsonl"}}}
    return {
        "id": "hostile",
        "secrets": {"vault": {"type": "env", "prefix": "HOSTILE_"}},
        "sources": {"rows": {"type": "file", "config": {"path": "rows.csv", "columns": columns}}},
        "transformations": {
            "tried": {
                "type": "wasm",
                "inputs": ["rows"],
                "config": {"module": module, "timeout": "300ms", "memory": "16MB", **config},
                "on_error": {"action": action},
            },
            "witness": {"type": "wasm", "inputs": ["rows"], "config": {"module": "witness.js"}},
        },
        "destinations": {
            "good": {**out, "inputs": ["tried"], "config": {"path": "good", "format": "jsonl"}},
            "seen": {**out, "inputs": ["witness"], "config": {"path": "seen", "format": "jsonl"}},
            **(errors if action == "dead_letter" else {}),
        },
        "runtime": {"restart": {"strategy": "none"}},
    }


@pytest.fixture
def ran(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs a plugin over rows by their names."""

    def run(
        code: str | bytes | Path,
        names: Sequence[str] = ("a", f"b{MARK}", "c"),
        *,
        action: str = "dead_letter",
        verb: Sequence[str] = ("run",),
        **config: Any,
    ) -> Ran:
        module = "plugin.js" if isinstance(code, str) else "plugin.wasm"
        data = code.encode() if isinstance(code, str) else code if isinstance(code, bytes) else code.read_bytes()
        (tmp_path / module).write_bytes(data)
        (tmp_path / "witness.js").write_text(WITNESS)
        with (tmp_path / "rows.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("id", "name"), *enumerate(names)])
        made = workflow(module, config, action)
        (tmp_path / "hostile.yaml").write_text(yaml.safe_dump(made, sort_keys=False))
        code_ = main([verb[0], str(tmp_path / "hostile.yaml"), *verb[1:]])
        printed = capsys.readouterr()
        found = [lines_of(tmp_path / name) for name in ("good", "bad", "seen")]
        return Ran(code_, *found, printed.out + printed.err)  # type: ignore[arg-type]

    return run
