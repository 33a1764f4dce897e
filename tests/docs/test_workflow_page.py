"""The page of the workflow file shows an example of every key; examples and schema are those of the model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from dataflare.cli.catalogue import settings_rows
from dataflare.cli.main import main
from dataflare.component import Registry
from dataflare.workflow import WorkflowText, load

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "workflow.md"
SCHEMA = json.loads((ROOT / "docs" / "reference" / "workflow.schema.json").read_text())
EXAMPLES = yaml.safe_load((ROOT / "scripts" / "workflow_examples.yaml").read_text())


def test_the_page_has_every_key_of_the_model_each_once() -> None:
    shown = re.findall(r"^\| \[?`([\w.\[\]]+)`", PAGE.read_text(), re.MULTILINE)
    wanted = [row[0] for row in settings_rows(WorkflowText.model_json_schema(by_alias=True))]
    assert sorted(shown) == sorted(wanted)
    assert len(wanted) > 70


def keys(value: Any, prefix: str = "") -> Iterator[str]:
    """Yield the names of all keys in a value, by their way; entries of maps with names of one's own as NAME."""
    if isinstance(value, list):
        for item in value:
            yield from keys(item, prefix)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield f"{prefix}{key}"
            yield from keys(inner, f"{prefix}{key}.")


def test_the_examples_hold_every_key() -> None:
    held = set(keys(EXAMPLES["keys"]))
    for section, values in EXAMPLES["sections"].items():
        named = section in ("secrets", "sources", "transformations", "destinations")
        for value in values:
            for one in value.values() if named else [value]:
                held |= set(keys(one, f"{section}.NAME." if named else f"{section}."))
    own = re.compile(r"^(tests\.(?:given|generate|mocks|expect|expect_errors))\.[^.]+\.")
    held = {own.sub(r"\1.NAME.", key) for key in held}
    wanted = {row[0].replace("[]", "") for row in settings_rows(WorkflowText.model_json_schema(by_alias=True))}
    assert sorted(wanted - held - set(EXAMPLES["sections"])) == []


@pytest.mark.parametrize("section", EXAMPLES["sections"])
def test_the_examples_of_a_section_are_what_the_model_takes(section: str) -> None:
    for value in EXAMPLES["sections"][section]:
        WorkflowText.model_validate({"id": "page", section: value})


def test_the_whole_example_is_valid() -> None:
    text = yaml.safe_dump(EXAMPLES["whole"], sort_keys=False)
    loaded = load(text, registry=Registry.installed(), environ={})
    assert [str(f) for f in loaded.findings] == []


def references(value: Any) -> Iterator[str]:
    """Yield every reference in a schema."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_reference_of_the_schema_leads_somewhere() -> None:
    found = set(references(SCHEMA))
    assert len(found) > 30
    for reference in found:
        at = SCHEMA
        for step in reference.removeprefix("#/").split("/"):
            at = at[step]


def test_the_schema_knows_the_settings_of_every_component() -> None:
    known = {name for name in SCHEMA["$defs"] if "." in name}
    kinds = ("source", "processor", "destination", "state_store")
    built_in = [c.spec for c in Registry.installed() if c.__module__.startswith("dataflare.") and c.spec.kind in kinds]
    assert known == {f"{spec.kind}.{spec.name}" for spec in built_in}
    for spec in built_in:
        assert set(spec.schema().get("properties", {})) <= set(
            SCHEMA["$defs"][f"{spec.kind}.{spec.name}"]["properties"]
        )


def test_the_command_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["properties"] == SCHEMA["properties"]
    assert SCHEMA["$defs"].keys() <= printed["$defs"].keys()
