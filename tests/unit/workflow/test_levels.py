"""What each level of `validate` looks at, and what it leaves alone."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from tests.golden.stand_ins import REGISTRY
from tests.unit.cli.workflows import workflow_in

from dataflare.cli.main import main
from dataflare.component import Config, Field, Registry, SourceConnector, Stream, source
from dataflare.errors import DataFlareError, ExternalError, UnavailableError
from dataflare.schema import Schema
from dataflare.workflow import LEVELS, connecting, load
from dataflare.workflow.connecting import check_surroundings

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """
id: guarded
sources:
  files: {type: file, config: {path: in.csv, columns: {id: int64, name: string}}}
  table: {type: sqlite, config: {path: in.db, table: orders}}
transformations:
  some: {type: filter, inputs: [files], config: {condition: "id > 1"}}
  more: {type: mapping, inputs: [some], config: {set: {upper: "upper(name)"}}}
  sums: {type: aggregate, inputs: [more], config: {group_by: [name], aggregations: {n: count(*)}}}
destinations:
  out: {type: file, inputs: [sums], config: {path: out.jsonl}}
  copy: {type: sqlite, inputs: [table], config: {path: out.db, table: orders}}
"""

GUARDED = """
import sys
from dataflare.component import Registry
from dataflare.workflow import load

text, registry, told = sys.argv[1], Registry.installed(), []

def guard(event, arguments):
    if "dataflare-spill" in str(arguments):
        return  # the private folder of the expression engine, which stays empty
    if event == "open" or event.startswith(("socket.", "sqlite3.", "os.", "glob.", "subprocess.", "shutil.")):
        told.append(f"{event} {arguments}")

assert load(text, registry=registry, environ={}, level="plan").valid
sys.addaudithook(guard)
for level in ("static", "plan"):
    found = load(text.replace("upper", "other").replace("other(", "lower("), registry=registry, environ={}, level=level)
    assert found.valid, found.findings
    assert not told, told
