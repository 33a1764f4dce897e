"""The commands `list`, `describe` and `schema`: which components there are, what they take and promise."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dataflare.cli.console import BOLD, DIM, painted, table, write, write_json
from dataflare.errors import UnavailableError, WorkflowError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component import Kind, Registry, Spec


_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true | false",
    "object": "map",
    "array": "list",
    "duration": "duration",
    "size": "size",
    "rate": "share, such as 1%",
}
_UNITS = ((30, "GiB"), (20, "MiB"), (10, "KiB"), (0, "B"))


def kinds() -> dict[str, Kind[Any]]:
    """Return the kinds of components that there are, by name."""
    from dataflare.component import destination, lookup, processor, source, state_store
    from dataflare.executor.contract import executor

    found: tuple[Kind[Any], ...] = (source, processor, destination, lookup, state_store, executor)
    return {kind.name: kind for kind in found}


def list_command(kind: str, *, as_json: bool) -> int:
    """Print the names of the components of a kind, of all kinds by default; import none of them."""
    from dataflare.component import Registry

    known, registry = kinds(), Registry.installed()
    wanted = kind.removesuffix("s").replace("-", "_") if kind else ""
    if wanted and wanted not in known:
        raise WorkflowError(f"there is no kind {kind!r} of components", hint=f"one of {', '.join(known)}")
    found = {n: registry.names(k) for n, k in known.items() if wanted in ("", n)}
    if as_json:
        write_json(found)
        return 0
    rows = [(n if first else "", name) for n, names in found.items() for first, name in _marked(names)]
    write(table(("kind", "type"), rows))
    return 0


def describe_command(name: str, *, as_json: bool) -> int:
    """Print what a component is, promises and takes; all of that name where several kinds have it."""
    from dataflare.component import Registry

    registry = Registry.installed()
    specs = _specs(name, registry)
    if as_json:
        for spec in specs:
            write_json(spec_json(spec))
        return 0
    write("\n\n\n".join(spec_text(spec) for spec in specs))
    return 0


def schema_command() -> int:
    """Print the JSON Schema of a workflow file, with the settings of all components that are installed."""
    from dataflare.component import Registry
    from dataflare.workflow.json_schema import workflow_schema

    write(json.dumps(workflow_schema(Registry.installed()), ensure_ascii=False, indent=2))
    return 0


def spec_json(spec: Spec) -> dict[str, Any]:
    """Return a description in plain values; `settings` is the JSON Schema of the settings."""
    return {
        "kind": spec.kind,
        "name": spec.name,
        "status": spec.status,
        "summary": spec.summary,
        "description": spec.description,
        "traits": asdict(spec.traits),
        "settings": spec.schema(),
        "examples": [dict(e) for e in spec.examples],
    }


def spec_text(spec: Spec) -> str:
    """Return the page of a component: what it is, its promises, the table of its settings, an example."""
    title = f"{painted(f'{spec.kind} {spec.name}', BOLD, sys.stdout)}  {painted(spec.status, DIM, sys.stdout)}"
    parts = [title, spec.summary]
    parts += [_folded(spec.description)] if spec.description else []
    promises = [(k.replace("_", " "), _words(v)) for k, v in asdict(spec.traits).items() if v not in (None, ())]
    parts += [table(("promise", ""), promises)] if promises else []
    settings = settings_rows(spec.schema())
    parts += [table(("setting", "type", "default", "meaning"), settings)] if settings else ["It takes no settings."]
    examples = [json.dumps(dict(e), ensure_ascii=False) for e in spec.examples if e]
    parts += ["\n".join([painted("example", DIM, sys.stdout), *(f"config: {e}" for e in examples)])] if examples else []
    return "\n\n".join(parts)


def settings_rows(schema: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str, str, str]]:
    """Return (setting, type, default, meaning) for each setting of a JSON Schema; nested ones by dotted name."""
    required, definitions = schema.get("required", []), schema.get("$defs", {})
    rows: list[tuple[str, str, str, str]] = []
    for name, value in schema.get("properties", {}).items():
        inner, mark = _inner(value, definitions)
        default = "required" if name in required else _default(value)
        meaning = value.get("description", inner.get("description", ""))
        if mark == ".":
            default = ""  # that of a group is told by its members
        rows.append((f"{prefix}{name}", type_text(value, definitions), default, meaning))
        if inner:
            rows += settings_rows({**inner, "$defs": definitions}, f"{prefix}{name}{mark}")
    return rows


def type_text(value: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return a JSON Schema type in a few words, such as `text`, `list of text`, `append | merge`."""
    if "$ref" in value:
        return type_text(definitions.get(str(value["$ref"]).rpartition("/")[2], {}), definitions)
    if "enum" in value or "const" in value:
        return " | ".join(str(v) for v in value.get("enum", [value.get("const")]) if v != "")
    if "anyOf" in value and value.get("format") not in _WORDS:
        parts = [type_text(v, definitions) for v in value["anyOf"] if v.get("type") != "null"]
        return " | ".join(dict.fromkeys(parts))
    inner = value.get("items") if value.get("type") == "array" else value.get("additionalProperties")
    if isinstance(inner, dict):
        word, many = type_text(inner, definitions), "list" if value["type"] == "array" else "map"
        return f"{many} of ({word})" if " | " in word else f"{many} of {word}"
    return _WORDS.get(str(value.get("format", value.get("type"))), "any")


