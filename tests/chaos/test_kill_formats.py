"""kill -9 while files of columns, documents and workbooks are read and written: nothing is lost or comes twice."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import fastavro
import pyarrow as pa
import pytest
import python_calamine

from tests.chaos.conftest import HEAD, STEPS, Case
from tests.chaos.trials import Trial, names

if TYPE_CHECKING:
    from pathlib import Path

WRITTEN = """
  arrow: {type: file, inputs: [big], config: {path: out/arrow, format: arrow, file_rows_max: 700}}
  one: {type: file, inputs: [per_name], config: {path: out/one.feather}}
  avro: {type: file, inputs: [big], config: {path: out/big.avro}}
  array: {type: file, inputs: [big], config: {path: out/big.json.gz, format: json_array}}
  sheet: {type: file, inputs: [per_name], config: {path: out/names.xlsx}}
  dead: {type: file, inputs: ["*.errors"], config: {path: out/dead, format: json_array}}
"""
READ = """
id: reads
runtime:
  parallelism: 2
  checkpoint: {interval: 10ms, timeout: 30s, retain: 3}
sources:
  arrow: {type: file, config: {path: in.arrow, split_bytes: 15kB}}
  avro: {type: file, config: {path: in.avro, split_bytes: 15kB}}
  document: {type: file, config: {path: in.json, records: data.rows, split_bytes: 60kB}}
  sheet: {type: file, config: {path: in.xlsx, split_bytes: 20kB}}
destinations:
  arrow_out: {type: file, inputs: [arrow], config: {path: out/arrow, format: jsonl}}
  avro_out: {type: file, inputs: [avro], config: {path: out/avro, format: jsonl}}
  document_out: {type: file, inputs: [document], config: {path: out/document, format: jsonl}}
  sheet_out: {type: file, inputs: [sheet], config: {path: out/sheet, format: jsonl}}
"""
KILLED = [s for s in STEPS if s[1] in ("prepare", "commit", "finish", "mark_committed")]
ROWS = [{"id": n, "name": f"name {n % 40}"} for n in range(6000)]


def arrow_rows(path: Path) -> list[Any]:
    with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
        return [tuple(r.values()) for r in reader.read_all().to_pylist()]


def written(folder: Path) -> dict[str, list[Any]]:
    """Return what the run wrote, in an order of its own."""
    import gzip

    out = folder / "out"
    with (out / "big.avro").open("rb") as file:
        avro = [tuple(r.values()) for r in fastavro.reader(file)]
    array = json.loads(gzip.decompress((out / "big.json.gz").read_bytes()))
    sheet = python_calamine.CalamineWorkbook.from_path(out / "names.xlsx").get_sheet_by_index(0).to_python()
    parts = [r for f in sorted((out / "arrow").glob("part-*")) for r in arrow_rows(f)]
    dead = [r for f in sorted((out / "dead").glob("part-*")) for r in json.loads(f.read_text())]
    return {
        "arrow": sorted(parts),
        "one": sorted(arrow_rows(out / "one.feather")),
        "avro": sorted(avro),
        "array": sorted(tuple(r.values()) for r in array),
        "sheet": sorted(tuple(r) for r in sheet[1:]),
        "dead": sorted(r["row"] for r in dead),
    }


TRIAL = Trial(HEAD + WRITTEN, written)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Return what an undisturbed run writes."""
    found = TRIAL.undisturbed(tmp_path_factory.mktemp("undisturbed"))
    assert len(found["arrow"]) > 9000
    assert found["arrow"] == found["avro"] == found["array"]
    assert len(found["sheet"]) == len(found["one"]) == 40
    assert len(found["dead"]) == 13
    return found


@pytest.mark.parametrize("step", names(KILLED))
def test_what_is_written_is_whole_after_a_kill(case: Case, expected: dict[str, list[Any]], step: str) -> None:
    TRIAL.killed_at(case, step, expected)


def inputs(folder: Path) -> None:
    """Write the same rows in every format that is read."""
    import xlsxwriter

    table = pa.Table.from_pylist(ROWS)
    with pa.ipc.new_file(str(folder / "in.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=300)
    fields = [{"name": "id", "type": "long"}, {"name": "name", "type": "string"}]
    with (folder / "in.avro").open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "row", "fields": fields}, ROWS, sync_interval=4000)
    (folder / "in.json").write_text(json.dumps({"before": {"rows": [1, 2]}, "data": {"rows": ROWS}}))
    book = xlsxwriter.Workbook(folder / "in.xlsx")
    sheet = book.add_worksheet()
    for number, row in enumerate([["id", "name"], *(list(r.values()) for r in ROWS)]):
        sheet.write_row(number, 0, row)
    book.close()


def test_what_is_read_is_all_there_once_after_kills_at_random_steps(case: Case) -> None:
    inputs(case.folder)
    case.file.write_text(READ)
    rng = random.Random(23)
    steps = [("before", "seal"), ("after", "seal"), ("before", "commit"), ("after", "mark_committed")]
    killed = case.run_through([f"{when}:{step}:{rng.randint(1, 3)}" for when, step in rng.choices(steps, k=8)], seed=9)

    assert killed >= 2
    for name in ("arrow", "avro", "document", "sheet"):
        files = sorted((case.folder / "out" / name).glob("part-*"))
        rows = [json.loads(line) for f in files for line in f.read_text().splitlines()]
        assert sorted(rows, key=lambda r: r["id"]) == ROWS, name
