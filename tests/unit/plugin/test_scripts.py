"""Plugins in JavaScript and TypeScript: what a file may export, what `process` may return, and where errors are."""

from __future__ import annotations

import pytest
from tests.unit.plugin.conftest import EPOCH_MICROSECONDS

from dataflare.errors import UnavailableError, WorkflowError
from dataflare.plugin.failures import BadRecordError, FatalError, TransientError
from dataflare.plugin.limits import Limits
from dataflare.plugin.program import Output, Program, Settings


def test_a_record_becomes_another(opened):
    plugin = opened("export function process(record) { return { ...record, total: record.amount * 2 }; }")
    assert plugin.process({"amount": 4, "name": "Zoë ☂"}) == {"amount": 4, "name": "Zoë ☂", "total": 8}


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("export default (r) => ({ a: r.a + 1 });", "a.js"),
        ("export default function process(r) { return { a: r.a + 1 }; }", "a.mjs"),
        ("const p = (r) => ({ a: r.a + 1 }); export { p as process };", "a.js"),
        ("export default { process: (r) => ({ a: r.a + 1 }) };", "a.js"),
        ("const more = 1; export const name = 'x', process = (r) => ({ a: r.a + more });", "a.js"),
        ("interface Row { a: number }\nexport const process = (r: Row): Row => ({ a: r.a + 1 });", "a.ts"),
        ("enum E { One = 1 }\nexport function process<T extends Row>(r: T) { return { a: r.a + E.One }; }", "a.mts"),
        ("export const [process] = [(r) => ({ a: r.a + 1 })], { x, ...y } = { x: 1 }, f = 1;", "a.js"),
        ("export default function (r) { return { a: r.a + 1 } }\n(1, 2);", "a.js"),
    ],
)  # fmt: skip
def test_all_ways_to_export_work(opened, source, name):
    assert opened(source, name).process({"a": 1}) == {"a": 2}


def test_what_process_returns_decides(opened):
    plugin = opened(
        """export function process({ what }) {
          if (what === "drop") return null;
          if (what === "many") return [{ n: 1 }, { n: 2 }];
          if (what === "route") return [{ n: 1 }, dataflare.to("big", { n: 2 })];
          return { n: 0 };
        }"""
    )
    assert plugin.process({"what": "drop"}) is None
    assert plugin.process({"what": "many"}) == [{"n": 1}, {"n": 2}]
    assert plugin.process({"what": "route"}) == [("", {"n": 1}), ("big", {"n": 2})]
    found, errors = plugin.lines(*({"what": w} for w in ("keep", "drop", "many", "route")))
    assert found == {"": (4, [{"n": 0}, {"n": 1}, {"n": 2}, {"n": 1}], [0, 2, 2, 3]), "big": (1, [{"n": 2}], [3])}
    assert errors == {}


def test_rows_that_are_all_kept_name_no_sources(opened):
    plugin = opened("export const process = (r) => r;")
    assert plugin.lines({"a": 1}, {"a": 2}) == ({"": (2, [{"a": 1}, {"a": 2}], None)}, {})
    assert plugin.columns(a=[1, 2]) == ({"": (2, {"a": [1, 2]}, None)}, {})


def test_a_bad_row_of_a_batch_is_told_with_its_line(opened):
    plugin = opened("export function process(r) {\n  if (r.a < 0) throw new Error('below zero');\n  return r;\n}")
    found, errors = plugin.columns(a=[1, -1, 3])
    assert found == {"": (2, {"a": [1, 3]}, [0, 2])}
    assert errors == {1: "below zero (2)"}
    with pytest.raises(BadRecordError, match=r"^below zero \(2\)$"):
        plugin.process({"a": -1})


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ("5", "process returned no record, but number"),
        ("[null]", "process returned null in a list"),
        ("{ other: 1 }", 'process returned "other", which is no column of the output'),
        ("{ a: 1n }", "TypeError: BigInt are forbidden in JSON.stringify"),
    ],
)
def test_a_result_that_is_no_record_is_the_fault_of_its_row(opened, result, why):
    plugin = opened(f"export const process = (r) => r.a === 2 ? ({result}) : r;")
    found, errors = plugin.columns(a=[1, 2, 3])
    assert found == {"": (2, {"a": [1, 3]}, [0, 2])}
    assert errors[1].startswith(why)


def test_an_asynchronous_function_is_refused(opened):
    with pytest.raises(FatalError, match="asynchronous"):
        opened("export const process = async (r) => r;").lines({"a": 1})


def test_columns_are_taken_whole(opened):
    plugin = opened(
        """export const input = ["amount"];
        export const output = { total: "float64" };
        export function processColumns({ amount }, rows) { return { total: amount.map((a) => a * rows) }; }"""
    )
    assert plugin.columns(amount=[1, 2]) == ({"": (2, {"total": [2, 4]}, None)}, {})


def test_columns_of_different_lengths_are_refused(opened):
    plugin = opened("export const processColumns = () => ({ a: [1], b: [1, 2] });")
    with pytest.raises(FatalError, match="2 values of b and 1 of a"):
        plugin.columns(a=[1])


