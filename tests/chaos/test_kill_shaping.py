"""kill -9 while rows are judged, picked and gathered: what comes out and what is counted is the same."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.conftest import HEAD, Case
from tests.chaos.processes import dataflare, lines
from tests.chaos.trials import Trial, random_kills

if TYPE_CHECKING:
    from pathlib import Path

NODES = """
  judged:
    type: validate
    inputs: [orders]
    config:
      rules:
        number: {check: cast(qty as bigint) > 0}
        once: {columns: note, unique: true, severity: warn}
        plenty: {check: cast(qty as bigint) > 2, severity: warn}
    on_error: {action: dead_letter}
  per_name:
    type: aggregate
    inputs: [judged]
    config:
      group_by: [name]
      aggregations:
        newest: last(id order by id)
        three: min(id, 3)
        ids: approx_count_distinct(id)
        middle: median(cast(qty as bigint))
        all: list(id order by id)
  tenth: {type: sample, inputs: [judged], config: {rate: 10%, by: id}}
  hundred: {type: sample, inputs: [judged], config: {reservoir: 100, by: id}}
  held: {type: throttle, inputs: [judged], config: {rows_per_second: 20000}}
  broad:
    type: pivot
    inputs: [judged]
    config: {group_by: name, column: qty, values: [1, 2, 3], value: {n: count(*), newest: last(id order by id)}}
destinations:
  wide: {type: file, inputs: [broad], config: {path: out/wide, format: jsonl}}
  slow: {type: file, inputs: [held], config: {path: out/slow, format: jsonl}}
  share: {type: file, inputs: [tenth], config: {path: out/share, format: jsonl}}
  few: {type: file, inputs: [hundred], config: {path: out/few, format: jsonl}}
  rows: {type: file, inputs: [judged], config: {path: out/rows, format: jsonl}}
  names: {type: file, inputs: [per_name], config: {path: out/names, format: jsonl}}
  dead: {type: file, inputs: [judged.errors], config: {path: out/dead, format: jsonl}}
"""
WORKFLOW = HEAD.partition("transformations:")[0] + "transformations:" + NODES


def content(folder: Path) -> dict[str, Any]:
    """Return what the run made and counted, in an order of its own."""
    status = dataflare(folder, "status", "kills", "--json").summary
    return {
        "rows": sorted(r["id"] for r in lines(folder / "out" / "rows")),
        "slow": sorted(r["id"] for r in lines(folder / "out" / "slow")),
        "share": sorted(r["id"] for r in lines(folder / "out" / "share")),
        "few": sorted(r["id"] for r in lines(folder / "out" / "few")),
        "wide": sorted(lines(folder / "out" / "wide"), key=lambda r: r["name"]),
        "names": sorted(lines(folder / "out" / "names"), key=lambda r: r["name"]),
        "dead": sorted((r["row"], r["error"]) for r in lines(folder / "out" / "dead")),
        "rules": status["rules"],
        "nodes": {n: {k: v for k, v in kinds.items() if n != "held"} for n, kinds in status["nodes"].items()},
    }


TRIAL = Trial(WORKFLOW, content)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what an undisturbed run makes."""
    found = TRIAL.undisturbed(tmp_path_factory.mktemp("undisturbed"))
    assert len(found["rows"]) == 12_000 - 13
    assert found["rules"]["judged"]["number"] == len(found["dead"]) == 13
    assert found["rules"]["judged"]["once"] == 12_000 - 2
    assert found["rules"]["judged"]["plenty"] > 1000
    assert found["slow"] == found["rows"]
    assert len(found["names"]) == 40
    assert len(found["few"]) == 100
    assert sum(r["1_n"] + r["2_n"] for r in found["wide"]) == found["rules"]["judged"]["plenty"] - 13
    assert 1000 < len(found["share"]) < 1400
    return found


def test_kills_at_random_steps_change_nothing(case: Case, expected: dict[str, Any]) -> None:
    assert TRIAL.changes_nothing(case, random_kills(random.Random(23), 6), 4, expected) >= 1
