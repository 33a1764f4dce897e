"""A tagged value leaves no trace: not in outputs, logs, state, commands or errors (invariant 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.chaos.processes import Ended, dataflare, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CANARY = "zq7canary7qz"
FORMS = [CANARY, CANARY.upper(), CANARY[::-1], CANARY.encode().hex()]
PARTS = '''
"""A processor and a source that tell of rows wherever they can."""

from dataflare.batch import DataRecord
from dataflare.component import Config, Processor, RecordSource, processor, source


@processor("blab")
class Blab(Processor[Config]):
    """Fails in words of its own."""

    def process(self, batch, port=0):
        batch.rows["email"].cast("int64")
        yield batch


@source("blurt", replay="from")
class Blurt(RecordSource[Config]):
    """Fails in words of its own."""

    def declared(self):
        from dataflare.component import Stream
        from dataflare.schema import Schema

        return {"": Stream(Schema.of({"id": "int64", "email": "string"}))}

    def records(self, since):
        yield DataRecord({"id": 1, "email": "zq7canary7qz"}), {"n": 1}
        raise RuntimeError("cannot go on behind zq7canary7qz")
'''
POINTS = "[dataflare.processor]\nblab = parts:Blab\n[dataflare.source]\nblurt = parts:Blurt\n"
WORKFLOW = """
id: canary
runtime:
  checkpoint: {{interval: 50ms}}
  restart: {{initial: 10ms, attempts: 2}}
  state: {{type: sqlite, path: state}}
sources:
  {source}
transformations:
  bad:
    type: {node}
    inputs: [people]
    config: {config}
    on_error: {{action: {action}}}
  masked:
    type: mask
    inputs: [bad]
    config: {{rules: {{pii: {{method: {method}}}}}}}
destinations:
  out: {{type: file, inputs: [masked], config: {{path: out, format: jsonl}}}}
