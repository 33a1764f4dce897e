"""kill -9 at the steps of the epoch protocol, with rows that wait for the end of the input."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.conftest import ROWS, Case
from tests.chaos.processes import lines
from tests.chaos.trials import Trial, names, random_kills

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOW = """
id: bounded
runtime:
  parallelism: 2
  checkpoint: {interval: 10ms, timeout: 30s, retain: 3}
sources:
  orders:
    type: file
    config: {path: in.csv, split_bytes: 15kB, columns: {id: int64, name: string, qty: string, note: string}}
  names: {type: file, config: {path: names.csv, columns: {name: string, label: string}}}
transformations:
  sorted: {type: sort, inputs: [orders], config: {by: [name, qty desc, id]}}
  page: {type: limit, inputs: [sorted], config: {rows: 50, offset: 1000}}
  some: {type: limit, inputs: [orders], config: {rows: 5000}}
  top: {type: top_n, inputs: [orders], config: {rows: 3, by: [qty desc, id], per: [name], rank: place}}
  joined: {type: join, inputs: [orders, names], config: {how: full, keys: [name]}}
  unnamed: {type: join, inputs: [orders, names], config: {how: anti, keys: [name]}}
  asked:
    type: sql
    inputs: [orders, names]
    config:
      query: >
        select label, count(*) as orders, sum(o.id) as ids, min(now()) as at
        from orders o join names n using (name) group by label order by label
destinations:
  sorted_rows: {type: file, inputs: [sorted], config: {path: out/sorted, format: jsonl}}
  joined_rows: {type: file, inputs: [joined], config: {path: out/joined, format: jsonl}}
  unnamed_rows: {type: file, inputs: [unnamed], config: {path: out/unnamed, format: jsonl}}
  asked_rows: {type: file, inputs: [asked], config: {path: out/asked, format: jsonl}}
  page_rows: {type: file, inputs: [page], config: {path: out/page, format: jsonl}}
  some_rows: {type: file, inputs: [some], config: {path: out/some, format: jsonl}}
  top_rows: {type: file, inputs: [top], config: {path: out/top, format: jsonl}}
"""
STEPS = [
    ("before", "seal"),
    ("after", "save_states"),
    ("after", "seal"),
    ("after", "_run_incoming"),
    ("after", "made_step"),
    ("before", "finish"),
]


NAMES = [f"n{n},label {n}\n" for n in (*range(30), 7)] + [f"nobody {n},label\n" for n in range(5)]


def content(folder: Path) -> dict[str, Any]:
    """Return what does not depend on which of two tasks was faster."""
    rows = {
        name: lines(folder / "out" / name) for name in ("sorted", "page", "some", "top", "joined", "unnamed", "asked")
    }
    return {
        "sorted": [(r["name"], r["qty"], r["id"], r["note"]) for r in rows["sorted"]],
        "joined": sorted((r["name"], r["id"] or 0, r["label"] or "") for r in rows["joined"]),
        "asked": [(r["label"], r["orders"], int(r["ids"])) for r in rows["asked"]],
        "unnamed": sorted(r["id"] for r in rows["unnamed"]),
        "page": [r["id"] for r in rows["page"]],
        "some": len({r["id"] for r in rows["some"]}),
        "top": sorted((r["name"], r["place"], r["id"]) for r in rows["top"]),
    }


TRIAL = Trial(WORKFLOW, content, {"names.csv": "name,label\n" + "".join(NAMES)})


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what an undisturbed run makes."""
    found = TRIAL.undisturbed(tmp_path_factory.mktemp("calm"))
    order = sorted(found["sorted"], key=lambda r: r[2])
    order.sort(key=lambda r: r[1], reverse=True)
    order.sort(key=lambda r: r[0])
    assert found["sorted"] == order
    assert len({number for _, _, number, _ in order}) == ROWS
    assert found["page"] == [number for _, _, number, _ in order[1000:1050]]
    assert found["some"] == 5000
    without = sum(int(name[1:]) >= 30 for name, _, _, _ in order)
    doubled = sum(name == "n7" for name, _, _, _ in order)
    assert len(found["asked"]) == 30
    assert sum(orders for _, orders, _ in found["asked"]) == len(found["joined"]) - 5 - without
    assert len(found["unnamed"]) == without
    assert len(found["joined"]) == ROWS + doubled + 5
    assert sum(label == "" for _, _, label in found["joined"]) == without
    assert [place for _, place, _ in found["top"]] == [1, 2, 3] * 40
    return found


@pytest.mark.parametrize("step", names(STEPS))
def test_a_kill_at_a_step_changes_nothing(case: Case, expected: dict[str, Any], step: str) -> None:
    TRIAL.killed_at(case, step, expected, calls=(1, 2, 5))


@pytest.mark.parametrize("seed", [5, 6])
def test_random_kills_change_nothing(case: Case, expected: dict[str, Any], seed: int) -> None:
    TRIAL.changes_nothing(case, random_kills(random.Random(seed), 6), seed, expected)
