"""Writes a document as YAML that reads back to the same values."""

from __future__ import annotations

from typing import Any

import yaml

from dataflare.workflow.scalars import AMBIGUOUS, meaning

_WIDTH = 110
_FLOW_MAX = 90
"""A map or list of at most so many characters stands on one line."""


class _Root(dict[str, Any]):
    """The whole document, which never stands on one line."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002
        del indentless
        super().increase_indent(flow, False)  # noqa: FBT003


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    """Quote what would read as something else, or that a brace, a bracket or a reference makes special."""
    plain = meaning(value) == value and value not in AMBIGUOUS and not set(value) & set("{}[],#&*!|>%@`$:?'\"")
    style = None if plain and value.isprintable() else '"'
    if "\n" in value and value.replace("\n", "").isprintable():
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _collection(dumper: yaml.SafeDumper, value: Any) -> yaml.Node:
    is_map = isinstance(value, dict)
    node = (
        dumper.represent_mapping("tag:yaml.org,2002:map", value)
        if is_map
        else dumper.represent_sequence("tag:yaml.org,2002:seq", value)
    )
    node.flow_style = len(repr(value)) <= _FLOW_MAX and "\n" not in str(value) and "\\n" not in repr(value)
    return node


def _root(dumper: yaml.SafeDumper, value: _Root) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", dict(value), flow_style=False)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(_Root, _root)
_Dumper.add_representer(dict, _collection)
_Dumper.add_representer(list, _collection)


def yaml_text(document: dict[str, Any]) -> str:
    """Return the text; a reader gets exactly these values back."""
    return str(yaml.dump(_Root(document), Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=_WIDTH))


__all__ = ["yaml_text"]