def _folded(text: str) -> str:
    """Return paragraphs as wide as the terminal; as they are elsewhere, and where they are lists or code."""
    if not sys.stdout.isatty():
        return text
    columns = shutil.get_terminal_size().columns
    paragraphs = text.split("\n\n")
    return "\n\n".join(p if p.startswith((" ", "- ", "```")) else textwrap.fill(p, columns) for p in paragraphs)


def _specs(name: str, registry: Registry) -> list[Spec]:
    known = kinds()
    kind, _, wanted = name.rpartition("/")
    holders = [k for n, k in known.items() if kind in ("", n) and wanted in registry.names(k)]
    if not holders:
        everything = sorted({n for k in known.values() for n in registry.names(k)})
        from dataflare.workflow.findings import near

        hint = near(wanted, everything) or "see: dataflare list"
        raise WorkflowError(f"there is no component named {name!r}", hint=hint)
    try:
        return [registry.find(k, wanted).spec for k in holders]
    except ImportError as error:
        raise UnavailableError(
            f"{name} cannot be loaded: {error}", hint="install what it needs, or the package that offers it anew"
        ) from error


def _inner(value: Mapping[str, Any], definitions: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Return the schema of the settings in a setting, in its items or in its values, and how their names begin."""
    options = [v for v in value.get("anyOf", [value]) if v.get("type") != "null"]
    if len(options) == 1:
        values = options[0].get("additionalProperties")
        found = ((options[0], "."), (options[0].get("items", {}), "[]."), (values, ".NAME."))
        for part, mark in found:
            name = str(part.get("$ref", "")).rpartition("/")[2] if isinstance(part, dict) else ""
            if definitions.get(name, {}).get("properties"):
                return definitions[name], mark
    return {}, ""


def _default(value: Mapping[str, Any]) -> str:
    default = value.get("default")
    kinds = {v.get("format") for v in value.get("anyOf", [value])}
    if isinstance(default, int | float) and "duration" in kinds:
        return f"{default:g}s"
    if isinstance(default, int) and "size" in kinds:
        return next(f"{default >> bits}{unit}" for bits, unit in _UNITS if default % (1 << bits) == 0)
    return "" if default in (None, "", [], {}) else default if isinstance(default, str) else json.dumps(default)


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(str(v) for v in value) if isinstance(value, list | tuple) else str(value)


def _marked(names: list[str]) -> list[tuple[bool, str]]:
    return [(i == 0, n) for i, n in enumerate(names)]
