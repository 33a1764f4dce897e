"""A worker that dies or hangs costs the row that is to blame, and no process stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflare.batch import Batch
from dataflare.component import StageContext
from dataflare.errors import DataError, WorkflowError
from dataflare.executor.runtime import LocalRuntime
from dataflare.monitoring.events import Event, Noticed
from dataflare.processors.python import Python, PythonConfig
from dataflare.schema import Schema

SCHEMA = Schema.of({"id": "int64", "name": "string"})
Make = Callable[..., Python]


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def make(tmp_path: Path, events: list[Event]) -> Iterator[Make]:
    runtime = LocalRuntime(events.append)
    made: list[Python] = []

    def build(code: str, on_error: str = "dead_letter", **config: Any) -> Python:
        node = Python(PythonConfig(code=code, **config))
        node.context = StageContext(runtime, "w", "n", directory=tmp_path, schemas={"0": SCHEMA}, on_error=on_error)
        made.append(node)
        node.open()
        return node

    yield build
    for node in made:
        node.close()
    runtime.close()


def numbered(count: int, **names: str) -> Batch:
    """Return rows named by their number, or as `names` say (`r3="kill"`)."""
    rows = [{"id": n, "name": names.get(f"r{n}", str(n))} for n in range(count)]
    return Batch.of(rows, schema=SCHEMA.to_arrow())


def split(node: Python, batch: Batch) -> tuple[list[int], dict[int, str]]:
    """Return the ids that came through, and the reasons of those that did not."""
    out = {b.stream: b.rows.to_pylist() for b in node.process(batch)}
    dead = {json.loads(r["row"])["id"]: r["error"] for r in out.get("errors", [])}
    return [r["id"] for r in out[""]], dead


KILLS = {
    "exit": ("os._exit(3)", "worker_died: exit status 3"),
    "sys.exit": ("sys.exit(4)", "worker_died: exit status 4"),
    "kill": ("os.kill(os.getpid(), 9)", "worker_died: SIGKILL"),
    "segfault": ("ctypes.string_at(0)", "worker_died: SIGSEGV"),
    "memory": ("bytearray(1 << 31)", "worker_died: out of memory"),
}
IMPORTS = "import os, sys, ctypes, time\n"


@pytest.mark.parametrize("how", KILLS)
def test_the_row_that_kills_the_worker_is_rejected_and_no_other(make: Make, events: list[Event], how: str) -> None:
    code, reason = KILLS[how]
    node = make(f"{IMPORTS}def process(r):\n    if r['name'] == 'kill':\n        {code}\n    return r\n")
    through, dead = split(node, numbered(1000, r700="kill"))

    assert through == [n for n in range(1000) if n != 700]
    assert dead == {700: reason}
    assert len([e for e in events if isinstance(e, Noticed) and e.code == "python.worker_restarted"]) == 3


def test_a_batch_function_that_dies_is_narrowed_down_by_halves(make: Make) -> None:
    node = make(
        f"{IMPORTS}def process(t):\n    if 'kill' in t['name'].to_pylist():\n        os._exit(5)\n    return t\n",
        mode="batch",
    )
    through, dead = split(node, numbered(16, r5="kill"))
    assert through == [n for n in range(16) if n != 5]
    assert dead == {5: "worker_died: exit status 5"}


def test_columns_that_pass_by_stay_with_their_rows_when_the_batch_is_cut(make: Make) -> None:
    node = make(
        f"{IMPORTS}def process(r):\n    if r['name'] == 'kill':\n        os._exit(1)\n"
        "    return None if r['name'] == 'drop' else r\n",
        columns=["name"],
    )
    out = {b.stream: b.rows for b in node.process(numbered(10, r2="drop", r4="kill", r8="drop"))}
    assert out[""].to_pydict() == {"id": [0, 1, 3, 5, 6, 7, 9], "name": ["0", "1", "3", "5", "6", "7", "9"]}


def test_a_row_that_hangs_is_timed_out(make: Make) -> None:
    node = make("def process(r):\n    while r['name'] == 'hang':\n        pass\n    return r\n", timeout="1s")
    through, dead = split(node, numbered(12, r7="hang"))
    assert through == [n for n in range(12) if n != 7]
    assert dead == {7: "timed_out: no answer within 1 s"}


def test_a_function_that_is_only_slow_loses_no_row(make: Make) -> None:
    node = make(f"{IMPORTS}def process(r):\n    time.sleep(0.1)\n    return r\n", timeout="1s")
    assert split(node, numbered(16)) == (list(range(16)), {})


def test_a_death_that_does_not_come_again_loses_no_row(make: Make, tmp_path: Path) -> None:
    mark = tmp_path / "died"
    node = make(
        f"{IMPORTS}def process(r):\n    if r['id'] == 5 and not os.path.exists({str(mark)!r}):\n"
        f"        open({str(mark)!r}, 'w').close()\n        os._exit(1)\n    return r\n"
    )
    assert split(node, numbered(10)) == (list(range(10)), {})
    assert mark.exists()


def test_a_worker_that_died_between_two_batches_is_replaced(make: Make) -> None:
    node = make("def process(r):\n    return r\n")
    split(node, numbered(3))
    os.killpg(pid_of(node), signal.SIGKILL)
    assert split(node, numbered(3)) == ([0, 1, 2], {})


def test_restarts_are_bounded_in_a_batch(make: Make, events: list[Event]) -> None:
    node = make(f"{IMPORTS}def process(r):\n    os._exit(1)\n")
    with pytest.raises(DataError, match="has lost its process 9 times in one batch"):
        list(node.process(numbered(6)))
    assert len(events) == 8


def test_fail_names_the_row_that_killed_the_worker(make: Make) -> None:
    node = make(f"{IMPORTS}def process(r):\n    if r['id'] == 2:\n        os._exit(1)\n    return r\n", on_error="fail")
    with pytest.raises(DataError, match=r"worker_died: exit status 1 \(row 2 of its batch\)"):
        list(node.process(numbered(4)))


def test_an_import_that_ends_the_process_is_a_workflow_error(make: Make) -> None:
    with pytest.raises(WorkflowError, match="loading the code ends its process: worker_died: exit status 9"):
        make(f"{IMPORTS}os._exit(9)\n")


def test_an_answer_beyond_the_memory_limit_is_refused(make: Make) -> None:
    node = make("def process(r):\n    return r | {'name': 'x' * (80 << 20)}\n", memory="128MiB")
    through, dead = split(node, numbered(1))
    assert through == []
    assert dead == {0: "worker_died: out of memory"}


def test_interrupts_do_not_end_the_worker(make: Make) -> None:
    node = make("def process(r):\n    return r\n")
    before = pid_of(node)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(before, number)
    assert split(node, numbered(2)) == ([0, 1], {})
    assert pid_of(node) == before
    assert os.getsid(before) != os.getsid(0)


def test_closing_leaves_no_process_behind_not_even_those_that_the_code_started(make: Make) -> None:
    node = make(
        "import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "def process(r):\n    return r | {'id': child.pid}\n"
    )
    (out,) = node.process(numbered(1))
    grandchild, child = out.rows["id"][0].as_py(), pid_of(node)
    node.close()

    assert not alive(child)
    assert ends(grandchild)
    node.close()


ENGINE = """
import sys, time
from dataflare.batch import Batch
from dataflare.component import StageContext
from dataflare.executor.runtime import LocalRuntime
from dataflare.processors.python import Python, PythonConfig
from dataflare.schema import Schema

schema = Schema.of({"id": "int64"})
node = Python(PythonConfig(code="def process(r):\\n    while True:\\n        pass\\n"))
node.context = StageContext(LocalRuntime(), "w", "n", schemas={"0": schema})
node.open()
print(node._worker._process.pid, flush=True)
list(node.process(Batch.of([{"id": 1}], schema=schema.to_arrow())))
"""


def test_a_worker_that_is_busy_ends_with_an_engine_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", ENGINE], stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        worker = int(engine.stdout.readline())
        assert alive(worker)
        engine.kill()
    assert ends(worker)


def pid_of(node: Python) -> int:
    assert node._worker is not None
    assert node._worker._process is not None
    return node._worker._process.pid


def alive(pid: int) -> bool:
    """Tell whether there is such a process that is not merely waiting for its parent to look."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def ends(pid: int) -> bool:
    """Tell whether a process that was killed, but is nobody's child here, ends."""
    for _ in range(3000):
        if not alive(pid):
            return True
        time.sleep(0.01)
    return False
