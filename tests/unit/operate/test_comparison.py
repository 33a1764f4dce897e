"""Two sets of rows are compared as a dictionary of their keys would be."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare.errors import DataError, WorkflowError
from dataflare.operate.verifying.comparison import SIDES, SOURCE, WRITTEN, Comparison
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = Schema.of({"id": "int64", "name": "string", "doc": "json"})
Rows = list[dict[str, Any]]
ROW = st.fixed_dictionaries(
    {
        "id": st.none() | st.integers(0, 6),
        "name": st.none() | st.sampled_from(["", "a", "b"]),
        "doc": st.none() | st.sampled_from(['{"a": 1, "b": 2}', '{"b":2,"a":1}', "[1]", "no json"]),
    }
)
MEANING = {'{"b":2,"a":1}': '{"a": 1, "b": 2}'}


def taken(comparison: Comparison, sides: dict[str, Rows], size: int = 3) -> None:
    for side, rows in sides.items():
        for start in range(0, len(rows), size):
            comparison.take(side, pa.Table.from_pylist(rows[start : start + size], SCHEMA.to_arrow()))


def meant(row: dict[str, Any]) -> tuple[Any, ...]:
    return (row["id"], row["name"], MEANING.get(row["doc"], row["doc"]))


def model_by_key(sides: dict[str, Rows]) -> dict[str, int]:
    by_key: dict[Any, dict[str, Counter[Any]]] = defaultdict(lambda: {side: Counter() for side in SIDES})
    for side, rows in sides.items():
        for row in rows:
            by_key[row["id"]][side][meant(row)] += 1
    kinds: Counter[str] = Counter()
    for found in by_key.values():
        source, written = found[SOURCE], found[WRITTEN]
        if source == written:
            continue
        if not written:
            kinds["missing"] += 1
        elif not source:
            kinds["surplus"] += 1
        else:
            kinds["different" if source.total() == written.total() else "repeated"] += 1
    return dict(kinds)


def model_of_rows(sides: dict[str, Rows]) -> dict[str, int]:
    source, written = (Counter(map(meant, sides[side])) for side in SIDES)
    found = {"missing": (source - written).total(), "surplus": (written - source).total()}
    return {kind: count for kind, count in found.items() if count}


@settings(deadline=None, max_examples=25)
@given(st.lists(ROW, max_size=12), st.lists(ROW, max_size=12), st.booleans())
def test_what_differs_is_what_a_model_says(source: Rows, written: Rows, keyed: bool) -> None:
    sides = {SOURCE: source, WRITTEN: written}
    with TemporaryDirectory() as folder:
        comparison = Comparison(SCHEMA, ["id"] if keyed else [], Path(folder), 1 << 27)
        taken(comparison, sides)
        expected = model_by_key(sides) if keyed else model_of_rows(sides)
        assert comparison.counts() == expected
        sums = [comparison.side(side) for side in SIDES]
        assert [s.rows for s in sums] == [len(source), len(written)]
        assert (sums[0] == sums[1]) == (not model_of_rows(sides))
        comparison.look_again()
        taken(comparison, sides)
        assert comparison.settle() == 0
        assert comparison.differences() == expected
        comparison.close()


@pytest.fixture
def comparison(tmp_path: Path) -> Iterator[Comparison]:
    made = Comparison(SCHEMA, ["id"], tmp_path, 1 << 27)
    yield made
    made.close()


def rows(*pairs: tuple[int, str]) -> Rows:
    return [{"id": n, "name": name, "doc": None} for n, name in pairs]


def test_differences_are_named_with_their_columns(comparison: Comparison) -> None:
    sides = {SOURCE: rows((1, "a"), (2, "b"), (3, "c")), WRITTEN: rows((1, "a"), (2, "x"), (4, "d"))}
    taken(comparison, sides)
    assert comparison.counts() == {"different": 1, "missing": 1, "surplus": 1}
    comparison.look_again()
    taken(comparison, sides)
    comparison.settle()
    told = [(e.kind, e.key, e.columns) for e in comparison.examples(10)]
    assert told == [("different", {"id": 2}, ("name",)), ("missing", {"id": 3}, ()), ("surplus", {"id": 4}, ())]
    assert len(comparison.examples(2)) == 2


def test_what_arrives_until_another_look_is_settled_and_what_comes_new_is_not_looked_at(comparison: Comparison) -> None:
    taken(comparison, {SOURCE: rows((1, "a"), (2, "b"), (3, "c")), WRITTEN: rows((1, "a"))})
    assert comparison.counts() == {"missing": 2}
    comparison.look_again()
    later = rows((1, "a"), (2, "b"), (3, "c"), (4, "d"))
    taken(comparison, {SOURCE: later, WRITTEN: rows((1, "z"), (2, "b"))})
    assert comparison.settle() == 1
    assert comparison.differences() == {"missing": 1}
    comparison.look_again()
    taken(comparison, {SOURCE: later, WRITTEN: later})
    assert comparison.settle() == 1
    assert comparison.differences() == {}


def test_a_condition_and_a_sample_leave_out_the_same_on_both_sides(tmp_path: Path) -> None:
    both = rows(*((n, str(n)) for n in range(5000)))
    for number, (where, share, least, most) in enumerate((("id < 100", 1.0, 100, 100), ("", 0.1, 400, 600))):
        folder = tmp_path / str(number)
        folder.mkdir()
        comparison = Comparison(SCHEMA, ["id"], folder, 1 << 27)
        comparison.narrow(where, None, share)
        taken(comparison, {SOURCE: both, WRITTEN: list(reversed(both))}, size=1000)
        assert comparison.counts() == {}
        assert least <= comparison.side(SOURCE).rows <= most
        comparison.close()


def test_wrong_words_are_told(comparison: Comparison, tmp_path: Path) -> None:
    with pytest.raises(WorkflowError, match="cannot be used"):
        comparison.narrow("nope > 1", None, 1.0)
    with pytest.raises(WorkflowError, match="cannot be used"):
        comparison.narrow("(select count(*) from read_csv('/etc/passwd')) > 0", None, 1.0)
    with pytest.raises(DataError, match="not those of the plan"):
        comparison.take(SOURCE, pa.table({"id": ["x"], "name": ["a"], "doc": ["1"]}))
    folder = tmp_path / "other"
    folder.mkdir()
    with pytest.raises(WorkflowError, match="no column nope"):
        Comparison(SCHEMA, ["nope"], folder, 1 << 27)
