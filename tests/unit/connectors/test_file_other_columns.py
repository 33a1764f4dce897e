"""Files whose columns change between epochs: each file has columns of its own, and no file has rows of two kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflare.batch import Batch
from dataflare.component import Epoch
from dataflare.connectors.file.destination import FileDestination, FileDestinationConfig
from dataflare.connectors.file.source import FileSource, FileSourceConfig
from dataflare.errors import DataError, UnavailableError
from dataflare.schema import Schema
from dataflare.testing.source_suite import rows_of
from dataflare.testing.stage import batches_of, splits_of, staged

if TYPE_CHECKING:
    from pathlib import Path

FIRST = Schema.of({"id": "int64", "name": "string"})
SECOND = Schema.of({"id": "int64", "name": "string", "note": "string"})
THIRD = Schema.of({"id": "int64", "note": "string"})
ROWS: tuple[tuple[Schema, dict[str, Any]], ...] = (
    (FIRST, {"id": 1, "name": "a"}),
    (SECOND, {"id": 2, "name": "b", "note": "x"}),
    (THIRD, {"id": 3, "note": "y"}),
)


NOTHING = {"id": None, "name": None, "note": None}


def read(folder: Path, path: str) -> list[dict[str, Any]]:
    source = staged(FileSource(FileSourceConfig(path=path)), folder)
    try:
        return list(rows_of(b for s in splits_of(source) for b in batches_of(source, s))[""])
    finally:
        source.close()


def planned(folder: Path, path: str, schema: Schema, attempt: int, **changes: Any) -> FileDestination:
    """Return a destination that is open under a plan."""
    mode = changes.pop("write_mode", "append")
    made = FileDestination(FileDestinationConfig(path=path, **changes))
    found = staged(made, folder, schemas={"0": schema}, attempt=attempt, write_mode=mode)
    found.open()
    return found


def prepared(one: FileDestination, row: dict[str, Any], number: int) -> Any:
    schema = one.context.schemas["0"].to_arrow()
    one.write(Batch(pa.Table.from_pylist([row], schema=schema)))
    return one.prepare(Epoch(number, one.context.attempt))


def epoch(folder: Path, path: str, number: int, *, last: bool = False, **changes: Any) -> None:
    """Write one epoch by the plan of its number."""
    schema, row = ROWS[number - 1]
    one = planned(folder, path, schema, number, **changes)
    one.commit(Epoch(number, number), prepared(one, row, number))
    if last:
        one.finish()
    one.close()


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "avro", "arrow", "json"])
def test_in_a_folder_each_file_has_the_columns_of_its_time(tmp_path: Path, kind: str) -> None:
    for number in (1, 2, 3):
        epoch(tmp_path, "out", number, format=kind)
    files = sorted((tmp_path / "out").glob("part-*"))
    if kind == "parquet":
        found = [pq.read_table(f).to_pylist() for f in files]
        assert found == [[row] for _, row in ROWS]
    elif kind == "csv":
        assert [f.read_text() for f in files] == ["id,name\n1,a\n", "id,name,note\n2,b,x\n", "id,note\n3,y\n"]
    else:
        assert [read(tmp_path, f"out/{f.name}") for f in files] == [[row] for _, row in ROWS]


def test_files_in_partitions_have_the_columns_of_their_time_too(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        epoch(tmp_path, "out", number, format="parquet", partition_by=["id"])
    found = {f.parent.name: pq.ParquetFile(f).read().to_pylist() for f in (tmp_path / "out").rglob("part-*")}
    assert found == {
        "id=1": [{"name": "a"}],
        "id=2": [{"name": "b", "note": "x"}],
        "id=3": [{"note": "y"}],
    }


@pytest.mark.parametrize("path", ["out.csv", "out.parquet", "out.csv.gz"])
def test_a_single_file_that_is_there_is_not_gone_on_with_under_other_columns(tmp_path: Path, path: str) -> None:
    epoch(tmp_path, path, 1, last=True)
    before = (tmp_path / path).read_bytes()
    with pytest.raises(UnavailableError, match=r"out.* has other columns than id, name, note") as caught:
        epoch(tmp_path, path, 2)
    assert "move it away" in caught.value.hint
    assert (tmp_path / path).read_bytes() == before
    (tmp_path / path).rename(tmp_path / "away")
    epoch(tmp_path, path, 2, last=True)
    assert (tmp_path / path).exists()


@pytest.mark.parametrize("header", [True, False])
def test_what_was_staged_under_another_plan_gets_its_own_header_and_nothing_else_behind_it(
    tmp_path: Path, header: bool
) -> None:
    first = planned(tmp_path, "out.csv", FIRST, 1, header=header)
    handles = prepared(first, ROWS[0][1], 1)
    second = planned(tmp_path, "out.csv", SECOND, 2, header=header)  # the first died between seal and commit
    second.commit(Epoch(1, 1), handles)
    told = "id,name\n" if header else ""
    assert (tmp_path / "out.csv").read_text() == f"{told}1,a\n"
    more = prepared(second, ROWS[1][1], 2)
    with pytest.raises(UnavailableError, match=r"columns have changed since .*out\.csv was begun"):
        second.commit(Epoch(2, 2), more)
    assert (tmp_path / "out.csv").read_text() == f"{told}1,a\n"
    (tmp_path / "out.csv").rename(tmp_path / "away.csv")
    second.commit(Epoch(2, 2), more)
    assert (tmp_path / "out.csv").read_text() == f"{'id,name,note' if header else ''}{chr(10) * header}2,b,x\n"


def test_what_is_written_anew_is_not_mixed_either(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("old\n0\n")
    first = planned(tmp_path, "out.csv", FIRST, 1, write_mode="overwrite")
    handles = prepared(first, ROWS[0][1], 1)
    first.commit(Epoch(1, 1), handles)
    second = planned(tmp_path, "out.csv", SECOND, 2, write_mode="overwrite")
    second.commit(Epoch(1, 1), handles)
    with pytest.raises(UnavailableError, match="columns have changed") as caught:
        second.commit(Epoch(2, 2), [*prepared(second, ROWS[1][1], 2), *(h for h in handles if "generation" in h)])
    assert "another runtime.state.path" in caught.value.hint
    assert (tmp_path / "out.csv").read_text() == "old\n0\n"


def gathered(folder: Path, path: str, plans: list[tuple[Schema, dict[str, Any]]]) -> None:
    """Write epochs of one run, each under its plan, into a file that is put together at the end."""
    told: list[Any] = []
    for number, (schema, row) in enumerate(plans, 1):
        one = planned(folder, path, schema, number)
        if told:
            one.commit(Epoch(number - 1, number - 1), told)  # as a resume does
        told = [*prepared(one, row, number)]
        one.commit(Epoch(number, number), told)
        if number == len(plans):
            one.finish()
        one.close()


@pytest.mark.parametrize("kind", ["parquet", "arrow", "avro"])
def test_parts_of_several_plans_make_one_file_that_has_the_columns_of_all(tmp_path: Path, kind: str) -> None:
    gathered(tmp_path, f"out.{kind}", list(ROWS))
    assert read(tmp_path, f"out.{kind}") == [{**NOTHING, **row} for _, row in ROWS]


def test_a_column_that_became_wider_is_so_for_all_rows(tmp_path: Path) -> None:
    narrow, wide = (Schema.of({"id": "int32"}), {"id": 1}), (Schema.of({"id": "int64"}), {"id": 1 << 40})
    gathered(tmp_path, "one.parquet", [narrow, wide])
    assert pq.read_table(tmp_path / "one.parquet").column("id").to_pylist() == [1, 1 << 40]
    gathered(tmp_path, "other.parquet", [wide, narrow])
    assert pq.read_table(tmp_path / "other.parquet").column("id").to_pylist() == [1 << 40, 1]


def test_types_that_do_not_go_together_are_told_and_what_is_there_stays(tmp_path: Path) -> None:
    texts, numbers = Schema.of({"id": "string"}), Schema.of({"id": "int64"})
    with pytest.raises(DataError, match="column 'id' is string in rows that were written first, and int64 later"):
        gathered(tmp_path, "out.parquet", [(texts, {"id": "a"}), (numbers, {"id": 1})])
    assert not (tmp_path / "out.parquet").exists()


def test_no_column_is_lost_in_a_workbook(tmp_path: Path) -> None:
    gathered(tmp_path, "out.xlsx", list(ROWS))
    assert read(tmp_path, "out.xlsx") == [{**NOTHING, **row} for _, row in ROWS]
