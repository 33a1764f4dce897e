"""The reference page of the workflow file, from its model: every key, its type, default, meaning and an example."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dataflare.cli.catalogue import settings_rows
from dataflare.component import Registry
from dataflare.workflow import WorkflowText
from dataflare.workflow.json_schema import workflow_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXAMPLES = Path(__file__).with_name("workflow_examples.yaml")
NOTE = "<!-- Written by `make docs` from workflow/model.py and scripts/workflow_examples.yaml; edit those. -->"
SECTIONS = ("runtime", "secrets", "sources", "transformations", "destinations", "schedule", "tests")
NAMED = ("secrets", "sources", "transformations", "destinations")
"""Maps from names of one's own to what the section describes."""

NOT_YET = {
    "schedule": "`dataflare run FOLDER` keeps it, as [Schedules](../scheduling.md) says; `run FILE` runs now and once.",
    "runtime": "The profiles `edge` and `cloud` run as `standalone` so far.",
    "sources": "`event_time` has no effect before there are windows.",
}
INTRODUCTION = """\
A workflow is one file, in YAML or JSON. Keys that are not here are errors, with their line and the nearest key.

- A *duration* is a number with a unit: `500ms`, `10s`, `1m30s`, `1h`, `7d`. A *size* too: `64MiB`, `1GB`.
- Any value may hold `${NAME}` or `${NAME:-default}`, from the environment, and `${secret:STORE/KEY}`, from `secrets`.
  Inside `{}` and `[]` they stand in double quotes; so does a value that holds a comma, such as `"decimal(12,2)"`.
- Relative paths begin at the folder of the file.

What stands in `config` is described with each [component](README.md). [workflow.schema.json](workflow.schema.json) is
all of this for editors, and `dataflare schema` prints it with the components that are installed:

```yaml
# yaml-language-server: $schema=workflow.schema.json
```
"""


def schema_file() -> str:
    """Return the text of the schema, with the components that are built in."""
    built_in = Registry.of(*(c for c in Registry.installed() if c.__module__.startswith("dataflare.")))
    return json.dumps(workflow_schema(built_in), ensure_ascii=False, indent=1) + "\n"


def page() -> str:
    """Return the page."""
    schema = WorkflowText.model_json_schema(by_alias=True)
    rows = settings_rows(schema)
    top = [r for r in rows if "." not in r[0] and "[" not in r[0]]
    whole = yaml.safe_load(EXAMPLES.read_text(encoding="utf-8"))["whole"]
    parts = ["# The workflow file", NOTE, INTRODUCTION.rstrip(), "## A whole one", fenced(whole), "## Its keys"]
    parts.append(table(top, "", linked=True))
    for section in SECTIONS:
        begins = (f"{section}.", f"{section}[].", f"{section}.NAME.")
        inner = [r for r in rows if r[0].startswith(begins)]
        parts += [f"## `{section}`", meaning(section, top)]
        parts += [NOT_YET[section]] if section in NOT_YET else []
        parts += [table(inner, section), *(fenced({section: e}) for e in examples()[section])]
    return "\n\n".join(parts) + "\n"


@cache
def examples() -> dict[str, list[Any]]:
    """Return the values of each section that the page shows."""
    found: dict[str, list[Any]] = yaml.safe_load(EXAMPLES.read_text(encoding="utf-8"))["sections"]
    return found


def meaning(section: str, rows: list[tuple[str, str, str, str]]) -> str:
    """Return what a section is, and how it is written."""
    said = next(r[3] for r in rows if r[0] == section)
    shape = " A map: each entry has a name of your own, here NAME." if section in NAMED else ""
    return said + (" A list." if section == "tests" else shape)


def table(rows: list[tuple[str, str, str, str]], section: str, *, linked: bool = False) -> str:
    """Return rows of settings as a table, with an example of each."""
    lines = ["| key | type | default | meaning | example |", "|---|---|---|---|---|"]
    for name, kind, default, words in rows:
        shown = default if default in ("", "required") else f"`{default}`"
        key = f"[`{name}`](#{name})" if linked and name in SECTIONS else f"`{name}`"
        example = "" if linked and name in SECTIONS else sample(section, name)
        cells = (key, f"`{kind}`" if " | " in kind else kind, shown, words, example)
        lines.append(f"| {' | '.join(c.replace('|', chr(92) + '|').replace(chr(10), ' ') for c in cells)} |")
    return "\n".join(lines)


def sample(section: str, name: str) -> str:
    """Return the value that a key has in an example, as one writes it in the file; nothing where it has none."""
    sources = examples()[section] if section else yaml.safe_load(EXAMPLES.read_text(encoding="utf-8"))["keys"]
    path = [step for part in name.removeprefix(section).split(".") for step in part.split("[]") if step]
    value = next((found for source in sources for found in walk(source, path)), None)
    if value is None or (isinstance(value, dict | list) and len(json.dumps(value)) > 60):  # noqa: PLR2004 - the page's width
        return ""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1000).removesuffix("...\n").strip()
    return f"`{text}`"


def walk(value: Any, path: list[str]) -> Iterator[Any]:
    """Yield what stands at a path; NAME is any name, and lists are walked through."""
    if isinstance(value, list) and path:
        for item in value:
            yield from walk(item, path)
    elif not path:
        yield value
    elif isinstance(value, dict):
        for key in value if path[0] == "NAME" else [path[0]]:
            if key in value:
                yield from walk(value[key], path[1:])


def fenced(value: Mapping[str, Any]) -> str:
    """Return a value as a block of YAML."""
    return f"```yaml\n{yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=100)}```"


__all__ = ["examples", "page", "sample", "schema_file"]
