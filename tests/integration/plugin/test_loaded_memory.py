"""A plugin that is called for long, or loaded often, takes no more memory than one that is new."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dataflare import WasmProcessor

CALLS, INSTANCES = 200_000, 2000


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.once
@pytest.mark.timeout(600)
def test_calls_and_instances_leave_no_memory_behind(tmp_path: Path) -> None:
    (tmp_path / "rules.js").write_text("export const process = (r) => ({ ...r, b: [r.a, r.a] });")
    with WasmProcessor.load(tmp_path / "rules.js") as plugin:

        def use(calls: int, instances: int) -> None:
            for n in range(calls):
                assert plugin.process({"a": n}) == {"a": n, "b": [n, n]}
            for _ in range(instances):
                with WasmProcessor.load(tmp_path / "rules.js") as other:
                    other.process({"a": 1})

        use(CALLS // 10, INSTANCES // 10)
        before = resident()
        use(CALLS, INSTANCES)
        assert resident() - before < 4 << 20
