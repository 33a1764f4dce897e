"""Help, version and wrong arguments."""

from __future__ import annotations

import json

import pytest

from dataflare.cli.main import main

COMMANDS = (
    *("run", "validate", "plan", "status", "pause", "resume", "stop", "list", "describe", "demo"),
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
        (["run"], "Missing argument 'file'", "try: dataflare run --help"),
        (["run", "w.yaml", "--paralelism", "2"], "--parallelism", "try: dataflare run --help"),
        (["run", "w.yaml", "--parallelism", "0"], "'--parallelism'", "try: dataflare run --help"),
        (["checkpoint", "show", "w", "last"], "'epoch'", "try: dataflare checkpoint show --help"),
        (["run", "w.yaml", "--log", "xml"], "no log format 'xml'", "json"),
        (["validate", "w.yaml", "--level", "connect"], "no level 'connect'", "static, sample"),
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