load(text, registry=registry, environ={}, level="sample")
assert told, "the guard sees nothing"
"""


def test_up_to_plan_no_file_and_no_socket_is_opened(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GUARDED, TEXT], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr


def test_static_reads_no_expression_and_still_knows_names_and_wires() -> None:
    text = TEXT.replace("id > 1", "idd > 1").replace("[more]", "[most]").replace("path: out.jsonl", "pfad: out")
    static = load(text, registry=Registry.installed(), environ={}, level="static")
    codes = {f.code for f in static.findings if f.severity == "error"}
    assert codes == {"workflow.unknown_input", "workflow.unknown_key", "workflow.missing_key"}
    assert "workflow.expression" in {
        f.code for f in load(text, registry=Registry.installed(), environ={}, level="plan").findings
    }
    clean = load(TEXT, registry=Registry.installed(), environ={}, level="static")
    assert clean.valid
    assert not clean.typed


def test_static_loads_no_engine(tmp_path: Path) -> None:
    file = workflow_in(tmp_path)
    script = (
        "import sys; from dataflare.cli.main import main; code = main(sys.argv[1:]); "
        "assert 'duckdb' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "validate", str(file), "--level", "static"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_pattern_over_outputs_that_are_not_known_yet_is_no_mistake() -> None:
    text = TEXT.replace("table: orders}}\ntrans", "tables: [a, b]}}\ntrans").replace("[table]", '["table.*"]')
    assert load(text, registry=Registry.installed(), environ={}, level="plan").findings == []


# Connect


class LookingConfig(Config):
    password: str = Field("", description="A secret.")
    how: str = Field("", description="What it does.")


MEETING = threading.Barrier(2)
RELEASED = threading.Event()


@source("looking", replay="exact")
class Looking(SourceConnector[LookingConfig]):
    """Looks around as its settings say."""

    def declared(self) -> dict[str, Stream]:
        return {"": Stream(Schema.of({"a": "int64"}))}

    def check(self) -> Any:
        if self.config.how == "meets":
            MEETING.wait(30)
        elif self.config.how == "hangs":
            RELEASED.wait(60)
        elif self.config.how == "tells":
            return [UnavailableError(f"not with {self.config.password}", hint=f"not {self.config.password}")] * 2
        elif self.config.how == "raises":
            raise ExternalError("nobody answers", hint="start it")
        elif self.config.how == "breaks":
            raise RuntimeError("the library is confused")
        elif self.config.how == "later":
            return self._later()
        return None

    async def _later(self) -> list[DataFlareError]:
        await asyncio.sleep(0)
        return [UnavailableError("not there")]

    def read(self, split: Any, since: Any, until: Any) -> Any:
        raise NotImplementedError


def looked(*how: str, level: str = "connect", **options: Any) -> Any:
    nodes = "".join(
        f'  s{n}: {{type: looking, config: {{how: "{word}", password: "${{secret:s/P}}"}}}}\n'
        for n, word in enumerate(how)
    )
    inputs = ", ".join(f"s{n}" for n in range(len(how)))
    text = (
        f"id: w\nsecrets: {{s: {{type: env}}}}\nsources:\n{nodes}"
        f"destinations:\n  out: {{type: stdout, inputs: [{inputs}]}}\n"
    )
    return load(text, registry=REGISTRY.including(Looking), environ={"P": "hunter2"}, level=level, **options)


def test_all_components_look_around_at_the_same_time() -> None:
    assert looked("meets", "meets").valid


def test_every_level_below_leaves_the_surroundings_alone() -> None:
    for level in ("static", "plan"):
        assert looked("raises", level=level).valid
    assert looked("raises", level="sample").valid
    assert not looked("raises", level="sample", check=True).valid


def test_what_they_find_is_told_at_once_at_their_place_and_without_secrets() -> None:
    found = looked("tells", "raises", "breaks", "later", "")
    assert [(f.code, f.place.line, f.message) for f in found.findings] == [
        ("environment", 4, "s0: not with ***"),
        ("external", 5, "s1: nobody answers"),
        ("workflow.component", 6, "s2: RuntimeError: the library is confused"),
        ("environment", 7, "s3: not there"),
    ]
    assert "hunter2" not in str(found)


def test_one_that_hangs_is_told_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "check_surroundings", partial(check_surroundings, seconds=0.2))
    try:
        found = looked("hangs", "raises")
    finally:
        RELEASED.set()
    assert [f.message for f in found.findings] == [
        "s0: it did not answer within 0.2 seconds",
        "s1: nobody answers",
    ]


def test_a_secret_that_is_missing_is_told_at_connect_and_not_before(tmp_path: Path) -> None:
    text = TEXT.replace("id: guarded", "id: guarded\nsecrets: {s: {type: env}}").replace(
        "in.db", '"${secret:s/NOBODY}"'
    )
    assert load(text, registry=Registry.installed(), environ={}).valid
    (found,) = [
        f
        for f in load(text, registry=Registry.installed(), environ={}, level="connect").findings
        if "secret" in f.message
    ]
    assert (found.code, found.hint) == ("environment", "set NOBODY in the environment")


def database(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def told(file: Path, capsys: pytest.CaptureFixture[str], level: str = "connect") -> tuple[int, list[tuple[str, str]]]:
    code = main(["validate", str(file), "--level", level, "--json"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    return code, [(f["path"].split(".")[1], f["message"].split(": ", 1)[1]) for f in findings]


def test_files_and_tables_are_looked_at_and_nothing_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(TEXT.replace("out.jsonl", "in.csv/out.jsonl").replace("out.db, ", "none/out.db, "))
    code, findings = told(file, capsys)
    assert code == 3
    assert [f[0] for f in findings] == ["files", "table", "copy"]
    assert [f[1] for f in findings] == [
        f"there is no file {tmp_path}/in.csv",
        f"{tmp_path}/in.db: it cannot be opened",
        f"there is no folder {tmp_path}/none",
    ]
    (tmp_path / "in.csv").write_text("id,name\n1,a\n")
    database(tmp_path / "in.db", "create table order_s (id integer primary key)")
    assert told(file, capsys) == (
        2,
        [
            ("table", "there is no table orders"),
            ("out", f"{tmp_path}/in.csv is not a folder"),
            ("copy", f"there is no folder {tmp_path}/none"),
        ],
    )
    file.write_text(TEXT)
    database(tmp_path / "in.db", "alter table order_s rename to orders")
    before = sorted(p.name for p in tmp_path.iterdir())
    assert told(file, capsys) == (0, [])
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_all_that_is_wrong_with_a_table_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database(tmp_path / "out.db", "create table orders (id integer)")
    file = tmp_path / "w.yaml"
    file.write_text(
        "id: w\nsources:\n  rows: {type: generator, config: {rows: 1, columns: {id: sequence, name: {kind: choice, "
        "values: [a]}, more: sequence}}}\n  two: {type: sqlite, config: {path: out.db, tables: [a, orders, b]}}\n"
        "destinations:\n  copy: {type: sqlite, inputs: [rows], write_mode: merge, key: [id], "
        "config: {path: out.db, table: orders, new_columns: error}}\n"
        "  rest: {type: stdout, inputs: [two.a, two.b, two.orders]}\n"
    )
    code, findings = told(file, capsys)
    assert code == 2
    assert findings == [
        ("two", "there is no table a"),
        ("two", "there is no table b"),
        ("copy", "table orders has no column name"),
        ("copy", "table orders has no column more"),
        ("copy", "table orders has no unique index on id, so rows cannot be merged by it"),
    ]


def test_a_level_that_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(workflow_in(tmp_path)), "--level", "sampel"]) == 2
    said = capsys.readouterr().err
    assert all(level in said for level in LEVELS)


# Sample

REASON = "column 'page': the text is not of type INT32 in cast(url as int)"
SAMPLED = """
id: sampled
sources:
  visits: {type: file, config: {path: in.csv, columns: {id: int64, at: timestamp, url: string, usr: string}}}
