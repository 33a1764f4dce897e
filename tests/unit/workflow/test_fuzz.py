"""Whatever the text, reading it ends in findings."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.golden.stand_ins import REGISTRY

from dataflare.component import Registry
from dataflare.program.text import yaml_text
from dataflare.workflow import load
from dataflare.workflow.findings import Findings
from dataflare.workflow.reading import read_document

TEXTS = [p.read_text() for p in sorted(Path("tests/golden/workflows").glob("*.yaml"))]
PIECES = [
    "{",
    "}",
    "[",
    "]",
    ": ",
    "\n",
    "  ",
    "- ",
    "&a",
    "*a",
    "<<: *a",
    "!!int",
    '"',
    "'",
    "${",
    "${X}",
    "#",
    "|",
    ">",
]
PIECES += [
    "\t",
    "\x00",
    "\ud7ff",
    "\U0001f600",
    "null",
    "on",
    "1e999",
    "99999999999999999999999",
    "type: file",
    "?",
    "%",
]
SLOW = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def check(text: str | bytes, tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    file = tmp_path_factory.getbasetemp() / name
    file.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    loaded = load(file, registry=REGISTRY, environ={"X": "${secret:a/b}"})
    assert loaded.plan is not None or any(f.severity == "error" for f in loaded.findings)
    for finding in loaded.findings:
        assert finding.code.count(".") >= 1
        assert finding.place.file == str(file)


@SLOW
@given(text=st.text() | st.lists(st.sampled_from(PIECES) | st.text(max_size=4)).map("".join))
def test_arbitrary_text_only_gives_findings(text, tmp_path_factory):
    check(text, tmp_path_factory, "any.yaml")
    check(text, tmp_path_factory, "any.json")


@SLOW
@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_only_give_findings(data, tmp_path_factory):
    check(data, tmp_path_factory, "bytes.yaml")


@SLOW
@given(data=st.data(), text=st.sampled_from(TEXTS))
def test_a_damaged_workflow_only_gives_findings(data, text, tmp_path_factory):
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 30))
        text = text[:start] + data.draw(st.sampled_from([*PIECES, ""])) + text[start + length :]
    check(text, tmp_path_factory, "damaged.yaml")


PATHS = ["id", "runtime", "runtime.state", "secrets.pg", "sources", "sources.shop", "sources.shop.config"]
PATHS += ["sources.shop.tags", "tests", "transformations.clean", "transformations.clean.inputs", "schedule"]
PATHS += ["transformations.split.config", "destinations.lake", "destinations.lake.write_mode", "metadata"]
PATHS += ["destinations.lake.config.key"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["file", "route"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "config", "inputs", "path", "routes", "key"]) | st.text(max_size=5), inner
        )
    ),
    max_leaves=12,
)


@SLOW
@given(
    value=VALUES,
    path=st.sampled_from(PATHS),
)
def test_any_value_at_any_place_only_gives_findings(value, path):
    loaded = load(TEXTS[-1], registry=REGISTRY, environ={"SHOP_PASSWORD": "x"}, overrides={path: value})
    assert loaded.plan is not None or any(f.severity == "error" for f in loaded.findings)


def tree_paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value below this one."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in entries for found in [(*path, key), *tree_paths(inner, (*path, key))]]


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


PLAIN = [document.plain() for text in TEXTS if (document := read_document(text, Findings())) is not None]
ODD: list[Any] = [
    None,
    True,
    -1,
    10**30,
    "",
    "*",
    "a.b.c",
    "*.errors",
    "${X}",
    "${",
    "${secret:a/b}",
    "1 +",
    "(",
    "'",
    "on",
]
ODD += [[], {}, [[]], [{}], ["a", "a"], {"": 1}, {"type": "file"}, "1s", "5MiB", "python:os:path", "count(*)", "\x00"]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """Return a valid workflow with a few of its parts lost, replaced, moved, renamed or said twice."""
    document = copy.deepcopy(draw(st.sampled_from(PLAIN)))
    for _ in range(draw(st.integers(1, 4))):
        paths = tree_paths(document)
        path = draw(st.sampled_from(paths))
        parent, key = at(document, path[:-1]), path[-1]
        match draw(st.sampled_from(["lose", "replace", "move", "rename", "repeat"])):
            case "lose":
                del parent[key]
            case "replace":
                parent[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
            case "move":
                parent[key] = copy.deepcopy(at(document, draw(st.sampled_from(paths))))
            case "rename" if isinstance(parent, dict):
                parent[draw(st.sampled_from(["", "x", "type", "config", "inputs", "lookup", f"{key}x"]))] = parent.pop(
                    key
                )
            case "repeat" if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[key]))
    return document


@SLOW
@given(document=mutated(), as_json=st.booleans())
def test_a_workflow_with_parts_of_it_changed_only_gives_findings_inside_of_the_file(document, as_json):
    text = json.dumps(document) if as_json else f"# a workflow\n{yaml_text(document)}"
    loaded = load(text, registry=REGISTRY, environ={"X": "1"})
    assert loaded.plan is not None or any(f.severity == "error" for f in loaded.findings)
    lines = text.split("\n")
    for finding in loaded.findings:
        assert finding.code.count(".") >= 1
        assert finding.place.line <= len(lines)
        if finding.place.line:
            assert finding.place.column <= len(lines[finding.place.line - 1]) + 1
        elif finding.severity == "error":
            raise AssertionError(f"no place: {finding}")


DEEP = {
    "lists of YAML": "a: " + "[" * 100_000,
    "maps of YAML": "a: " + "{a: " * 100_000,
    "indentation": "".join(f"{'  ' * n}a:\n" for n in range(500)),
    "items": "- " * 100_000,
    "keys": "? " * 100_000,
    "aliases of aliases": "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 500)),
    "lists of JSON": '{"a": ' + "[" * 100_000,
    "maps of JSON": '{"a":' * 100_000,
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_what_is_nested_too_deeply_is_told_with_its_place(text):
    findings = load(f"{text}\n", registry=REGISTRY, environ={}).findings
    told = [f for f in findings if f.code in ("workflow.too_deep", "workflow.complex_key")]
    assert told
    assert all(f.place.line >= 1 and f.place.column >= 1 and f.hint for f in told)


NINE = [",".join([f"*a{n}"] * 9) for n in range(30)]
LARGE = {
    "aliases": "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{NINE[n]}]\n" for n in range(30)),
    "merged maps": "a0: &a0 {x: [1, 2, 3]}\n"
    + "".join(f"a{n + 1}: &a{n + 1} {{<<: [{NINE[n]}], y: [{NINE[n]}]}}\n" for n in range(30)),
}


@pytest.mark.once
@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE)
def test_what_grows_by_aliases_is_bounded(text):
    (finding,) = [f for f in load(text, registry=REGISTRY, environ={}).findings if f.severity == "error"]
    assert finding.code in ("workflow.too_many_values", "workflow.too_deep")
    assert finding.place.line > 1


def test_a_value_that_commas_cut_into_thousands_is_told_once():
    text = "# x\n{id: f(" + "1,\n" * 5000 + ")}"
    codes = [f.code for f in load(text, registry=REGISTRY, environ={}).findings]
    assert codes.count("workflow.unquoted_comma") == 1
    assert len(codes) < 10


def test_a_circle_of_many_nodes_is_told_once():
    count = 2000
    nodes = "".join(
        f"  t{n}: {{type: filter, inputs: [t{(n + 1) % count}], config: {{condition: 'true'}}}}\n" for n in range(count)
    )
    text = f"id: x\nsources: {{s: {{type: memory, config: {{rows: []}}}}}}\ntransformations:\n{nodes}"
    found = load(text, registry=Registry.installed(), environ={}, level="static").findings
    assert [f.code for f in found].count("workflow.cycle") == 1
