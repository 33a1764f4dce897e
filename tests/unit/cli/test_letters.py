"""`dead-letter`: rejected rows are kept with all that is known of them, listed, replayed once, dropped."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest

from dataflare.cli.main import main
from dataflare.state.sqlite import SqliteStore, SqliteStoreConfig

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """
id: orders
sources:
  raw:
    type: file
    mode: incremental
    config: {path: "in*.csv", format: csv, columns: {id: int64, amount: string}}
    on_error: {action: dead_letter}
transformations:
  typed:
    type: mapping
    inputs: [raw]
    config: {set: {amount: cast(amount as bigint)}}
    on_error: {action: dead_letter}
destinations:
  out: {type: file, inputs: [typed], config: {path: out, format: jsonl}}
"""
FIXED = TEXT.replace("cast(amount as bigint)", '"coalesce(try_cast(amount as bigint), 0)"')
Said = pytest.CaptureFixture[str]


def begin(folder: Path, text: str = TEXT, rows: str = "1,5\n2,many\n3,7\nx,8\n4,lots\n") -> Path:
    """Run a workflow that rejects rows."""
    (folder / "in.csv").write_text(f"id,amount\n{rows}")
    file = folder / "orders.yaml"
    file.write_text(text)
    assert main(["run", str(file)]) == 0
    return file


def letters(file: Path, capsys: Said, *arguments: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["dead-letter", "list", str(file), "--json", *arguments]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def amounts(folder: Path) -> dict[int, int]:
    lines = [line for p in (folder / "out").glob("part-*") for line in p.read_text().splitlines()]
    rows = [json.loads(line) for line in lines]
    assert len({row["id"] for row in rows}) == len(rows), "a row came twice"
    return {row["id"]: row["amount"] for row in rows}


def test_rejected_rows_that_lead_nowhere_are_kept_with_all_that_is_known(tmp_path: Path, capsys: Said) -> None:
    file = begin(tmp_path)
    assert "orders.yaml is valid" in validated(file, capsys)
    found = {letter["row"]: letter for letter in letters(file, capsys)}
    assert set(found) == {"x,8", '{"id":2,"amount":"many"}', '{"id":4,"amount":"lots"}'}
    unread, typed = found["x,8"], found['{"id":2,"amount":"many"}']
    assert (unread["node"], unread["code"], unread["file"], unread["line"]) == ("raw", "row.unreadable", "in.csv", 5)
    assert (typed["node"], typed["code"], typed["input"]) == ("typed", "row.expression", "raw")
    assert typed["error"].startswith("column 'amount'")
    assert {(x["workflow"], x["epoch"], x["attempt"], x["replays"]) for x in found.values()} == {("orders", 1, 1, 0)}
    assert unread["split"].startswith("in.csv")
    assert "offset" in unread["position"]
    assert unread["time"].startswith("20")
    assert len({letter["id"] for letter in found.values()}) == 3


def validated(file: Path, capsys: Said) -> str:
    capsys.readouterr()
    assert main(["validate", str(file)]) == 0
    return capsys.readouterr().out


def test_folder_and_files_are_for_their_user_alone(tmp_path: Path) -> None:
    begin(tmp_path)
    folder = tmp_path / ".dataflare" / "dead-letters" / "orders"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(p.stat().st_mode) for p in folder.glob("part-*")] == [0o600]


def test_rows_are_listed_by_node_code_and_time_and_shown_whole(tmp_path: Path, capsys: Said) -> None:
    file = begin(tmp_path)
    assert len(letters(file, capsys, "--node", "typed")) == 2
    assert len(letters(file, capsys, "--code", "row.unreadable")) == 1
    assert len(letters(file, capsys, "--since", "1h")) == 3
    assert letters(file, capsys, "--since", "2999-01-01") == []
    assert main(["dead-letter", "list", str(file)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["id", "time", "(UTC)", "node", "code", "replays", "error", "row"]
    assert out.splitlines()[-1] == "raw: 1 row.unreadable, typed: 2 row.expression"
    identity = letters(file, capsys, "--node", "raw")[0]["id"]
    state = str(tmp_path / ".dataflare")
    assert main(["dead-letter", "show", "orders", identity, "--state", state]) == 0
    assert ["row", "x,8"] in [line.split() for line in capsys.readouterr().out.splitlines()]
    assert main(["dead-letter", "show", str(file), "9.9.9"]) == 2
    assert main(["dead-letter", "list", str(file), "--since", "yesterday"]) == 2


def test_rows_are_replayed_once_after_the_workflow_was_corrected(tmp_path: Path, capsys: Said) -> None:
    file = begin(tmp_path)
    file.write_text(FIXED)
    assert main(["dead-letter", "replay", str(file), "--node", "typed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {
        "workflow": "orders",
        "replayed": 2,
        "rejected_again": 0,
    }
    assert amounts(tmp_path) == {1: 5, 2: 0, 3: 7, 4: 0}
    assert main(["dead-letter", "replay", str(file), "--node", "typed"]) == 0
    assert "no rejected row to replay" in capsys.readouterr().out
    assert [letter["node"] for letter in letters(file, capsys)] == ["raw"]
    (tmp_path / "in2.csv").write_text("id,amount\n5,9\n")
    assert main(["run", str(file)]) == 0  # the files that were read are not read again, the new one is
    assert amounts(tmp_path) == {1: 5, 2: 0, 3: 7, 4: 0, 5: 9}


def test_rows_that_are_rejected_again_come_back_as_replayed(tmp_path: Path, capsys: Said) -> None:
    file = begin(tmp_path)
    before = letters(file, capsys, "--node", "typed")
    assert main(["dead-letter", "replay", str(file), before[0]["id"]]) == 0
    assert "1 row of orders is replayed; 1 was rejected again" in capsys.readouterr().out
    after = letters(file, capsys, "--node", "typed")
    assert sorted(letter["replays"] for letter in after) == [0, 1]
    assert {letter["row"] for letter in after} == {letter["row"] for letter in before}
    assert before[0]["id"] not in {letter["id"] for letter in after}
    assert amounts(tmp_path) == {1: 5, 3: 7}


def test_corrected_rows_are_given_from_a_file(tmp_path: Path, capsys: Said) -> None:
    file = begin(tmp_path)
    found = {letter["row"]: letter for letter in letters(file, capsys)}
    fixed = tmp_path / "fixed.jsonl"
    lines = [
        {"id": found["x,8"]["id"], "row": {"id": 10, "amount": "8"}},
        {"id": found['{"id":2,"amount":"many"}']["id"], "row": '{"id": 2, "amount": "20"}'},
    ]
    fixed.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert main(["dead-letter", "replay", str(file), "--rows", str(fixed)]) == 0
    assert amounts(tmp_path) == {1: 5, 2: 20, 3: 7, 10: 8}
    assert [letter["row"] for letter in letters(file, capsys)] == ['{"id":4,"amount":"lots"}']
    fixed.write_text("no JSON\n")
    assert main(["dead-letter", "replay", str(file), "--rows", str(fixed)]) == 2


def test_a_row_that_does_not_fit_its_node_is_said_and_nothing_is_begun(tmp_path: Path, capsys: Said) -> None:
    file = begin(tmp_path)
    file.write_text(FIXED)
    assert main(["dead-letter", "replay", str(file)]) == 1
    err = capsys.readouterr().err
    assert "is not what 'raw' takes" in err
    assert "--rows FILE" in err
    assert len(letters(file, capsys)) == 3
    assert amounts(tmp_path) == {1: 5, 3: 7}


def test_rows_are_dropped_by_what_they_are(tmp_path: Path, capsys: Said) -> None:
    file = begin(tmp_path)
    assert main(["dead-letter", "drop", str(file)]) == 2
    capsys.readouterr()
    assert main(["dead-letter", "drop", str(file), "--node", "raw", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"workflow": "orders", "dropped": 1}
    assert [letter["node"] for letter in letters(file, capsys)] == ["typed", "typed"]
    assert main(["dead-letter", "drop", str(file), "--all"]) == 0
    assert letters(file, capsys) == []
    assert main(["dead-letter", "list", str(file)]) == 0
    assert "no rejected row is kept" in capsys.readouterr().out


def test_while_the_workflow_runs_a_replay_waits_and_goes_on_later(tmp_path: Path, capsys: Said) -> None:
    file = begin(tmp_path)
    file.write_text(FIXED)
    store = SqliteStore(SqliteStoreConfig(path=str(tmp_path / ".dataflare")))
    store.open()
    store.lease("default/orders")
    assert main(["dead-letter", "replay", str(file), "--node", "typed"]) == 3
    store.close()
    assert "running already" in capsys.readouterr().err
    assert main(["dead-letter", "replay", str(file)]) == 0
    assert "going on with the replay of 2 rows" in capsys.readouterr().out
    assert amounts(tmp_path) == {1: 5, 2: 0, 3: 7, 4: 0}


OUT = "destinations:\n  out: {type: file, inputs: [typed],"
SUMS = """\
  sums: {type: aggregate, inputs: [typed], config: {aggregations: {n: count(*)}}}
