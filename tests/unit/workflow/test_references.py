"""Environment variables and secrets."""

from __future__ import annotations

import json

import pytest
from tests.golden.stand_ins import REGISTRY

from dataflare.errors import UnavailableError, WorkflowError
from dataflare.workflow import load, resolve_secrets
from dataflare.workflow.findings import Findings
from dataflare.workflow.reading import read_document
from dataflare.workflow.references import substitute, unescape


def put_in(text, environ):
    findings = Findings()
    document = read_document(f"a: {json.dumps(text)}\n", findings)
    substitute(document, environ, findings)
    unescape(document)
    return document.plain()["a"], [f.code for f in findings.found()]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${X}", "1"), ("a${X}b${X}", "a1b1"), ("${Y:-d}", "d"), ("${Y:-}", ""), ("${X:-d}", "1"), ("$${X}", "${X}"),
        ("${secret:a/b}", "${secret:a/b}"), ("$X", "$X"), ("${Y:-a:-b}", "a:-b"), ("${E}", ""),
    ],
)  # fmt: skip
def test_variables_are_put_in(text, value):
    assert put_in(text, {"X": "1", "E": ""}) == (value, [])


def test_a_missing_variable_is_an_error_that_says_the_cure():
    loaded = load("id: a\ndescription: ${NO}\n", registry=REGISTRY, environ={})
    (finding,) = [f for f in loaded.findings if f.code == "workflow.missing_environment"]
    assert (finding.place.line, finding.place.column) == (2, 14)
    assert "${NO:-default}" in finding.hint


@pytest.mark.parametrize("text", ["${}", "${a b}", "${1}", "${:-x}"])
def test_what_is_no_reference_is_an_error(text):
    assert put_in(text, {})[1] == ["workflow.reference"]


def test_a_variable_cannot_smuggle_in_a_reference_to_a_secret():
    value, codes = put_in("${X}", {"X": "${secret:pg/PASSWORD}"})
    assert codes == []
    assert value == "${secret:pg/PASSWORD}"
    resolved = resolve_secrets({"a": "$${secret:pg/P}-${secret:pg/P}"}, {"pg": {"type": "env"}}, {"P": "x"})
    assert resolved == {"a": "${secret:pg/P}-x"}


def test_values_of_the_environment_are_not_in_messages():
    text = "id: a\nruntime: {budget: {memory: '${M}'}, profile: '${P}'}\n"
    loaded = load(text, registry=REGISTRY, environ={"M": "hunter2", "P": "hunter2"})
    assert len([f for f in loaded.findings if f.place.line == 2]) == 2
    assert "hunter2" not in str(loaded.findings)


def test_secrets_come_from_the_environment_and_from_files(tmp_path):
    (tmp_path / "s.json").write_text('{"user": "ann", "port": 5432}')
    (tmp_path / "mounted").mkdir()
    (tmp_path / "mounted" / "password").write_text("two\n")
    stores = {
        "env": {"type": "env", "prefix": "APP_"},
        "json": {"type": "file", "path": "s.json"},
        "folder": {"type": "file", "path": "mounted"},
    }
    config = {
        "url": "pg://${secret:json/user}:${secret:folder/password}@h:${secret:json/port}",
        "deep": {"list": ["${secret:env/KEY}", 1, None]},
    }
    assert resolve_secrets(config, stores, {"APP_KEY": "one"}, tmp_path) == {
        "url": "pg://ann:two@h:5432",
        "deep": {"list": ["one", 1, None]},
    }


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("${secret:env/NO}", UnavailableError),
        ("${secret:json/no}", UnavailableError),
        ("${secret:gone/x}", UnavailableError),
        ("${secret:folder/../s.json}", WorkflowError),
        ("${secret:folder/..}", WorkflowError),
        ("${secret:unknown/x}", WorkflowError),
        ("${secret:env}", WorkflowError),
    ],
)
def test_a_secret_that_is_not_there_is_named_by_its_reference_only(tmp_path, reference, kind):
    (tmp_path / "s.json").write_text('{"user": "ann"}')
    (tmp_path / "folder").mkdir()
    stores = {"env": {"type": "env"}, "json": {"type": "file", "path": "s.json"}}
    stores |= {"folder": {"type": "file", "path": "folder"}, "gone": {"type": "file", "path": "gone"}}
    with pytest.raises(kind) as raised:
        resolve_secrets({"a": reference}, stores, {"OTHER": "hunter2"}, tmp_path)
    assert reference in str(raised.value)
    assert "ann" not in str(raised.value)
