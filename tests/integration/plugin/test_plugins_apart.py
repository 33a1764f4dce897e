"""Plugins of one process share nothing, also where they are the same file; and what they have used is given back."""

from __future__ import annotations

import gc
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.integration.plugin.conftest import lines_of
from tests.integration.plugin.hostile_modules import hostile
from tests.integration.plugin.test_grants import COMPILE, SDK, probe  # noqa: F401 - a fixture

from dataflare.cli.main import main
from dataflare.plugin.engine import shared_engine
from dataflare.plugin.failures import TrappedError
from dataflare.plugin.grants import GrantedFolder, Grants
from dataflare.plugin.guarded import GuardedInstance
from dataflare.plugin.host import QuietHost
from dataflare.plugin.limits import Limits
from dataflare.plugin.program import Program, Settings

COUNTING = """
globalThis.seen ??= 0;
export const exportState = () => globalThis.seen;
export const importState = (state) => { globalThis.seen = state; };
export function process(row) {
  globalThis.seen++;
  const before = dataflare.getState("all") ?? 0;
  dataflare.setState("all", before + 1);
  Array.prototype.spoilt = (Array.prototype.spoilt ?? 0) + 1;
  return { ...row, name: `${globalThis.seen} ${before + 1} ${[].spoilt}` };
}
"""


def run_two(folder: Path, rows: list[str], one: dict[str, Any], two: dict[str, Any]) -> list[list[str]]:
    """Run a workflow of two nodes beside each other, and return the names that came out of each."""
    lines = [f"{number},{name}" for number, name in enumerate(rows)]
    (folder / "rows.csv").write_text("\n".join(["id,name", *lines, ""]))
    columns = {"id": "int64", "name": "string"}
    made = {
        "id": "apart",
        "sources": {"rows": {"type": "file", "config": {"path": "rows.csv", "columns": columns}}},
        "transformations": {
            name: {"type": "wasm", "inputs": ["rows"], "config": config}
            for name, config in (("one", one), ("two", two))
        },
        "destinations": {
            f"out_{name}": {"type": "file", "inputs": [name], "config": {"path": name, "format": "jsonl"}}
            for name in ("one", "two")
        },
    }
    (folder / "apart.yaml").write_text(yaml.safe_dump(made, sort_keys=False))
    assert main(["run", str(folder / "apart.yaml")]) == 0
    found = [sorted(lines_of(folder / name), key=lambda row: row["id"]) for name in ("one", "two")]
    return [[row["name"] for row in rows] for rows in found]


def test_two_nodes_of_one_script_share_no_state_and_no_globals(tmp_path: Path) -> None:
    (tmp_path / "plugin.js").write_text(COUNTING)
    found = run_two(tmp_path, ["a"] * 5, {"module": "plugin.js"}, {"module": "plugin.js"})
    assert found == [[f"{n} {n} {n}" for n in range(1, 6)]] * 2


@pytest.mark.skipif(shutil.which("clang-19") is None, reason="needs clang-19 and wasi-libc")
def test_two_nodes_of_one_module_share_no_grants(tmp_path: Path, probe: Path) -> None:  # noqa: F811
    shutil.copy(probe, tmp_path / "probe.wasm")
    (tmp_path / "rates").mkdir()
    (tmp_path / "rates" / "a").write_text("1.5")
    grants = {"files": [{"path": "rates", "at": "/rates"}], "env": {"REGION": "eu"}, "clock": True}
    asked = ["read /rates/a", "env REGION"]
    found = run_two(tmp_path, asked, {"module": "probe.wasm", "grants": grants}, {"module": "probe.wasm"})
    assert found == [["1.5", "eu"], ["No such file or directory", "(none)"]]


def used() -> tuple[int, int, int]:
    """Return pages of memory, open files and threads of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages, len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208


def opened(program: Program, grants: Grants) -> GuardedInstance:
    limits = Limits(memory_bytes_max=16 << 20, traps_max=10_000)
    return GuardedInstance(program, Settings(), QuietHost(), limits, grants).open(stateful=False)


def work(program: Program, grants: Grants, calls: int, instances: int, traps: int) -> None:
    """Call, open and stop a plugin, so many times."""
    batch = ("json-lines", 1, '{"name": "a"}')
    instance = opened(program, grants)
    for _ in range(calls):
        instance.call("process-batch", batch)
    for _ in range(traps):
        with pytest.raises(TrappedError):
            instance.call("process-batch", ("json-lines", 1, '{"name": "!"}'))
    instance.close()
    for _ in range(instances):
        opened(program, grants).close()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("name", ["plugin.wasm", "plugin.js"])
@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.soak)])
def test_what_was_used_is_given_back(tmp_path: Path, name: str, times: int) -> None:
    (tmp_path / "plugin.wasm").write_bytes(hostile("unreachable"))
    mark = "if (r.name === '!') dataflare.metric('x'.repeat(1000), 1);"
    (tmp_path / "plugin.js").write_text(f"export const process = (r) => {{ {mark} return r; }};")
    program = Program.load(tmp_path / name, shared_engine(), name)
    grants = Grants((GrantedFolder(str(tmp_path), "/data"),), {"A": "b"}, clock=True)
    work(program, grants, 1_000, 50, 5)
    pages, files, threads = used()
    work(program, grants, 10_000 * times, 100 * times, 10 * times)
    pages_now, files_now, threads_now = used()
    assert (files_now, threads_now) == (files, threads)
    assert (pages_now - pages) * 4096 < 24 << 20
