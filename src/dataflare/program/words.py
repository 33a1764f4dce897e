"""The words of workflows and nodes besides their settings, as keywords with types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict

Settings: TypeAlias = Mapping[str, Any]
"""The settings of a component, as `config` in a file."""

Action: TypeAlias = Literal["fail", "skip", "null", "dead_letter"]
Function: TypeAlias = Callable[..., Any]


class NodeWords(TypedDict, total=False):
    """What any node may have."""

    description: str
    on_error: Action | Mapping[str, Any]
    parallelism: int


class SourceWords(NodeWords, total=False):
    """What a source may have."""

    mode: Literal["full", "incremental", "cdc", "hybrid", "streaming"]
    tags: Mapping[str, str | Sequence[str]]
    schema: Mapping[str, Any]
    event_time: Mapping[str, Any]


class DestinationWords(NodeWords, total=False):
    """What a destination may have."""

    write_mode: Literal["append", "overwrite", "merge", "delete_insert", "insert_only", "update", "scd2"]
    key: str | Sequence[str]
    batch: Mapping[str, Any]


class WorkflowWords(TypedDict, total=False):
    """What a workflow may have besides its nodes."""

    description: str
    version: str
    guarantee: Literal["exactly_once", "at_least_once"]
    runtime: Mapping[str, Any]
    secrets: Mapping[str, Mapping[str, Any]]
    schedule: Mapping[str, Any]
    metadata: Mapping[str, Any]


class ExampleWords(TypedDict, total=False):
    """What a test of a workflow may have besides its name."""

    given: Mapping[str, Any]
    generate: Mapping[str, Any]
    mocks: Mapping[str, Any]
    now: str
    secrets: Mapping[str, str]
    expect: Mapping[str, Any]
    expect_errors: Mapping[str, Any]
    expect_failure: str
    faults: Sequence[Mapping[str, Any]]
    epochs: int


__all__ = [
    "Action",
    "DestinationWords",
    "ExampleWords",
    "Function",
    "NodeWords",
    "Settings",
    "SourceWords",
    "WorkflowWords",
]
