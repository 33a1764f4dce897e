"""`list` names what is installed, `describe` tells all that a component's own description tells."""

from __future__ import annotations

import json

import pytest

from dataflare.cli.catalogue import settings_rows
from dataflare.cli.main import main
from dataflare.component import Config, Duration, Field, Size


def test_components_are_listed_by_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"source", "processor", "destination", "state_store", "executor"} <= set(found)
    assert found["state_store"] == ["memory", "sqlite"]
    assert "filter" in found["processor"]


@pytest.mark.parametrize("kind", ["state_store", "state-stores"])
def test_one_kind_may_be_asked_for(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", kind]) == 0
    assert capsys.readouterr().out.splitlines() == ["kind         type", "state_store  memory", "             sqlite"]


def test_a_component_is_described_with_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "state_store/sqlite"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("state_store sqlite")
    assert "path     text  ./.dataflare  The folder of the state; relative to the workflow file." in lines


def test_a_description_is_as_wide_as_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["describe", "source/sqlite"]) == 0
    description = capsys.readouterr().out.partition("\npromise")[0]
    assert 50 < max(map(len, description.splitlines())) <= 60


def test_a_name_that_several_kinds_have_is_described_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "file", "--json"]) == 0
    pages = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [page["kind"] for page in pages] == ["source", "destination", "lookup"]
    assert set(pages[0]) == {"kind", "name", "status", "summary", "description", "traits", "settings", "examples"}
    assert pages[0]["settings"]["properties"]["path"]["description"]


class Inner(Config):
    """What is inside."""

    wait: Duration = Field(1.5, description="How long.")


class Outer(Config):
    """All shapes that settings have."""

    name: str = Field(description="Who.")
    size: Size | None = Field(4 << 20, description="How large.")
    names: list[str] = Field([], description="Who else.")
    columns: dict[str, str] = Field({}, description="Types by name.")
    loud: bool = Field(default=False, description="Whether.")
    inner: Inner = Field(Inner(), description="Inside.")
    more: list[Inner] = Field([], description="Several inside.")
    named: dict[str, Inner] | None = Field(None, description="Inside, by name.")


def test_settings_of_all_shapes_become_rows() -> None:
    assert settings_rows(Outer.model_json_schema()) == [
        ("name", "text", "required", "Who."),
        ("size", "size", "4MiB", "How large."),
        ("names", "list of text", "", "Who else."),
        ("columns", "map of text", "", "Types by name."),
        ("loud", "true | false", "false", "Whether."),
        ("inner", "map", "", "Inside."),
        ("inner.wait", "duration", "1.5s", "How long."),
        ("more", "list of map", "", "Several inside."),
        ("more[].wait", "duration", "1.5s", "How long."),
        ("named", "map of map", "", "Inside, by name."),
        ("named.NAME.wait", "duration", "1.5s", "How long."),
    ]
