"""What older files and shorter forms may have, in the JSON Schema: today's words are completed, the others let pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.workflow.aliases import (
    BATCH,
    CONFIG,
    ENRICHMENT_CONFIG,
    ENRICHMENT_KEYS,
    FILE_CONFIG,
    FILE_TYPES,
    PROCESSOR_TYPES,
    SECTIONS,
)
from dataflare.workflow.model import NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Schema = dict[str, Any]

_LISTS = ("inputs", "key")
"""A single one of these may be written without a list."""

_ACTIONS = {"enum": ["fail", "skip", "null", "dead_letter"]}
_TYPES = {"source": FILE_TYPES, "destination": FILE_TYPES, "processor": tuple(PROCESSOR_TYPES)}


def allow_older(schema: Schema) -> None:
    """Let a schema of workflows take older words and shorter forms, in place."""
    definitions = schema["$defs"]
    _rename(schema, SECTIONS)
    schema["properties"]["name"] = {"type": "string", "deprecated": True}
    schema["properties"]["version"] = {"anyOf": [schema["properties"]["version"], {"type": "number"}]}
    for section in ("sources", "transformations", "destinations", *SECTIONS):
        schema["properties"][section]["propertyNames"] = {"pattern": f"^{NAME}$"}
    for kind, name in (("source", "SourceText"), ("processor", "ProcessorText"), ("destination", "DestinationText")):
        _node(definitions[name], kind)
    _rename(definitions["SourceText"], {"collection_mode": "mode"})
    mode = definitions["DestinationText"]["properties"]["write_mode"]
    mode["anyOf"] = [*mode["anyOf"], {"type": "object"}]
    _rename(definitions["BatchText"], BATCH)
    for name, found in definitions.items():
        _settings(name, found)


def _node(node: Schema, kind: str) -> None:
    properties = node["properties"]
    properties["on_error"] = _either(properties["on_error"], _ACTIONS)
    for word in _LISTS:
        if word in properties:
            properties[word] = _either(properties[word], {"type": "string"})
    known = {choice["if"]["properties"]["type"]["const"]: choice for choice in node["allOf"]}
    for older in _TYPES[kind]:
        today = known.get(PROCESSOR_TYPES.get(older, "file"))
        if today is not None:
            node["allOf"].append(
                {"if": {"properties": {"type": {"const": older}}, "required": ["type"]}, "then": today["then"]}
            )


def _settings(name: str, settings: Schema) -> None:
    """Add the older words of a component's settings."""
    kind, _, component = name.partition(".")
    properties = settings.get("properties", {})
    if kind not in ("source", "processor", "destination") or not component:
        return
    _rename(settings, CONFIG)
    if component == "file":
        _rename(settings, FILE_CONFIG)
    if name == "processor.enrichment" and "rows" in properties:
        _rename(settings, ENRICHMENT_CONFIG)
        _add(settings, ENRICHMENT_KEYS)
        properties["rows"] = _either(properties["rows"], {"type": ["object", "string"]})
        properties["lookup_data"] = properties["rows"] | {"deprecated": True}
        settings.pop("required", None)  # the two older words may say what `keys` does
    if kind == "destination" and "key" not in properties:
        properties["key"] = {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}


def _rename(schema: Schema, words: Mapping[str, str]) -> None:
    """Let a map have the older names of its entries; where one is required, either name will do."""
    properties = schema.get("properties", {})
    either: list[Schema] = []
    for older, name in words.items():
        if name not in properties:
            continue
        properties[older] = {**properties[name], "deprecated": True}
        if name in schema.get("required", ()):
            schema["required"] = [r for r in schema["required"] if r != name]
            either = either or [{"required": [name]}]
            either.append({"required": [older]})
    if either:
        schema["anyOf"] = either


def _add(schema: Schema, words: Iterable[str]) -> None:
    for word in words:
        schema["properties"][word] = {"type": "string", "deprecated": True}


def _either(schema: Schema, other: Mapping[str, Any]) -> Schema:
    about: Schema = {k: schema[k] for k in ("description", "default", "title") if k in schema}
    return {"anyOf": [{k: v for k, v in schema.items() if k not in about}, other], **about}


__all__ = ["allow_older"]
