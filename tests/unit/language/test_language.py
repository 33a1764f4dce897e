"""Findings are told in English or Chinese; the catalogue has both for all that the workflow room says."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from dataflare.cli.main import main
from dataflare.component import Registry
from dataflare.errors import Finding, Place
from dataflare.language import CHINESE, ENGLISH, Template, language_of, texts, translated
from dataflare.workflow import WorkflowText, load

ROOT = Path(__file__).parents[3]
CATALOGUE = texts(CHINESE)
GENERIC = {"{}: {}", "{}: {}: {}", "{}: {}{}", ""}
"""A node or a key before a message of another room, or the message itself."""

ROOMS = ("component", "connectors", "objects", "processors", "sql")
FOREIGN = {"str(error)", "next(iter(unfit.values()))"}
"""What a check of settings says in words that it does not make."""


def bare(template: str) -> str:
    return re.sub(r"\{\{|\}\}|\{\w*\}", lambda m: m[0] if m[0] in ("{{", "}}") else "{}", template)


def templates(node: ast.AST, function: ast.AST, names: tuple[str, ...] = ()) -> list[str]:
    """Return what an expression of the code may say, with `{}` for what is put in."""
    match node:
        case ast.Constant(value=str() as text):
            return [text.replace("{", "{{").replace("}", "}}")]
        case ast.JoinedStr():
            return ["".join(t for v in node.values for t in (templates(v, function) or ["{}"]))]
        case ast.IfExp():
            return templates(node.body, function, names) + templates(node.orelse, function, names)
        case ast.BoolOp():
            return [t for v in node.values for t in templates(v, function, names)]
        case ast.Name() if node.id not in names:
            found = []
            for inner in ast.walk(function):
                if isinstance(inner, ast.Assign):
                    for target, value in pairs(inner):
                        if target == node.id:
                            found += templates(value, function, (*names, node.id))
            return found
    return []


def pairs(assign: ast.Assign) -> list[tuple[str, ast.AST]]:
    found: list[tuple[str, ast.AST]] = []
    for target in assign.targets:
        if isinstance(target, ast.Name):
            found.append((target.id, assign.value))
        elif isinstance(target, ast.Tuple) and isinstance(assign.value, ast.Tuple):
            found += [(t.id, v) for t, v in zip(target.elts, assign.value.elts, strict=True) if isinstance(t, ast.Name)]
    return found


def said(kind: str) -> set[tuple[str, str]]:
    """Return (file, template) of all messages or hints that the workflow room gives to its findings."""
    found = set()
    for path in sorted((ROOT / "src" / "dataflare" / "workflow").glob("*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef):
                continue
            for call in ast.walk(function):
                name = getattr(getattr(call, "func", None), "attr", "")
                if isinstance(call, ast.Call) and name in ("error", "warning", "info") and len(call.args) > 1:
                    hints = [*call.args[3:4], *(k.value for k in call.keywords if k.arg == "hint")]
                    nodes: list[Any] = [call.args[1]] if kind == "messages" else hints
                    found |= {(path.name, t) for node in nodes for t in templates(node, function)}
    return found


@pytest.mark.parametrize("kind", ["messages", "hints"])
def test_all_that_the_workflow_room_says_is_in_the_catalogue(kind: str) -> None:
    known = {bare(english) for english in CATALOGUE[kind]}
    missing = [(file, text) for file, text in said(kind) if text not in known | GENERIC]
    assert sorted((f, t) for f, t in missing if t.removeprefix("{}: ") not in known) == []


def test_the_probe_sees_what_the_code_says() -> None:
    assert ("unused.py", "{} leads nowhere") in said("messages")
    assert ("wiring.py", "nodes feed each other in a circle: {}") in said("messages")
    assert len(said("messages")) > 60


def refusals() -> set[tuple[str, str]]:
    """Return (file, template) of all that checks of settings say: what their models raise as a ValueError."""
    found = set()
    for path in (p for room in ROOMS for p in sorted((ROOT / "src" / "dataflare" / room).rglob("*.py"))):
        for model in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(model, ast.ClassDef) and any("Config" in ast.unparse(b) for b in model.bases)):
                continue
            for each in ast.walk(model):
                if isinstance(each, ast.Raise) and isinstance(each.exc, ast.Call):
                    told = each.exc.args[0] if ast.unparse(each.exc.func) == "ValueError" else None
                    if told is not None and ast.unparse(told) not in FOREIGN:
                        found |= {(path.name, t) for t in templates(told, each)}
    return found


def test_all_that_checks_of_settings_say_is_in_the_catalogue() -> None:
    known = {bare(english) for english in CATALOGUE["messages"]}
    assert len(refusals()) > 50
    assert sorted((file, text) for file, text in refusals() if text not in known) == []


def required(model: type[BaseModel], seen: dict[type[BaseModel], set[str]]) -> dict[type[BaseModel], set[str]]:
    """Add the descriptions of what must be set, of a model and of all that are inside of it."""
    if model not in seen:
        fields = model.model_fields.values()
        seen[model] = {f.description for f in fields if f.is_required() and f.description}
        for annotation in [f.annotation for f in fields]:
            for inner in inside(annotation):
                required(inner, seen)
    return seen


def inside(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in inside(part)]


def test_the_purpose_of_every_required_setting_is_told_in_chinese() -> None:
    seen: dict[type[BaseModel], set[str]] = {}
    for component in Registry.installed():
        required(component.spec.config, seen)
    purposes = set().union(*required(WorkflowText, seen).values())
    assert len(purposes) > 40
    same = [p for p in purposes if translated(Finding("error", "workflow.missing_key", "", p), CHINESE).hint == p]
    assert sorted(same) == []


@pytest.mark.parametrize("kind", ["messages", "hints"])
def test_both_languages_have_the_same_parts(kind: str) -> None:
    for english, other in CATALOGUE[kind].items():
        assert sorted(Template(english, "").names) == sorted(Template(other, "").names), english
        assert re.search(r"[\u4e00-\u9fff]", other), english


@pytest.mark.parametrize("kind", ["messages", "hints"])
def test_every_template_finds_its_own_texts(kind: str) -> None:
    for english in CATALOGUE[kind]:
        template = Template(english, english)
        text = template.fill(dict.fromkeys(template.names, "'x'"))
        finding = Finding("error", "workflow.test", text if kind == "messages" else "unknown key 'x'", text)
        told = translated(finding, CHINESE)
        assert (told.message if kind == "messages" else told.hint) != text, text


def golden() -> list[Finding]:
    files = sorted((ROOT / "tests" / "golden" / "findings").glob("*.jsonl"))
    lines = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    told = [f for line in lines for f in line.get("findings", [line])]
    return [Finding(f["severity"], f["code"], f["message"], f["hint"]) for f in told]


def test_all_golden_mistakes_are_told_in_chinese() -> None:
    for finding in golden():
        told = translated(finding, CHINESE)
        assert told.code == finding.code
        assert told.message != finding.message, finding.message
        if finding.hint:
            assert told.hint != finding.hint, finding.hint
        assert translated(finding, ENGLISH) is finding


def test_a_node_before_a_message_and_the_lines_under_it_stay() -> None:
    message = "clean: there is no column 'emial'\n  lower(emial)\n        ^"
    told = translated(Finding("error", "workflow.expression", message, "did you mean 'email'?"), CHINESE)
    assert told.message == "clean: 没有名为 'emial' 的列\n  lower(emial)\n        ^"
    assert told.hint == "您是否想写 'email'?"
    strange = Finding("error", "acme.broken", "the frobnicator is loose", "fasten it", Place("f", 1, 2))
    assert translated(strange, CHINESE) == strange


def test_what_is_put_in_may_look_like_a_template() -> None:
    told = translated(Finding("error", "workflow.unknown_key", "unknown key '{key} {{x}}'", ""), CHINESE)
    assert told.message == "未知的键 '{key} {{x}}'"


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, ENGLISH),
        ({"LANG": "zh_CN.UTF-8"}, CHINESE),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, ENGLISH),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW"}, CHINESE),
        ({"LANG": "zh_CN.UTF-8", "DATAFLARE_LANG": "en"}, ENGLISH),
        ({"LC_ALL": "C", "DATAFLARE_LANG": "ZH"}, CHINESE),
        ({"DATAFLARE_LANG": "", "LANG": "de_DE"}, ENGLISH),
    ],
)
def test_the_environment_chooses(environ: dict[str, str], language: str) -> None:
    assert language_of(environ) == language


def test_the_command_line_speaks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "w.yaml"
    file.write_text("id: w\nsuorces: {}\n")
    monkeypatch.setenv("DATAFLARE_LANG", "zh")
    assert main(["validate", str(file)]) == 2
    said = capsys.readouterr().out
    assert "错误" in said
    assert "未知的键 'suorces'" in said
    assert "提示: 您是否想写 'sources'?" in said
    assert main(["validate", "--json", str(file)]) == 2
    told = json.loads(capsys.readouterr().out)
    assert "未知的键 'suorces'" in [f["message"] for f in told["findings"]]
    assert main(["run", str(tmp_path / "none.yaml")]) == 2
    assert "无法读取" in capsys.readouterr().err


def test_findings_themselves_stay_english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAFLARE_LANG", "zh")
    found = load("id: w\nsuorces: {}\n", registry=Registry.installed(), environ={}).findings
    assert "unknown key 'suorces'" in [f.message for f in found]


def test_what_a_run_would_alter_is_told_in_chinese() -> None:
    from dataflare.component.alteration import Alteration
    from dataflare.sql.following import left, refused

    made = [
        Alteration("t", "rename", "b", "a", "b", ("alter",)),
        Alteration("t", "add", "a", "", "int", ("alter",)),
        Alteration("t", "drop", "a", "int", "", ("alter",)),
        Alteration("t", "nullable", "a", statements=("alter",)),
        Alteration("t", "retype", "a", "int", "bigint", ("alter",)),
    ]
    texts_told = [f"node: table t: {a}" for a in made] + [left(made[2]), left(made[4]), refused(made[1]).what]
    for text in texts_told:
        finding = Finding("info", "schema.would_alter", text, refused(made[0]).hint)
        told = translated(finding, CHINESE)
        assert told.message != text
        assert told.hint != finding.hint
