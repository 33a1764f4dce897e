"""JSON lines that the node behind a source reads itself, through the whole engine: nothing differs but the cost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.chaos.processes import lines, run

from dataflare.component import Registry
from dataflare.workflow import load

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOW = """
id: behind
runtime: {parallelism: 2, state: {type: sqlite, path: state}}
sources:
  events:
    type: file
    config: {path: in/*.jsonl, split_bytes: 64KiB, columns: {id: int64, kind: string, user: "struct<age: string>"}}
    on_error: {action: dead_letter}
transformations:
  kept: {type: filter, inputs: [events], config: {condition: "kind <> 'gone'"}}
  aged:
    type: mapping
    inputs: [kept]
    config: {set: {age: "cast(user.age as int64)"}, drop: [user]}
    on_error: {action: dead_letter}
destinations:
  rows: {type: file, inputs: [aged], config: {path: out, format: jsonl}}
  dead: {type: file, inputs: ["*.errors"], config: {path: dead, format: jsonl}}
"""
ROWS = 6000


def written(folder: Path) -> dict[str, list[int]]:
    """Write lines of each kind into a few files; return the ids by what is to become of them."""
    fates: dict[str, list[int]] = {"out": [], "gone": [], "aged": [], "events": []}
    (folder / "in").mkdir()
    for file in range(3):
        texts = []
        for number in range(file * ROWS, (file + 1) * ROWS):
            worst = file == 2 and number % 97 == 0
            fate = (
                "gone" if number % 3 == 0 else "events" if worst else "aged" if file and number % 2001 == 1 else "out"
            )
            fates[fate].append(number)
            user = {"age": "old" if fate in ("aged", "gone") else str(number % 90)}
            row = {"id": number, "kind": "gone" if fate == "gone" else "here", "user": user}
            texts.append(json.dumps(row)[: -5 if fate == "events" else None])
        (folder / "in" / f"{file}.jsonl").write_text("\n".join(texts) + "\n")
    return fates


def test_every_row_has_the_fate_that_it_would_have_had_decoded(tmp_path: Path) -> None:
    fates = written(tmp_path)
    (tmp_path / "workflow.yaml").write_text(WORKFLOW)
    told = run(tmp_path)
    assert told.code == 0, told.err
    found = lines(tmp_path / "out")
    assert sorted(r["id"] for r in found) == sorted(fates["out"])
    assert all(r["age"] == r["id"] % 90 for r in found)
    dead = lines(tmp_path / "dead")
    by_node = {node: [r for r in dead if r["node"] == node] for node in ("events", "aged")}
    assert sorted(json.loads(r["row"])["id"] for r in by_node["aged"]) == sorted(fates["aged"])
    assert sorted(2 * ROWS + r["line"] - 1 for r in by_node["events"]) == sorted(fates["events"])
    good = 3 * ROWS - len(fates["events"])
    assert told.rows("events") == {"in": 3 * ROWS, "out": good, "dead": len(fates["events"])}
    assert told.rows("kept") == {"in": good, "out": good - len(fates["gone"]), "filtered": len(fates["gone"])}
    assert told.rows("aged") == {"in": good - len(fates["gone"]), "out": len(found), "dead": len(fates["aged"])}


@pytest.mark.parametrize(
    ("change", "behind"),
    [
        (("", ""), True),
        (("inputs: [aged]", "inputs: [aged, events]"), False),
        (("format: jsonl}}\n  dead", "format: jsonl}}\n  raw: {type: stdout, inputs: [events]}\n  dead"), False),
        (("in/*.jsonl", "in/*.csv"), False),
        (("parallelism: 2", "parallelism: 2, ledger: hash"), False),
    ],
)
def test_a_source_hands_bytes_on_where_one_node_reads_them(change: tuple[str, str], behind: bool) -> None:
    plan = load(WORKFLOW.replace(*change), registry=Registry.installed(), environ={}).plan
    assert plan is not None
    assert (plan.node("events").traits.get("unjudged") == "jsonl") is behind
