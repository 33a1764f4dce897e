"""What the command line prints lines up, and has colours where they are seen."""

from __future__ import annotations

import io

import pytest

from dataflare.cli.console import findings_text, painted, say_error, table, width
from dataflare.errors import Finding, InvalidWorkflowError, Place, UnavailableError, WorkflowError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


FINDINGS = [
    Finding("error", "workflow.a", "no such type", "did you mean 'filter'?", Place("w.yaml", 9, 11, "a.type")),
    Finding("warning", "workflow.b", "leads nowhere", "", Place("w.yaml", 120, 3, "b")),
]


def test_columns_of_a_table_line_up_also_with_wide_letters_and_styles() -> None:
    text = table(("name", "rows"), [("订单", "1,000"), ("\x1b[32mx\x1b[0m", "7")], right=[1], stream=io.StringIO())
    lines = text.splitlines()
    assert lines == ["name   rows", "订单  1,000", "\x1b[32mx\x1b[0m         7"]
    assert {width(line) for line in lines} == {11}


def test_a_long_last_column_is_folded_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    rows = [("node", "word " * 30)]
    assert len(table(("a", "b"), rows, stream=io.StringIO()).splitlines()) == 2
    folded = table(("a", "b"), rows, stream=Terminal()).splitlines()
    assert len(folded) > 3
    assert max(width(line) for line in folded) <= 60
    assert folded[2].startswith("      word")


def test_findings_line_up_and_hints_stand_under_their_message() -> None:
    assert findings_text(FINDINGS, io.StringIO()).splitlines() == [
        "error    w.yaml:9:11   no such type",
        "                       hint: did you mean 'filter'?",
        "warning  w.yaml:120:3  leads nowhere",
    ]


@pytest.mark.parametrize(
    ("stream", "environ", "shown"),
    [
        (Terminal(), {}, "\x1b[31mx\x1b[0m"),
        (io.StringIO(), {}, "x"),
        (Terminal(), {"NO_COLOR": "1"}, "x"),
        (Terminal(), {"TERM": "dumb"}, "x"),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, environ: dict[str, str], shown: str
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert painted("x", "31", stream) == shown


def test_an_error_says_what_where_and_the_cure(capsys: pytest.CaptureFixture[str]) -> None:
    say_error(UnavailableError("the disk is full", hint="make room", place=Place("w.yaml", 3, 1, "out")))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["error: the disk is full", "  at w.yaml:3:1 (out)", "  hint: make room"]


def test_all_findings_of_a_workflow_are_said_as_json_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    say_error(InvalidWorkflowError(FINDINGS), as_json=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0] == (
        '{"severity": "error", "code": "workflow.a", "message": "no such type", "hint": "did you mean \'filter\'?", '
        '"file": "w.yaml", "line": 9, "column": 11, "path": "a.type"}'
    )


def test_what_a_stranger_says_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    say_error(WorkflowError("a\x1b[2Jb\x9bc\u202ed\n\te", hint="\x07"))
    assert capsys.readouterr().err == "error: a\ufffd[2Jb\ufffdc\ufffdd\n\te\n  hint: \ufffd\n"
