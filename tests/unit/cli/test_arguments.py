"""Help, version and wrong arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dataflare.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = (
    *(
        "run",
        "validate",
        "plan",
        "status",
        "history",
        "trigger",
        "preview",
        "top",
        "tap",
        "doctor",
        "pause",
        "resume",
        "stop",
        "list",
        "describe",
        "schema",
        "demo",
    ),
    *(f"dead-letter {name}" for name in ("list", "show", "replay", "drop")),
    *(f"cdc {name}" for name in ("status", "drop", "resnapshot")),
    "schema diff",
    *(f"checkpoint {name}" for name in ("list", "show", "now", "rollback", "export", "import")),
)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command_in_a_whole_sentence(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    text = capsys.readouterr().out
    for command in COMMANDS:
        assert f"\n  {command.split()[0]} " in text
    commands = text.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line for line in commands if not line.endswith(".") or line.endswith("...")] == []
    assert "130 and 143" in " ".join(text.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    assert f"Usage: dataflare {command} " in capsys.readouterr().out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("dataflare 0.")


@pytest.mark.parametrize(
    ("arguments", "said", "cure"),
    [
        (["rn", "w.yaml"], "Did you mean 'run'", "try: dataflare --help"),
        (["run"], "Missing argument 'path'", "try: dataflare run --help"),
        (["run", "w.yaml", "--paralelism", "2"], "--parallelism", "try: dataflare run --help"),
        (["run", "w.yaml", "--parallelism", "0"], "'--parallelism'", "try: dataflare run --help"),
        (["checkpoint", "show", "w", "last"], "'epoch'", "try: dataflare checkpoint show --help"),
        (["run", "w.yaml", "--log", "xml"], "no log format 'xml'", "json"),
        (["validate", "w.yaml", "--level", "deep"], "no level 'deep'", "static, plan, connect, sample"),
        (["list", "sauce"], "no kind 'sauce'", "source"),
        (["describe", "fille"], "no component named 'fille'", "file"),
    ],
)
def test_wrong_arguments_are_said_with_a_cure(
    arguments: list[str], said: str, cure: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert said in err
    assert cure in err.partition("hint: ")[2]


FILE_COMMANDS = (
    *(["run"], ["validate"], ["plan"], ["status"], ["pause"], ["resume"], ["stop"]),
    *(["checkpoint", word] for word in ("list", "now")),
)


@pytest.mark.parametrize("command", FILE_COMMANDS, ids=" ".join)
def test_a_workflow_file_that_is_not_there_is_a_wrong_argument(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "orders.yaml").write_text("id: orders\n")
    assert main([*command, str(tmp_path / "order.yaml"), "--json"]) == 2
    out, err = capsys.readouterr()
    told = json.loads(err or out)
    finding = told["findings"][0] if "findings" in told else told
    assert finding["file"].endswith("order.yaml")
    assert finding["hint"] == "did you mean 'orders.yaml'?"


@pytest.mark.parametrize("rest", [["rollback", "1"], ["import", "epoch.save"], ["show", "1"], ["export", "x.save"]])
def test_a_workflow_file_that_is_not_there_is_told_before_anything_else(
    rest: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["checkpoint", rest[0], str(tmp_path / "no.yaml"), *rest[1:]]) == 2
    assert "no.yaml" in capsys.readouterr().err


def test_a_group_of_commands_alone_shows_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint"]) == 2
    said = "".join(capsys.readouterr())
    assert "Usage: dataflare checkpoint" in said
    assert "rollback" in said


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("arguments", [["--help"], ["checkpoint", "--help"]])
def test_help_fits_a_narrow_terminal(
    arguments: list[str], columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert [line for line in lines if line.endswith("...") and not line.startswith("Usage")] == []


def test_wrong_arguments_have_the_shape_of_a_finding_where_json_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--json"]) == 2
    finding = json.loads(capsys.readouterr().err)
    assert set(finding) == {"severity", "code", "message", "hint", "file", "line", "column", "path"}


def test_the_shell_completes_commands(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "_DATAFLARE_COMPLETE": "complete_bash",
        "COMP_WORDS": "dataflare check",
        "COMP_CWORD": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().out.split() == ["checkpoint"]
