"""SQL over all rows of the inputs: the answers, waiting rows on disk, and checkpoints."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from dataflare.batch import Batch
from dataflare.component import Budget
from dataflare.errors import DataError, WorkflowError
from dataflare.executor.snapshots import gathered_state
from dataflare.processors.sql import Sql
from dataflare.schema import Schema
from dataflare.testing.stage import HeldSegments, staged

ORDERS = Schema.of({"id": "int64", "who": "string", "text": "string"})
NAMES = Schema.of({"who": "string", "name": "string"})
ROWS = pa.table({"id": range(900), "who": [f"w{n % 7}" for n in range(900)], "text": ["5", "x", "7"] * 300})
OTHERS = pa.table({"who": [f"w{n}" for n in range(5)], "name": list("abcde")})
JOINED = """
select name, count(*) as orders, max(o.id) as last from orders o join split.names n using (who)
where o.id > (select avg(id) from orders) group by name order by name desc
"""


def node(query: str, segments: HeldSegments | None = None, names: tuple[str, ...] = ("orders", "split.names")) -> Any:
    schemas = {str(n): s for n, s in enumerate((ORDERS, NAMES)[: len(names)])}
    kept = {"segments": segments} if segments is not None else {}
    component = Sql(Sql.spec.config(query=query))
    staged(component, schemas=schemas, inputs=names, budget=Budget(64 << 20), epoch_time=lambda: 7_000_000, **kept)
    component.open()
    return component


def fed(component: Any, start: int = 0, stop: int = 900) -> None:
    for at in range(start, stop, 100):
        assert list(component.process(Batch(ROWS.slice(at, min(100, stop - at)).cast(ORDERS.to_arrow())), 0)) == []
    if start == 0 and len(component.held) > 1:
        assert list(component.process(Batch(OTHERS.cast(NAMES.to_arrow())), 1)) == []


def answer(component: Any) -> list[dict[str, Any]]:
    return [row for batch in component.finish() for row in batch.rows.to_pylist()]


def wanted() -> list[dict[str, Any]]:
    rows = [n for n in range(900) if n > 449.5]
    return [
        {"name": name, "orders": sum(n % 7 == at for n in rows), "last": max(n for n in rows if n % 7 == at)}
        for at, name in reversed(list(enumerate("abcde")))
    ]


@pytest.mark.parametrize("memory", [1000, 64 << 20])
def test_the_answer_is_that_of_sql_over_all_rows(memory: int) -> None:
    component = node(JOINED)
    for held in component.held.values():
        held._memory_bytes_max = held._part_bytes = memory
    fed(component)
    assert (memory > 1000) or component.held["0"].spilled_bytes > 0
    assert answer(component) == wanted()
    assert component.fates() == {"absorbed": 905, "expanded": 5}
    assert not any(h.rows for h in component.held.values())


def test_an_input_may_be_read_more_than_once_at_the_same_time() -> None:
    component = node("select count(*) as n from orders a join orders b on a.id + 1 = b.id", names=("orders",))
    component.held["0"]._memory_bytes_max = component.held["0"]._part_bytes = 1000
    fed(component)
    assert answer(component) == [{"n": 899}]


def test_nothing_is_a_table_too() -> None:
    component = node("select count(*) as n, now() as at from orders", names=("orders",))
    ((found,),) = [[row for b in component.finish() for row in b.rows.to_pylist()]]
    assert (found["n"], found["at"].timestamp()) == (0, 7)


def test_a_resume_holds_the_rows_that_waited() -> None:
    for cut in (0, 333, 900):
        segments = HeldSegments()
        first, second = node(JOINED, segments), node(JOINED, segments)
        fed(first, 0, cut)
        second.restore(gathered_state([first.snapshot()]))
        fed(second, cut, 900) if cut else fed(second)
        if cut == 0:
            assert second.held["1"].rows == 10
            continue
        assert answer(second) == wanted()


def test_a_value_that_fails_fails_the_run_and_is_not_shown() -> None:
    component = node("select sum(cast(text as bigint)) as n from orders", names=("orders",))
    fed(component)
    with pytest.raises(DataError, match="a value fails: the text is not of type INT64"):
        answer(component)


def test_it_is_planned_by_the_names_of_its_inputs() -> None:
    component = staged(Sql(Sql.spec.config(query="select name from split.names")), inputs=("orders", "split.names"))
    assert str(component.outputs([ORDERS, NAMES])[""]) == "name string"
    with pytest.raises(WorkflowError, match="there is no input 'names'"):
        staged(Sql(Sql.spec.config(query="from names")), inputs=("orders",)).outputs([ORDERS])
