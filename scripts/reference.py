"""Writes docs/reference: a page for each built-in component, made of its own description; `--check` only compares."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dataflare.component import Registry, Spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
NOTE = "<!-- Written by `make docs` from the component's own description; edit that. -->"


def pages() -> dict[str, str]:
    """Return the text of every page by file name, the index first."""
    specs = [c.spec for c in Registry.installed() if c.__module__.startswith("dataflare.")]
    specs.sort(key=lambda spec: (spec.kind, spec.name))
    return {"README.md": index(specs)} | {file_name(spec): page(spec) for spec in specs}


def file_name(spec: Spec) -> str:
    """Return the name of the page of a component."""
    return f"{spec.kind}-{spec.name}.md"


def index(specs: Sequence[Spec]) -> str:
    """Return the page that lists all others."""
    rows = [f"| {s.kind} | [`{s.name}`]({file_name(s)}) | {s.status} | {s.summary} |" for s in specs]
    return "\n".join(["# Components", "", NOTE, "", "| kind | name | status | |", "|---|---|---|---|", *rows, ""])


def page(spec: Spec) -> str:
    """Return the page of one component."""
    kind = spec.kind.replace("_", " ")
    parts = [f"# `{spec.name}`, a {kind}", NOTE, f"{spec.summary}\n\nStatus: {spec.status}.", spec.description]
    if promises := list(traits(spec.traits)):
        parts.append("## Promises\n\n" + "\n".join(promises))
    schema = spec.schema()
    if schema.get("properties"):
        parts.append("## Settings\n\n" + "\n".join(settings(schema)))
    if spec.examples:
        parts.append("## Examples\n\n" + "\n\n".join(example(spec, settings) for settings in spec.examples))
    return "\n\n".join(part for part in parts if part) + "\n"


def traits(value: Any) -> Iterable[str]:
    """Yield a line for each promise that the component makes."""
    if not dataclasses.is_dataclass(value):
        return
    for field in dataclasses.fields(value):
        held = getattr(value, field.name)
        words = ", ".join(f"`{v}`" for v in held) if isinstance(held, tuple) else plain(held)
        if words:
            yield f"- {field.name.replace('_', ' ')}: {words}"


def plain(value: Any) -> str:
    """Return a promise in words; nothing where there is none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"`{value}`" if value is not None else ""


def settings(schema: Mapping[str, Any]) -> Iterable[str]:
    """Yield the table of settings."""
    yield "| setting | type | default | meaning |"
    yield "|---|---|---|---|"
    required = set(schema.get("required", ()))
    for name, about in schema["properties"].items():
        default = "required" if name in required else f"`{json.dumps(about.get('default'))}`"
        meaning = str(about.get("description", "")).replace("|", "\\|").replace("\n", " ")
        yield f"| `{name}` | {type_words(about, schema)} | {default} | {meaning} |"


def type_words(about: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Return the type of a setting in words."""
    if "$ref" in about:
        return type_words(schema["$defs"][about["$ref"].rpartition("/")[2]], schema)
    if "enum" in about:
        return " or ".join(f"`{word}`" for word in about["enum"])
    if "const" in about:
        return f"`{about['const']}`"
    options = about.get("anyOf") or about.get("oneOf")
    if options:
        words = [type_words(option, schema) for option in options if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    if about.get("type") == "array":
        return f"list of {type_words(about.get('items', {}), schema)}"
    return {"object": "map", "string": "text"}.get(str(about.get("type")), str(about.get("type", "any")))


def example(spec: Spec, config: Mapping[str, Any]) -> str:
    """Return one example as it stands in a workflow file."""
    text = yaml.safe_dump({"type": spec.name, "config": dict(config)}, sort_keys=False, allow_unicode=True)
    return f"```yaml\n{text}```"


def main() -> int:
    """Write the pages, or tell which ones are not up to date."""
    wanted = pages()
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    stale = sorted(name for name in {*wanted, *there} if wanted.get(name) != there.get(name))
    if "--check" in sys.argv:
        print("\n".join(f"docs/reference/{name} is not up to date; cure: make docs" for name in stale) or "up to date")
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in stale:
        if name in wanted:
            (FOLDER / name).write_text(wanted[name], encoding="utf-8")
        else:
            (FOLDER / name).unlink()
        print(f"docs/reference/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
