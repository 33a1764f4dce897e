"""`dataflare plugin test` runs rows through the plugin and shows how what comes out differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataflare.cli.main import main

MANIFEST = '[plugin]\nname = "p"\nversion = "1.0.0"\nlanguage = "javascript"\nentry = "p.js"\ninterface = 1\n'
CODE = """export const outputs = { big: null };
export const adds = { total: "decimal(12,2)" };
let rate;
export const open = (settings) => { rate = settings.rate ?? 1; };
export function process(r) {
  if (r.n < 0) throw new Error("below zero");
  if (r.n === 99) throw new dataflare.Fatal("lost");
  if (r.n > 10) return dataflare.to("big", r);
  if (r.say) console.log(r.say);
  return r.n === 0 ? null : { ...r, total: (r.n * rate).toFixed(2) };
}"""


class Plugin:
    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        (folder / "plugin.toml").write_text(MANIFEST)
        (folder / "p.js").write_text(CODE)

    def case(self, name: str = "first", **files: Any) -> Path:
        """Write the files of a test: lists are JSON lines."""
        folder = self.folder / "tests" / name
        folder.mkdir(parents=True, exist_ok=True)
        for key, value in files.items():
            file = key.replace("__", ".")
            if isinstance(value, list):
                (folder / f"{file}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in value))
            else:
                (folder / f"{file}.json").write_text(json.dumps(value))
        return folder

    def test(self, *options: str) -> tuple[int, str, str]:
        code = main(["plugin", "test", str(self.folder), *options])
        out, err = self._capsys.readouterr()
        return code, out, err


@pytest.fixture
def plugin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Plugin:
    return Plugin(tmp_path, capsys)


ROWS = [{"n": 1}, {"n": 0}, {"n": -5}, {"n": 11}, {"n": 3}]


def test_all_that_comes_out_is_compared(plugin: Plugin) -> None:
    plugin.case(
        **{"in": ROWS, "out__big": [{"n": 11}]},
        out=[{"n": 1, "total": "2.00"}, {"n": 3, "total": 6}],
        errors=[{"error": "below zero", "row": {"n": -5}}],
        settings={"rate": 2},
    )
    assert plugin.test() == (0, "ok    first  5 in, 3 out, 1 failed\n1 passed\n", "")
    code, out, _ = plugin.test("--json")
    first, total = map(json.loads, out.splitlines())
    assert (code, total) == (0, {"tests": 1, "passed": 1, "failed": 0})
    assert (first["test"], first["status"], first["rows_in"], first["rows_out"]) == ("first", "passed", 5, 3)
    assert first["rows_failed"] == 1
    assert 0 < first["guest_share"] < 1
    assert first["rows_per_second"] > 0


def test_differences_are_told_by_row_and_column(plugin: Plugin) -> None:
    plugin.case(
        **{"in": [*ROWS, {"n": 4, "say": "hello"}], "out__big": [{"n": 11}, {"n": 12}]},
        out=[{"n": 1, "total": 1}, {"n": 3, "total": 3.5}],
        errors=[{"error": "above zero", "row": {"n": -6}}],
    )
    code, out, err = plugin.test()
    lines = [line.split() for line in out.splitlines()]
    assert (code, err) == (1, "")
    assert lines[0][:3] == ["FAIL", "first", "6"]
    assert lines[1:-2] == [
        ["file", "row", "column", "expected", "got"],
        ["out.jsonl", "2", "total", "3.5", "3.0"],
        ["out.jsonl", "3", "(no", "row)", '{"n":', "4,", '"say":', '"hello",', '"total":', "4.0}"],
        ["out.big.jsonl", "2", '{"n":', "12,", '"say":', "null}", "(no", "row)"],
        ["errors.jsonl", "1", "error", '"above', 'zero"', '"below', "zero", '(6)"'],
        ["errors.jsonl", "1", "n", "-6", "-5"],
    ]
    assert lines[-2] == ["it", "said:", "hello"]
    assert lines[-1] == ["0", "passed,", "1", "failed"]
    told = json.loads(plugin.test("--json")[1].splitlines()[0])
    assert told["differences"][0] == {
        "file": "out.jsonl", "row": 2, "column": "total", "expected": "3.5", "got": "3.0",
    }  # fmt: skip
    assert told["said"] == ["hello"]


def test_a_row_that_is_missing_in_the_middle_is_the_only_one_told(plugin: Plugin) -> None:
    rows = [{"n": n} for n in range(1, 9)]
    plugin.case(**{"in": rows}, out=[{"n": n, "total": n} for n in range(1, 9) if n != 4])
    lines = plugin.test()[1].splitlines()
    assert [line.split()[:4] for line in lines[2:-1]] == [["out.jsonl", "4", "(no", "row)"]]


def test_very_many_rows_are_compared_in_time(plugin: Plugin) -> None:
    plugin.case(**{"in": [{"n": 1}] * 20_000}, out=[{"n": 1, "total": n % 2} for n in range(20_000)])
    code, out, _ = plugin.test()
    assert code == 1
    assert "  and 9980 more\n" in out
    assert "rows/s" in out
    plugin.case(**{"in": [{"n": 1}] * 20_000}, out=[{"n": 1, "total": 1}] * 20_001)
    assert [line.split()[:2] for line in plugin.test()[1].splitlines()[2:-1]] == [["out.jsonl", "20001"]]


def test_an_expectation_that_no_row_could_meet_is_told(plugin: Plugin) -> None:
    plugin.case(**{"in": [{"n": 1}], "out__small": []}, out=[{"n": 1, "totl": 1}])
    out = plugin.test()[1]
    assert "there is no column 'totl' (did you mean" in out
    assert "out.small.jsonl: the plugin has no output 'small'" in out


def test_a_plugin_that_cannot_go_on_fails_the_test_and_others_are_run(plugin: Plugin) -> None:
    plugin.case("a", **{"in": [{"n": 99}]}, out=[])
    plugin.case("b", **{"in": [{"n": 1}]}, out=[{"n": 1, "total": 1}])
    code, out, _ = plugin.test()
    assert code == 1
    assert "p.js: the plugin cannot go on: lost" in out
    assert out.endswith("1 passed, 1 failed\n")
    assert plugin.test("--filter", "b")[1].endswith("1 passed\n")


def test_what_comes_out_is_written_as_what_is_expected(plugin: Plugin) -> None:
    folder = plugin.case(**{"in": ROWS, "out__small": [{"n": 1}]}, settings={"rate": 2})
    code, out, err = plugin.test("--write")
    assert (code, err) == (0, "")
    assert out == f"wrote {folder}: errors.jsonl, out.big.jsonl, out.jsonl, out.small.jsonl\n"
    assert (folder / "out.jsonl").read_text() == '{"n": 1, "total": 2.0}\n{"n": 3, "total": 6.0}\n'
    assert (folder / "errors.jsonl").read_text() == '{"error": "below zero", "row": {"n": -5}}\n'
    assert sorted(p.name for p in folder.iterdir()) == [
        "errors.jsonl", "in.jsonl", "out.big.jsonl", "out.jsonl", "settings.json",
    ]  # fmt: skip
    assert plugin.test() == (0, "ok    first  5 in, 3 out, 1 failed\n1 passed\n", "")
    assert plugin.test("--write")[1] == ""


def test_columns_have_the_types_that_the_test_tells(plugin: Plugin) -> None:
    (plugin.folder / "p.js").write_text("export const process = (r) => ({ ...r, n: typeof r.n });")
    (plugin.folder / "p.js").write_text(
        "export const adds = { kind: 'string' };\nexport const process = (r) => ({ ...r, kind: typeof r.n });"
    )
    plugin.case(**{"in": [{"n": 1}]}, out=[{"n": 1, "kind": "number"}])
    assert plugin.test()[0] == 0
    plugin.case(**{"in": [{"n": 1}]}, out=[{"n": 1, "kind": "string"}], columns={"n": "decimal(12,2)"})
    assert plugin.test()[0] == 0


@pytest.mark.parametrize(
    ("files", "place", "what"),
    [
        ({"in": '{"n": 1}\n{"n": \n[1]\n'}, "in.jsonl:2", "this is no JSON"),
        ({"in": '{"n": 1}\n{"n": \n[1]\n'}, "in.jsonl:3", "a row is an object"),
        ({"in": "[" * 100_000}, "in.jsonl:1", "this is no JSON"),
        ({"in": ""}, "in.jsonl", "there are no rows"),
        ({}, "in.jsonl", "the file cannot be read: No such file"),
        ({"in": '{"n": 1}', "settings": "{\n3"}, "settings.json:2", "this is no JSON"),
        ({"in": '{"n": 1}', "columns": "[]"}, "columns.json:1", "this is no object"),
        ({"in": '{"n": 1}', "columns": '{"n": "intt"}'}, "columns.json", "intt"),
        ({"in": '{"n": "x"}', "columns": '{"n": "int64"}'}, "in.jsonl:1", "n"),
    ],
)
def test_files_of_tests_that_are_wrong_are_told_with_their_lines(
    plugin: Plugin, files: dict[str, str], place: str, what: str
) -> None:
    folder = plugin.case()
    for name, text in files.items():
        (folder / f"{name}{'.jsonl' if name == 'in' else '.json'}").write_text(text)
    code, out, err = plugin.test()
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if f"{folder}/{place} " in line]
    assert what in line


def test_a_plugin_without_tests_is_told_how_to_write_one(plugin: Plugin) -> None:
    code, _, err = plugin.test()
    assert code == 2
    assert "there are no tests in" in err
    assert "tests/first/in.jsonl" in err
    plugin.case(**{"in": ROWS})
    assert "has 'zzz' in its name" in plugin.test("--filter", "zzz")[2]


def test_a_plugin_that_is_not_built_or_older_than_its_source_is_told(plugin: Plugin) -> None:
    plugin.case(**{"in": [{"n": 1}]}, out=[{"n": 1, "total": 1}])
    (plugin.folder / "src.ts").write_text("x")
    (plugin.folder / "plugin.toml").write_text(MANIFEST.replace("interface", 'source = "src.ts"\ninterface'))
    code, out, err = plugin.test()
    assert (code, out) == (0, "ok    first  1 in, 1 out\n1 passed\n")
    assert "src.ts is newer than p.js" in err
    (plugin.folder / "p.js").unlink()
    code, _, err = plugin.test()
    assert code == 3
    assert "p.js is not there" in err
    assert f"build it: dataflare plugin build {plugin.folder}" in err


def test_settings_that_do_not_fit_the_manifest_are_told(plugin: Plugin) -> None:
    schema = '[settings]\ntype = "object"\nadditionalProperties = false\n[settings.properties.rate]\ntype = "number"\n'
    (plugin.folder / "plugin.toml").write_text(MANIFEST + schema)
    folder = plugin.case(**{"in": [{"n": 1}]}, out=[{"n": 1, "total": 2}], settings={"rate": "2"})
    code, _, err = plugin.test()
    assert code == 2
    assert "settings.rate must be" in err
    assert f"{folder}/settings.json" in err
    assert main(["plugin", "run", str(plugin.folder), "--settings", '{"rat": 2}']) == 2
    plugin.case(settings={"rate": 2})
    assert plugin.test()[0] == 0


def test_settings_that_the_plugin_refuses_are_told(plugin: Plugin) -> None:
    (plugin.folder / "p.js").write_text(
        "export const process = (r) => r;\nexport const open = (s) => { throw new Error('no ' + s.rate); };"
    )
    plugin.case(**{"in": ROWS}, settings={"rate": 7})
    code, _, err = plugin.test()
    assert code == 2
    assert "no 7" in err
    assert "p.js:2" in err


def test_what_else_a_workflow_would_set_for_the_node_is_told_by_the_test(plugin: Plugin) -> None:
    (plugin.folder / "p.js").write_text(
        """export const adds = { seen: "int64" };
        export const process = (r) => {
          const seen = (dataflare.getState([r.k]) ?? 0) + 1;
          dataflare.setState([r.k], seen);
          return { ...r, seen };
        };"""
    )
    rows = [{"k": "a"}, {"k": "b"}, {"k": "a"}]
    seen = [{"k": k, "seen": n} for k, n in (("a", 1), ("b", 1), ("a", 2))]
    plugin.case(**{"in": rows}, out=seen, node={"key": ["k"]})
    assert plugin.test()[:2] == (0, "ok    first  3 in, 3 out\n1 passed\n")
    folder = plugin.case(**{"in": rows}, out=seen, node={"keys": ["k"]})
    code, _, err = plugin.test()
    assert code == 2
    assert "keys: Extra inputs are not permitted" in err
    assert f"{folder}/node.json" in err