transformations:
  number: {type: mapping, inputs: [visits], config: {set: {page: "cast(url as int)"}}, on_error: skip}
  counts: {type: aggregate, inputs: [number], config: {group_by: [page], aggregations: {n: count(*)}}}
  tens: {type: mapping, inputs: [counts], config: {set: {share: "100 / (n - 1)"}}}
destinations:
  out: {type: file, inputs: [tens], config: {path: out, format: parquet}}
"""

FROZEN = """
id: w
sources:
  lines:
    type: file
    config: {path: in.jsonl, columns: {id: int64}}
    schema: {contract: {columns: freeze, data_type: freeze}}
destinations:
  out: {type: file, inputs: [lines], config: {path: out, format: parquet}}
"""


def test_a_sample_tells_drift_and_what_becomes_of_rows_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(SAMPLED)
    (tmp_path / "in.csv").write_text("id,at,url,user\n1,2026-01-01 00:00:00,7,a\n2,2026-01-01 00:00:00,x,b\n")
    code = main(["validate", str(file), "--level", "sample", "--json"])
    found = json.loads(capsys.readouterr().out)["findings"]
    assert [(f["severity"], f["line"], f["message"], f["hint"]) for f in found] == [
        ("info", 4, "visits: there are columns that are not declared: user", "declare them to read them"),
        ("warning", 4, "visits: the column 'usr' is declared, but not there", "did you mean 'user'?"),
        (
            "warning",
            6,
            f"number: 1 of 2 sampled rows are rejected; the first: {REASON}",
            "",
        ),
    ]
    assert code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv", "w.yaml"]


def test_drift_of_frozen_columns_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(FROZEN)
    (tmp_path / "in.jsonl").write_text('{"id": "a", "new": 1}\n')
    assert main(["validate", str(file), "--level", "sample", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)["findings"]
    assert [f["message"] for f in found if f["severity"] == "error"][:2] == [
        "lines: there are columns that are not declared: new",
        "lines: the column 'id' is declared as int64, and looks like string",
    ]


def test_a_sampled_row_that_fails_the_run_is_an_error_with_its_node(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(SAMPLED.replace(", on_error: skip", ""))
    (tmp_path / "in.csv").write_text("id,at,url,usr\n1,7,x,a\n")
    assert main(["validate", str(file), "--level", "sample", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)["findings"]
    assert [(f["severity"], f["code"], f["line"]) for f in found] == [
        ("warning", "workflow.drift", 4),
        ("error", "data.invalid", 6),
    ]
    assert "looks like int64" in found[0]["message"]
    file.write_text(SAMPLED.replace(", on_error: skip", "").replace("as int)", "as int) + id"))
    (tmp_path / "in.csv").write_text("id,at,url,usr\nx,2026-01-01,7,a\n")
    assert main(["validate", str(file), "--level", "sample", "--json"]) == 2
    (only,) = [f for f in json.loads(capsys.readouterr().out)["findings"] if f["severity"] == "error"]
    assert (only["line"], only["message"].partition(":")[0]) == (4, "visits")
    assert "in.csv:2" in only["message"]


def test_rows_that_a_run_would_leave_as_lines_are_sampled_as_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "w.yaml"
    file.write_text("""
id: lines
sources: {lines: {type: file, config: {path: in.jsonl, columns: {s: string}}}}
transformations: {some: {type: mapping, inputs: [lines], config: {set: {n: "cast(s as int)"}}}}
destinations: {out: {type: file, inputs: [some], config: {path: out, format: parquet}}}
""")
    (tmp_path / "in.jsonl").write_text('{"s": "1"}\n{"s": "x"}\n')
    assert main(["validate", str(file), "--level", "sample", "--json"]) == 2
    (found,) = json.loads(capsys.readouterr().out)["findings"]
    assert (found["code"], found["line"]) == ("data.invalid", 4)


def test_what_hashes_in_the_ledger_cost_is_told_where_they_are_asked_for() -> None:
    def told(runtime: str) -> list[tuple[str, str, str]]:
        loaded = load(f"runtime: {{{runtime}}}{TEXT}", registry=REGISTRY, environ={})
        return [(f.severity, f.code, f.place.path) for f in loaded.findings if "ledger" in f.place.path]

    assert told("ledger: hash") == [("info", "workflow.ledger_hash", "runtime.ledger")]
    assert told("ledger: counts") == []
    assert told("ledger: hashes") == [("error", "workflow.not_one_of", "runtime.ledger")]
