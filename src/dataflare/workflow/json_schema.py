"""The JSON Schema of a workflow file with the settings of every component, for editors that complete and check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.component import destination, processor, source, state_store
from dataflare.workflow.model import WorkflowText
from dataflare.workflow.older_schema import allow_older

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component import Kind, Registry

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NODES: Mapping[str, Kind[Any]] = {"SourceText": source, "ProcessorText": processor, "DestinationText": destination}
_REFERENCE = {"type": "string", "pattern": r"\$\{"}
"""Any value may be written as `${NAME}` or `${NAME:-default}`, also one that is no text."""
_UNITS = {
    "duration": r"^\s*(\d+(\.\d+)?\s*(us|ms|s|m|h|d|w)\s*)+$",
    "size": r"^\s*\d+(\.\d+)?\s*([kKMGT]B|[KMGT]iB|B)\s*$",
}
"""What values with units look like: a number without one is refused."""
_PYDANTIC = ("gt", "ge")
"""Bounds of values with units, which JSON Schema sees as text."""


def workflow_schema(registry: Registry) -> dict[str, Any]:
    """Return the schema; it names the components of the registry, and lets others pass whose types it does not know."""
    schema = WorkflowText.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    for name, kind in _NODES.items():
        definitions[name] |= _settings(kind, registry, definitions, inside="config")
    state = definitions["RuntimeText"]["properties"]["state"]
    state |= _settings(state_store, registry, definitions, inside="")
    allow_older(schema)
    found: dict[str, Any] = _referable({"$schema": DIALECT, **schema, "title": "A workflow of DataFlare"})
    return found


def _settings(
    kind: Kind[Any], registry: Registry, definitions: dict[str, Any], *, inside: str
) -> dict[str, list[dict[str, Any]]]:
    """Define the settings of each component of a kind, and say that they hold where its type is named."""
    choices = []
    for name in registry.names(kind):
        settings, key = registry.find(kind, name).spec.schema(), f"{kind.name}.{name}"
        if not inside:  # the settings stand beside the type
            settings["properties"] = {"type": {"type": "string"}, **settings.get("properties", {})}
        definitions[key] = _moved(settings, f"#/$defs/{key}")
        within: Any = {"$ref": f"#/$defs/{key}"}
        if inside:
            required = {"required": [inside]} if settings.get("required") else {}
            within = {"properties": {inside: within}, **required}
        choices.append({"if": {"properties": {"type": {"const": name}}, "required": ["type"]}, "then": within})
    return {"allOf": choices}


def _moved(value: Any, place: str) -> Any:
    """Return a schema whose references lead to where it stands now."""
    if isinstance(value, dict):
        return {k: v.replace("#", place, 1) if k == "$ref" else _moved(v, place) for k, v in value.items()}
    return [_moved(v, place) for v in value] if isinstance(value, list) else value


def _referable(schema: Any) -> Any:
    """Return a schema that takes a reference wherever it takes a number, a truth value or one of several words."""
    if isinstance(schema, list):
        return [_referable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = ("default", "examples", "enum", "if")
    changed = {k: v if k in kept else _referable(v) for k, v in schema.items() if k not in _PYDANTIC}
    if short := changed.pop("x-short", None):  # what a validator takes in the place of a map: types, or schemas
        others = [{"type": s} if isinstance(s, str) else s for s in short]
        return {"anyOf": [*others, changed]}
    if pattern := _UNITS.get(str(schema.get("format"))):
        changed["pattern"] = rf"{pattern}|\$\{{"
    if _takes_no_text(schema):
        about = {k: changed.pop(k) for k in ("description", "default", "title") if k in changed}
        return {"anyOf": [changed, _REFERENCE], **about}
    return changed


def _takes_no_text(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") in ("integer", "number", "boolean") or "enum" in schema
