"""The first rows: against a slow reading of the rule, whatever the parts, through checkpoints and rescaling."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest

from dataflare.batch import Batch
from dataflare.errors import WorkflowError
from dataflare.executor.partition import partitions
from dataflare.executor.snapshots import gathered_state
from dataflare.processors import top_n
from dataflare.processors.top_n import TopN
from dataflare.schema import Schema
from dataflare.testing.stage import HeldSegments, staged

SCHEMA = Schema.of({"n": "int64", "team": "string", "points": "int64", "note": "string"})


def node(index: int = 0, parallelism: int = 1, segments: HeldSegments | None = None, **config: Any) -> Any:
    component = TopN(TopN.spec.config(**config))
    outputs = component.outputs([SCHEMA])
    kept = {"segments": segments} if segments is not None else {}
    return staged(component, schemas={"0": SCHEMA}, outputs=outputs, index=index, parallelism=parallelism, **kept)


def halves(component: Any) -> tuple[Any, Any]:
    made = component.partial(), component.final()
    for half in made:
        half.context = component.context
        half.open()
    return made


def table(seed: int, count: int = 400) -> pa.Table:
    chance = random.Random(seed)
    rows = [
        {
            "n": n,
            "team": chance.choice([None, "a", "b", "c"]),
            "points": chance.choice([None, *range(15)]),
            "note": "x" * chance.randrange(9),
        }
        for n in range(count)
    ]
    return pa.Table.from_pylist(rows, SCHEMA.to_arrow())


def slowly(rows: list[dict[str, Any]], count: int, per: list[str], ties: str) -> list[dict[str, Any]]:
    """Order by points, the most first, null last."""
    found = []
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[c] for c in per), []).append(row)

    def order(key: tuple[Any, ...]) -> list[tuple[bool, str]]:
        return [(part is None, part or "") for part in key]

    for _, group in sorted(groups.items(), key=lambda item: order(item[0])):
        group.sort(key=lambda r: (r["points"] is None, -(r["points"] or 0)))
        places = [next(m for m, o in enumerate(group) if o["points"] == r["points"]) + 1 for r in group]
        kept = [
            {**r, "place": place} for r, place, at in zip(group, places, range(len(group)), strict=True)
            if (place if ties == "all" else at + 1) <= count
        ]  # fmt: skip
        found += kept
    return found


def rows_of(batches: Any) -> list[dict[str, Any]]:
    return [r for b in batches for r in b.rows.to_pylist()]


@pytest.mark.once
@pytest.mark.parametrize("ties", ["first", "all"])
@pytest.mark.parametrize("per", [[], ["team"], ["team", "note"]])
@pytest.mark.parametrize("count", [1, 3, 1000])
def test_the_rule_holds(monkeypatch: pytest.MonkeyPatch, count: int, per: list[str], ties: str) -> None:
    for seed, merge in enumerate((1, 50, 1 << 18)):
        monkeypatch.setattr(top_n, "MERGE_ROWS", merge)
        rows = table(seed)
        partial, final = halves(node(rows=count, by=["points desc"], per=per, ties=ties, rank="place"))
        for start in range(0, 400, 70):
            assert list(partial.process(Batch(rows.slice(start, 70)))) == []
            if start % 140:
                [list(final.process(b)) for b in partial.flush()]
        [list(final.process(b)) for b in partial.finish()]
        assert rows_of(final.finish()) == slowly(rows.to_pylist(), count, per, ties)
        assert final.top.held.rows == 0


def test_a_task_sends_only_what_may_be_among_the_first() -> None:
    partial, _ = halves(node(rows=2, by=["points desc"], per=["team"]))
    list(partial.process(Batch(table(4))))
    assert len(rows_of(partial.flush())) == 2 * 4
    assert rows_of(partial.flush()) == []


@pytest.mark.parametrize("per", [[], ["team"]])
def test_a_resume_goes_on_with_other_tasks(per: list[str]) -> None:
    rows, config = table(6), {"rows": 3, "by": ["points desc"], "per": per, "rank": "place", "ties": "all"}
    tasks = (3, 2) if per else (1, 1)
    states, segments = [], HeldSegments()
    for index, part in partitions(rows.slice(0, 200), per, tasks[0]):
        _, final = halves(node(index, tasks[0], segments, **config))
        list(final.process(Batch(part)))
        states.append(final.snapshot())
    assert states
    found = []
    for index, part in partitions(rows.slice(200), per, tasks[1]):
        _, final = halves(node(index, tasks[1], segments, **config))
        final.restore(gathered_state(states))
        list(final.process(Batch(part)))
        found += rows_of(final.finish())
    wanted = slowly(rows.to_pylist(), 3, per, "all")
    assert sorted(map(repr, found)) == sorted(map(repr, wanted))


def test_it_runs_whole_too() -> None:
    segments = HeldSegments()
    whole = node(0, 1, segments, rows=2, by=["points"])
    whole.open()
    assert list(whole.process(Batch(table(1)))) == []
    assert list(whole.flush()) == []
    other = node(0, 1, segments, rows=2, by=["points"])
    other.open()
    other.restore(gathered_state([whole.snapshot()]))
    found = rows_of(other.finish())
    assert [r["points"] for r in found] == [0, 0]
    whole.close()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"by": ["point"]}, "by: there is no column 'point'"),
        ({"by": ["n"], "per": ["tea"]}, "per: there is no column 'tea'"),
        ({"by": ["n"], "rank": "Team"}, "rank: there is a column 'Team' already"),
    ],
)
def test_what_it_cannot_do_is_told(config: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkflowError, match=message):
        TopN(TopN.spec.config(rows=1, **config)).outputs([SCHEMA])