def test_errors_of_the_plugin_say_what_to_do(opened):
    plugin = opened("export const process = (r) => { throw new dataflare[r.kind]('so it is'); };")
    for kind, error in (("BadRecord", BadRecordError), ("Transient", TransientError), ("Fatal", FatalError)):
        with pytest.raises(error, match="so it is"):
            plugin.process({"kind": kind})
    for kind, error in (("Transient", TransientError), ("Fatal", FatalError)):
        with pytest.raises(error, match="so it is"):
            plugin.lines({"kind": kind})


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("export function process(r) {\n  let x = ;\n}", "rules.js:2:11: Unexpected token"),
        ("import { a } from 'b';\nexport const process = (r) => a(r);", 'rules.js:1:1: "b" is another file'),
        ("export const x = 1;", "rules.js: it exports neither process nor processColumns"),
        ("export const process = 1;", "rules.js: it exports process, which is no function"),
        ("\nthrow new TypeError('at once');", "rules.js:2: TypeError: at once"),
        ("export const process = (r) => r;\nexport const open = (s) => { throw Error(s.rate); };", "rules.js:2: 7"),
        ("export const process = (r) => r; interface A {}", "rules.js:1:"),
        ("\nexport * from './c.js';", 'rules.js:2:1: "./c.js" is another file'),
        ("const a = await 1;", "rules.js:1:"),
        ("process = (r) => r;", "rules.js:1: ReferenceError"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_opened_says_where(opened, source, what):
    with pytest.raises(WorkflowError) as told:
        opened(source, settings={"rate": 7})
    assert str(told.value).startswith(what)


def test_files_that_are_no_text_or_not_there_are_told(tmp_path, engine):
    (tmp_path / "a.js").write_bytes(b"export const \xff")
    with pytest.raises(WorkflowError, match=r"a\.js: byte 13 is no UTF-8"):
        Program.load(tmp_path / "a.js", engine, "a.js")
    with pytest.raises(UnavailableError, match=r"b\.js: the plugin cannot be read: No such file"):
        Program.load(tmp_path / "b.js", engine, "b.js")
    (tmp_path / "c.wasm").write_bytes(b"not wasm")
    with pytest.raises(WorkflowError, match="neither a component"):
        Program.load(tmp_path / "c.wasm", engine, "c.wasm")


def test_a_plugin_describes_itself(opened, host):
    plugin = opened(
        """export const name = "pricing", version = "1.2.0", settings = { type: "object" };
        export const input = ["amount"], output = { total: "decimal(12,2)" }, outputs = { big: null };
        export const exportState = () => 1;
        export const process = (r) => r;"""
    )
    told = plugin.program.described(Settings(), host, Limits())
    assert (told.name, told.version, told.settings_schema) == ("pricing", "1.2.0", {"type": "object"})
    assert (told.stateful, told.input, told.format) == (True, ("amount",), "json-columns")
    assert told.outputs == {"": Output((("total", "decimal(12,2)"),)), "big": Output(None)}
    told = opened("export const adds = { a: 'int64' }; export const process = (r) => r;").program.described(
        Settings(), host, Limits()
    )
    assert told.outputs == {"": Output((("a", "int64"),), adds=True)}
    told = opened("export const process = (r) => r;").program.described(Settings(), host, Limits())
    assert (told.name, told.stateful, told.input, told.format, told.outputs) == ("rules", False, None, "json-lines", {})


def test_the_host_is_there(opened, host):
    plugin = opened(
        """export function process(r) {
          console.warn("seen", { n: 1 });
          dataflare.log("plain");
          dataflare.metric("rows", 2);
          const before = dataflare.getState([r.id]) ?? 0;
          dataflare.setState([r.id], before + 1);
          return { before, now: dataflare.now(), date: Date.now() };
        }"""
    )
    milliseconds = EPOCH_MICROSECONDS // 1000
    assert plugin.process({"id": 1}) == {"before": 0, "now": EPOCH_MICROSECONDS, "date": milliseconds}
    assert plugin.process({"id": 1})["before"] == 1
    assert plugin.process({"id": 2})["before"] == 0
    assert host.said == [("warn", 'seen {"n":1}'), ("info", "plain")] * 3
    assert host.metrics == {"rows": 6.0}
    assert host.state == {"[1]": "2", "[2]": "1"}


def test_settings_and_state_come_and_go(opened):
    source = """let rate, seen = 0;
        export const open = (settings) => { rate = settings.rate; };
        export const process = (r) => ({ n: ++seen, total: r.a * rate });
        export const exportState = () => ({ seen });
        export const importState = (state) => { seen = state.seen; };"""
    first = opened(source, settings={"rate": 3})
    assert first.process({"a": 2}) == {"n": 1, "total": 6}
    state = first.instance.call("export-state")
    second = opened(source, settings={"rate": 4})
    second.instance.call("import-state", state)
    assert second.process({"a": 2}) == {"n": 2, "total": 8}


def test_what_the_loader_made_is_kept(opened, engine, monkeypatch):
    source = "export const process = (r) => ({ kept: true });"
    opened(source)
    monkeypatch.setattr("dataflare.plugin.loader._run", None)
    assert opened(source).process({}) == {"kept": True}
