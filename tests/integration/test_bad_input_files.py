"""Files that are empty, gone, torn, closed to us, or change between two runs, through the whole engine."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.chaos.conftest import Case
from tests.chaos.processes import COMMAND, Ended, lines, run

from dataflare.cli.running import RunOptions, run_plan
from dataflare.cli.surroundings import plan_of
from dataflare.component import Registry
from dataflare.errors import DataError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WORKFLOW = """
id: files
runtime: {{checkpoint: {{interval: 20ms}}, state: {{type: sqlite, path: state}}}}
sources:
  orders:
    type: file
    mode: {mode}
    config: {{path: "{path}", {settings}}}
    on_error: {{action: {action}}}
destinations:
  rows: {{type: file, inputs: [orders], config: {{path: out, format: jsonl}}}}
"""
DEAD = """  dead: {type: file, inputs: ["*.errors"], config: {path: dead, format: jsonl}}
"""
COLUMNS = "columns: {id: int64, name: string}"
POLICIES = ["fail", "skip", "dead_letter"]


def workflow(folder: Path, path: str, action: str = "fail", *, settings: str = COLUMNS, mode: str = "full") -> Path:
    text = WORKFLOW.format(path=path, settings=settings, action=action, mode=mode)
    (folder / "workflow.yaml").write_text(text + (DEAD if action == "dead_letter" else ""))
    return folder / "workflow.yaml"


def ids(folder: Path) -> list[int]:
    return [r["id"] for r in lines(folder / "out")]


def broken(told: Ended, file: str, word: str, cure: str) -> None:
    """Assert that a file was named as what its data is not, with the reason and the cure."""
    assert (told.code, told.error["code"], told.error["file"], told.error["path"]) == (
        1,
        "data.invalid",
        file,
        "orders",
    )
    assert word in told.error["message"]
    assert cure in told.error["hint"]


@pytest.mark.parametrize("content", ["", "id,name\n", "\n", "\ufeff"])
def test_an_empty_file_has_no_rows(tmp_path: Path, content: str) -> None:
    (tmp_path / "in.csv").write_text(content)
    workflow(tmp_path, "in.csv", "dead_letter")
    told = run(tmp_path)
    assert (told.code, told.err) == (0, "")
    assert told.rows("orders") == {}


def test_an_empty_file_without_declared_columns_says_what_to_declare(tmp_path: Path) -> None:
    (tmp_path / "in.csv").touch()
    workflow(tmp_path, "in.csv", settings="format: csv")
    told = run(tmp_path)
    assert told.code == 2
    assert "holds no header" in told.error["message"]
    assert "columns: {id: int64" in told.error["hint"]
    assert (told.error["file"], told.error["line"]) == ("workflow.yaml", 8)


@pytest.mark.parametrize("action", POLICIES)
@pytest.mark.parametrize("path", ["in.csv", "in/*.csv", "no/such/folder/in.csv"])
def test_a_missing_file_is_the_surroundings_fault_whatever_the_policy(tmp_path: Path, path: str, action: str) -> None:
    workflow(tmp_path, path, action)
    told = run(tmp_path)
    assert (told.code, told.error["code"], told.error["path"]) == (3, "environment", "orders")
    assert path in told.error["message"]
    assert "allow_empty: true" in told.error["hint"]


def test_a_missing_file_that_may_be_missing_is_no_error(tmp_path: Path) -> None:
    workflow(tmp_path, "in/*.csv", settings=f"allow_empty: true, {COLUMNS}")
    assert run(tmp_path).code == 0


# ---- torn files --------------------------------------------------------------------------------------------------


def packed(rows: int = 20_000) -> bytes:
    return gzip.compress(b"id,name\n" + b"".join(b"%d,a%d\n" % (n, n * 7919 % 1000) for n in range(rows)))


@pytest.mark.parametrize("action", POLICIES)
def test_a_gzip_file_that_is_cut_off_is_named_and_the_whole_one_is_read_once(tmp_path: Path, action: str) -> None:
    (tmp_path / "in.csv.gz").write_bytes(packed()[:-3000])
    workflow(tmp_path, "in.csv.gz", action, settings=f"split_bytes: 20kB, {COLUMNS}")
    broken(run(tmp_path), "in.csv.gz", "cut off", "copied in part")

    (tmp_path / "in.csv.gz").write_bytes(packed())
    assert run(tmp_path).code == 0
    assert ids(tmp_path) == list(range(20_000))


def test_a_gzip_file_with_a_flipped_bit_is_named(tmp_path: Path) -> None:
    content = bytearray(packed())
    content[len(content) // 2] ^= 0x40
    (tmp_path / "in.csv.gz").write_bytes(content)
    workflow(tmp_path, "in.csv.gz", "skip")
    told = run(tmp_path)
    assert (told.code, told.error["file"]) == (1, "in.csv.gz")


def test_text_that_is_called_gzip_is_named(tmp_path: Path) -> None:
    (tmp_path / "in.csv.gz").write_bytes(b"id,name\n1,a\n")
    workflow(tmp_path, "in.csv.gz", "dead_letter")
    broken(run(tmp_path), "in.csv.gz", "not a sound gzip file", "gzip -t")


def parquet(file: Path, first: int = 0, rows: int = 2000) -> None:
    table = pa.table({"id": range(first, first + rows), "name": [f"name {n}" for n in range(first, first + rows)]})
    pq.write_table(table, file, row_group_size=100)


@pytest.mark.parametrize("action", POLICIES)
@pytest.mark.parametrize("damage", ["cut", "footer flipped", "empty", "text", "length flipped"])
def test_a_parquet_file_with_a_torn_footer_is_named(tmp_path: Path, damage: str, action: str) -> None:
    parquet(tmp_path / "in.parquet")
    whole = (tmp_path / "in.parquet").read_bytes()
    torn = {
        "cut": whole[:-100],
        "footer flipped": whole[:-400] + bytes(b ^ 0xFF for b in whole[-400:-300]) + whole[-300:],
        "empty": b"",
        "text": b"id,name\n1,a\n",
        "length flipped": whole[:-8] + b"\xff\xff\xff\x7f" + whole[-4:],
    }
    (tmp_path / "in.parquet").write_bytes(torn[damage])
    workflow(tmp_path, "in.parquet", action)
    broken(run(tmp_path), "in.parquet", "not a Parquet file", "still being written")


def test_a_parquet_file_with_a_damaged_row_group_is_named_and_what_came_before_is_not_read_twice(
    tmp_path: Path,
) -> None:
    parquet(tmp_path / "in.parquet")
    whole = (tmp_path / "in.parquet").read_bytes()
    at = pq.read_metadata(tmp_path / "in.parquet").row_group(12).column(1).data_page_offset
    (tmp_path / "in.parquet").write_bytes(whole[:at] + b"\xff" * 200 + whole[at + 200 :])
    workflow(tmp_path, "in.parquet", "skip", settings=f"split_bytes: 1, {COLUMNS}")
    told = run(tmp_path)
    assert (told.code, told.error["file"]) == (1, "in.parquet")
    assert "row group 12 cannot be read" in told.error["message"]

    (tmp_path / "in.parquet").write_bytes(whole)
    assert run(tmp_path).code == 0
    assert sorted(ids(tmp_path)) == list(range(2000))


# ---- permission --------------------------------------------------------------------------------------------------


def run_unprivileged(folder: Path) -> Ended:
    """Run the workflow of a folder without the privilege to pass over permissions."""
    prefix: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root reads everything, and there is no setpriv to give that up")
        prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    command = [*prefix, *COMMAND, "run", "workflow.yaml", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Give a folder with a folder `data` in it, which may be closed."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "in.csv").write_text("id,name\n1,a\n")
    yield tmp_path
    (tmp_path / "data").chmod(0o700)


@pytest.mark.parametrize("mode", [0o000, 0o600])
@pytest.mark.parametrize("path", ["data/in.csv", "data", "data/*.csv"])
def test_a_folder_that_is_closed_to_us_is_the_surroundings_fault(folder: Path, mode: int, path: str) -> None:
    workflow(folder, path)
    (folder / "data").chmod(mode)
    told = run_unprivileged(folder)
    assert (told.code, told.error["code"], told.error["path"]) == (3, "environment", "orders"), told
    assert "data" in told.error["message"]
    assert "permission" in told.error["hint"]

    (folder / "data").chmod(0o700)
    assert run_unprivileged(folder).code == 0
    assert ids(folder) == [1]


def test_a_file_that_is_closed_to_us_is_the_surroundings_fault(folder: Path) -> None:
    workflow(folder, "data/in.csv")
    (folder / "data" / "in.csv").chmod(0o200)
    told = run_unprivileged(folder)
    assert (told.code, told.error["code"]) == (3, "environment")
    assert "data/in.csv: Permission denied" in told.error["message"]
    assert "permission" in told.error["hint"]


def test_an_output_that_is_closed_to_us_is_the_surroundings_fault(folder: Path) -> None:
    workflow(folder, "data/in.csv")
    (folder / "out").mkdir(mode=0o500)
    told = run_unprivileged(folder)
    assert (told.code, told.error["code"], told.error["path"]) == (3, "environment", "rows")
    assert "permission" in told.error["hint"]


def test_a_state_that_is_closed_to_us_is_the_surroundings_fault(folder: Path) -> None:
    workflow(folder, "data/in.csv")
    (folder / "state").mkdir(mode=0o500)
    told = run_unprivileged(folder)
    assert (told.code, told.error["code"]) == (3, "environment")
    assert "runtime.state.path" in told.error["hint"]


# ---- files that change -------------------------------------------------------------------------------------------


def test_a_file_that_vanishes_between_plan_and_run_is_the_surroundings_fault(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"in-{number}.csv").write_text(f"id,name\n{number},a\n")
    registry = Registry.installed()
    plan = plan_of(workflow(tmp_path, "in-1.csv", settings="format: csv"), registry)
    (tmp_path / "in-1.csv").unlink()

    outcome, _ = run_plan(plan, registry, RunOptions(as_json=True))
    assert outcome is not None
    assert isinstance(outcome.error, UnavailableError)
    assert "there is no file" in outcome.error.what
    assert outcome.error.place.path == "orders"


def broken_off(folder: Path, kind: str, mode: str) -> set[int]:
    """Let a run of three files be killed while it reads them; return the ids that it had published."""
    (folder / "in").mkdir()
    for number in range(3):
        file = folder / "in" / f"{number}.{kind}"
        if kind == "parquet":
            parquet(file, 2000 * number)
        else:
            file.write_text("id,name\n" + "".join(f"{n},name {n}\n" for n in range(2000 * number, 2000 * (number + 1))))
    workflow(folder, f"in/*.{kind}", settings=f"split_bytes: 2kB, {COLUMNS}", mode=mode)
    assert Case(folder).run("after:mark_committed:1", seed=3).returncode == -9
    published = ids(folder)
    assert len(set(published)) == len(published) < 2000, "it was killed in the first file"
    return set(published)


CHANGES: dict[str, Callable[[Path], object]] = {
    "removed": lambda file: file.unlink(),
    "emptied": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:50]),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("kind", "mode"), [("csv", "full"), ("csv", "incremental"), ("parquet", "full")])
def test_a_file_that_was_read_in_part_and_is_not_there_any_more_is_no_end(
    tmp_path: Path, kind: str, mode: str, change: str
) -> None:
    """The rest of its rows would be lost without a word."""
    before = broken_off(tmp_path, kind, mode)
    file = tmp_path / "in" / f"0.{kind}"
    content = file.read_bytes()
    CHANGES[change](file)

    told = run(tmp_path)
    assert told.code == (3 if change == "removed" else 1), told.err
    assert f"in/0.{kind}" in json.dumps(told.error)
    assert told.error["hint"]
    assert before <= set(ids(tmp_path))

    file.write_bytes(content)
    assert run(tmp_path).code == 0
    assert sorted(ids(tmp_path)) == list(range(6000))


def another(file: Path) -> None:
    """Replace a file by another of the same size, with the same names and types of columns."""
    if file.suffix == ".parquet":
        parquet(file, 7000)
    else:
        header, _, rows = file.read_text().partition("\n")
        file.write_text(f"{header}\n{rows.replace('name', 'NAME')}")


@pytest.mark.parametrize(("kind", "mode"), [("csv", "full"), ("csv", "incremental"), ("parquet", "full")])
def test_a_file_that_was_replaced_before_a_resume_is_named(tmp_path: Path, kind: str, mode: str) -> None:
    """Half of its rows would be those of one file, half those of another."""
    before = broken_off(tmp_path, kind, mode)
    file = tmp_path / "in" / f"0.{kind}"
    content = file.read_bytes()
    another(file)

    for _ in range(2):
        told = run(tmp_path)
        assert told.code == 1, told.err
        assert told.error["file"] == f"in/0.{kind}"
        assert "the file was replaced" in told.error["message"]
        assert "put back" in told.error["hint"]
        assert before == set(ids(tmp_path))

    file.write_bytes(content)
    told = run(tmp_path)
    assert told.code == 0
    assert "taken for that file" in told.err or kind == "parquet"
    assert sorted(ids(tmp_path)) == list(range(6000))


def test_a_row_may_be_corrected_in_its_place_before_a_resume_but_not_become_longer(tmp_path: Path) -> None:
    """Where a row became longer, all positions behind it are those of other bytes."""
    broken_off(tmp_path, "csv", "full")
    file = tmp_path / "in" / "0.csv"
    content = file.read_text()
    file.write_text(content.replace("\n900,name", "\n900,name of it"))
    assert run(tmp_path).code == 1

    file.write_text(content.replace("\n1900,name", "\n1900,NAME"))
    told = run(tmp_path)
    assert told.code == 0
    assert "taken for that file" in told.err
    assert sorted(ids(tmp_path)) == list(range(6000))


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_a_file_that_grew_before_a_resume_is_the_same_file(tmp_path: Path, mode: str) -> None:
    broken_off(tmp_path, "csv", mode)
    with (tmp_path / "in" / "0.csv").open("a") as file:
        file.write("6000,late\n")

    assert run(tmp_path).code == 0
    if mode == "incremental":
        assert run(tmp_path).code == 0
    assert sorted(ids(tmp_path)) == list(range(6001))


@pytest.mark.parametrize("rows", [1, 5000])
@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_files_that_were_not_begun_may_be_replaced_before_a_resume(tmp_path: Path, mode: str, rows: int) -> None:
    """A longer one was read as far as the one before it had been long, in the middle of a row."""
    broken_off(tmp_path, "csv", mode)
    (tmp_path / "in" / "2.csv").write_text(
        "id,name\n" + "".join(f"{n},another {n}\n" for n in range(6000, 6000 + rows))
    )

    for _ in range(2 if mode == "incremental" else 1):
        assert run(tmp_path).code == 0
        assert sorted(ids(tmp_path)) == [*range(4000), *range(6000, 6000 + rows)]


def test_a_file_that_shrinks_while_it_is_read_is_named(tmp_path: Path) -> None:
    from dataflare.connectors.file.local_store import LocalFile
    from dataflare.connectors.file.settings import FileSourceConfig
    from dataflare.connectors.file.text import TextFile

    path = tmp_path / "in.csv"
    path.write_text("id,name\n1,a\n2,b\n")
    file = TextFile(LocalFile(path, "in.csv"), FileSourceConfig(path="in.csv"))
    path.write_text("id")
    with pytest.raises(DataError, match="became shorter"):
        file.range(0, 16)
    file.close()
