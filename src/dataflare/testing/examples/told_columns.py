"""Finds the columns of sources that only the rows of the tests tell: those that all tests of a file have together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.plan import NodeKind, Output
from dataflare.schema import Schema
from dataflare.testing.examples.rows import guessed
from dataflare.workflow.wiring import ERRORS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.plan import Plan
    from dataflare.workflow.example_text import ExampleText, GenerateText, GivenText
    from dataflare.workflow.flow import Outputs


def known_outputs(examples: list[ExampleText], plan: Plan) -> dict[str, Outputs]:
    """Return the outputs of sources whose columns only the rows of the tests tell."""
    found: dict[str, Outputs] = {}
    rows = _texts_by_output(examples, plan)
    for node in plan.of_kind(NodeKind.SOURCE):
        outputs = rows.get(node.id, {})
        read = {e.output for e in plan.outputs_of(node.id) if e.output != ERRORS}
        known = {name: Output(name, _columns(texts)) for name, texts in outputs.items()}
        if known:
            found[node.id] = {**{name: Output(name, Schema()) for name in read}, **known}
    return found


def _columns(texts: list[GivenText | GenerateText]) -> Schema:
    told: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    for text in texts:
        told |= text.columns
        rows += text.rows if isinstance(text.rows, list) else []
    return guessed(rows, told)


def _texts_by_output(examples: list[ExampleText], plan: Plan) -> Mapping[str, dict[str, list[Any]]]:
    """Return all that the tests of a file give to sources whose columns the workflow does not tell, by output."""
    found: dict[str, dict[str, list[Any]]] = {}
    untyped = {n.id for n in plan.of_kind(NodeKind.SOURCE) if not any(o.schema.columns for o in n.outputs)}
    for example in examples:
        texts: list[tuple[str, Any]] = [*example.given.items(), *example.generate.items()]
        for name, text in example.mocks.items():
            looked_up = _looked_up(plan, name)
            texts += [(looked_up or name, text)]
        for name, text in texts:
            node, _, output = name.partition(".")
            if node in untyped and output != ERRORS:
                found.setdefault(node, {}).setdefault(output, []).append(text)
    return found


def _looked_up(plan: Plan, name: str) -> str | None:
    """Return the output in which a node looks rows up."""
    if "." in name or not plan.node(name).traits.get("lookup"):
        return None
    edge = plan.inputs_of(name)[-1]
    return f"{edge.source}.{edge.output}" if edge.output else edge.source


__all__ = ["known_outputs"]