destinations:
  out: {type: file, inputs: [sums],"""


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (OUT.replace("file,", "file, write_mode: overwrite,"), "replaced by each run"),
        (SUMS, "needs the rows of a whole run"),
    ],
)
def test_where_rows_alone_would_be_wrong_a_replay_is_refused(
    after: str, why: str, tmp_path: Path, capsys: Said
) -> None:
    file = begin(tmp_path, TEXT.replace(OUT, after))
    assert main(["dead-letter", "replay", str(file), "--node", "typed"]) == 2
    err = capsys.readouterr().err
    assert why in err
    assert "run the workflow again" in err


def test_tagged_values_are_neither_kept_nor_replayed(tmp_path: Path, capsys: Said) -> None:
    tagged = TEXT.replace("    mode: incremental\n", "    mode: incremental\n    tags: {amount: pii}\n")
    hiding = "  hidden: {type: mask, inputs: [typed], config: {rules: {pii: {method: 'null'}}}}\n"
    masked = tagged.replace("inputs: [typed]", "inputs: [hidden]").replace("destinations:", f"{hiding}destinations:")
    file = begin(tmp_path, masked)
    found = letters(file, capsys)
    assert sorted(letter["row"] for letter in found) == ["***", '{"id":2,"amount":"***"}', '{"id":4,"amount":"***"}']
    kept = "".join(p.read_text() for p in (tmp_path / ".dataflare" / "dead-letters").rglob("part-*"))
    assert "many" not in kept
    assert "x,8" not in kept
    assert main(["dead-letter", "replay", str(file)]) == 2
    assert "holds values that were hidden" in capsys.readouterr().err


def test_the_oldest_files_go_where_there_are_too_many(tmp_path: Path, capsys: Said) -> None:
    text = TEXT + "  kept: {type: dead_letters, inputs: ['*.errors'], config: {bytes_max: 2KiB}}\n"
    rows = "".join(f"{n},bad\n" for n in range(4))
    file = begin(tmp_path, text, rows)
    for number in range(2, 5):
        (tmp_path / f"in{number}.csv").write_text("id,amount\n" + "".join(f"{number}{n},bad\n" for n in range(4)))
        assert main(["run", str(file)]) == 0
    assert "bytes of rejected rows: the oldest 1 files are removed" in capsys.readouterr().err
    found = letters(file, capsys)
    assert 4 <= len(found) <= 8
    assert found[-1]["row"] == '{"id":43,"amount":"bad"}'
    folder = tmp_path / ".dataflare" / "dead-letters" / "orders"
    assert sum(p.stat().st_size for p in folder.glob("part-*")) <= 2048


def test_rows_that_have_a_destination_of_their_own_are_not_kept_twice(tmp_path: Path, capsys: Said) -> None:
    text = TEXT + "  bad: {type: file, inputs: ['*.errors'], config: {path: bad, format: jsonl}}\n"
    file = begin(tmp_path, text)
    assert letters(file, capsys) == []
    assert sum(len(p.read_text().splitlines()) for p in (tmp_path / "bad").glob("part-*")) == 3