"""
DEAD = """  dead: {type: file, inputs: ["*.errors"], config: {path: dead, format: jsonl}}
"""
FILE = (
    "people: {type: file, config: {path: people.csv, columns: {id: int64, email: string, note: string}}, "
    "tags: {email: pii, note: pii}}"
)
ROWS = f"id,email,note\n1,{CANARY},{CANARY}\n2,ada@x.org,2\n3,bob@x.org,3\n"
PRINTS = "def process(r):\n    print(r['email'], r['email'].upper())\n    %s\n    return r\n"
NODES = {
    "a cast": ("mapping", '{set: {n: "cast(email as int64)"}}'),
    "a cast of something made of it": ("mapping", '{set: {n: "cast(upper(email) || reverse(note) as date)"}}'),
    "a time zone": ("mapping", """{set: {t: "timezone(email, timestamp '2020-01-01')"}}"""),
    "a JSON path": ("mapping", """{set: {t: "json_extract('{}', '$[' || email)"}}"""),
    "a regular expression": ("mapping", """{set: {t: "regexp_matches('a', '(' || email)"}}"""),
    "two malformed texts": ("mapping", '{set: {t: "json_merge_patch(cast(email as json), cast(note as json))"}}'),
    "a condition": ("filter", '{condition: "cast(email as int64) > 0"}'),
    "a route": ("route", '{routes: {a: "cast(email as int64) > 0", bad: "true"}}'),
    "a text that is no JSON": ("parse", "{column: email, format: json, columns: {a: int64}}"),
    "a text that is no number": ("parse", "{column: note, format: regex, pattern: '(?P<n>.*)', columns: {n: int64}}"),
    "an aggregate": ("aggregate", '{group_by: [id], aggregations: {n: "sum(cast(note as int64))"}}'),
    "a function that raises": ("python", {"code": PRINTS % "int(r['email'].upper()[::-1])"}),
    "a function that raises it": ("python", {"code": PRINTS % "raise ValueError(r)"}),
    "a function that returns it as a name": ("python", {"code": PRINTS % "r[r['email']] = 1"}),
    "a function that returns another type": ("python", {"code": PRINTS % "r['id'] = r['email']"}),
    "a function of columns": (
        "python",
        {"mode": "columns", "code": "def process(c):\n    return {c['email'][1]: []}\n"},
    ),
    "a function of tables": (
        "python",
        {"mode": "batch", "code": "def process(t):\n    t['email'].cast('int64')\n    return t\n"},
    ),
    "a function that ends its process": (
        "python",
        {"code": PRINTS % "import sys, os\n    os.write(2, r['email'].encode())\n    os._exit(3)"},
    ),
    "a component that raises": ("blab", "{}"),
}

BLABS = ["a component that raises"]
"""Its dead letters are refused by the plan, as nobody knows what is in them."""


def prepared(folder: Path, node: str, config: object, action: str, *, source: str = FILE) -> None:
    import json

    (folder / "people.csv").write_text(ROWS)
    (folder / "parts.py").write_text(PARTS)
    (folder / "parts-1.dist-info").mkdir(exist_ok=True)
    (folder / "parts-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: parts\nVersion: 1\n")
    (folder / "parts-1.dist-info" / "entry_points.txt").write_text(POINTS)
    written = config if isinstance(config, str) else json.dumps(config)
    method = "null" if node in ("mapping", "parse", "aggregate", "python") else "redact"
    text = WORKFLOW.format(source=source, node=node, config=written, action=action, method=method)
    if node == "route":
        text = text.replace("inputs: [bad]", "inputs: [bad.a, bad.bad]")
    (folder / "workflow.yaml").write_text(text + (DEAD if action == "dead_letter" else ""))


def clean(folder: Path, *told: Ended, folders: Sequence[str] = ("out", "dead", "state", "saved")) -> None:
    """Assert that nothing that was said or written holds the value."""
    texts = [t for ended in told for t in (ended.out, ended.err)]
    files = [p for name in folders for p in (folder / name).rglob("*") if p.is_file()]
    texts += [p.read_bytes().decode("utf-8", "backslashreplace") for p in files]
    for text in texts:
        assert not [form for form in FORMS if form in text], text[:4000]


@pytest.mark.parametrize(
    ("name", "action"),
    [*((name, "fail") for name in NODES), *((name, "dead_letter") for name in NODES if name not in BLABS)],
)
def test_a_value_that_a_node_fails_for_is_nowhere(tmp_path: Path, name: str, action: str) -> None:
    node, config = NODES[name]
    prepared(tmp_path, node, config, action)
    around = {"PYTHONPATH": str(tmp_path)}
    told = run(tmp_path, "--log", "json", environ=around)
    assert told.code == 1 if action == "fail" else told.code in (0, 1), told.err
    clean(tmp_path, told)
    sampled = dataflare(tmp_path, "validate", "workflow.yaml", "--level", "sample", environ=around)
    assert sampled.code in (0, 2), sampled.err
    clean(tmp_path, sampled)


def test_a_value_that_a_source_fails_behind_is_nowhere(tmp_path: Path) -> None:
    prepared(tmp_path, "union", "{}", "fail", source="people: {type: blurt, tags: {email: pii}}")
    told = run(tmp_path, "--log", "json", environ={"PYTHONPATH": str(tmp_path)})
    assert told.code == 1
    assert "RuntimeError" in told.err
    clean(tmp_path, told)


@pytest.mark.parametrize(
    "command",
    ["validate workflow.yaml", "plan workflow.yaml", "status workflow.yaml", "checkpoint list workflow.yaml",
     "checkpoint show workflow.yaml 1", "checkpoint export workflow.yaml saved"],
)  # fmt: skip
def test_no_command_tells_a_value(tmp_path: Path, command: str) -> None:
    prepared(tmp_path, "mapping", '{set: {n: "try_cast(email as int64)"}}', "dead_letter")
    around = {"PYTHONPATH": str(tmp_path)}
    assert run(tmp_path, environ=around).code == 0
    for more in ([], ["--json"]):
        told = dataflare(tmp_path, *command.split(), *more, environ=around)
        assert told.code == 0, told.err
        clean(tmp_path, told)
