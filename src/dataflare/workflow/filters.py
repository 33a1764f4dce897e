"""Finds filters right behind a source whose condition it can evaluate with exactly the same meaning, and limits.

The nodes stay where they are, so a source that leaves out fewer rows, or none, changes nothing but the counts.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from dataflare.errors import WorkflowError
from dataflare.plan_words import Action, EdgeKind, NodeKind
from dataflare.workflow.components import mode
from dataflare.workflow.wiring import ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.expression.predicate import Form
    from dataflare.schema import Schema
    from dataflare.workflow.drafts import Draft, Outline
    from dataflare.workflow.flow import Flow
    from dataflare.workflow.row_steps import RowSteps

_MODES = ("full", "incremental")


def fewer_rows(outline: Outline, flow: Flow, steps: RowSteps) -> dict[str, dict[str, Any]]:
    """Return by source its `predicate`, and the `limit` of rows that are wanted in all."""
    found: dict[str, dict[str, Any]] = {name: {"predicate": f} for name, f in _predicates(outline, flow, steps).items()}
    for name, limit in _limits(outline, flow).items():
        found.setdefault(name, {})["limit"] = limit
    return found


def _predicates(outline: Outline, flow: Flow, steps: RowSteps) -> dict[str, Form]:
    found: dict[str, Form] = {}
    for name, draft in outline.drafts.items():
        traits: Any = draft.cls.spec.traits if draft.cls is not None else None
        if draft.kind is not NodeKind.SOURCE or "predicate" not in traits.pushdown or mode(draft) not in _MODES:
            continue
        outputs = [o for o in flow.outputs.get(name, {}).values() if o.name != ERRORS]
        if len(outputs) != 1 or outputs[0].kind is not EdgeKind.APPEND:
            continue
        output, forms = outputs[0], []
        for following in _filters(outline, flow, name, output.name):
            form = _form(draft, output.name, following, output.schema, steps)
            if form is None:
                break
            forms.append(form)
        if forms:
            found[name] = forms[0] if len(forms) == 1 else ["and", *forms]
    return found


def _limits(outline: Outline, flow: Flow) -> dict[str, int]:
    """Return the limits of sources of mode full: any other is read to its end."""
    found: dict[str, int] = {}
    for name, draft in outline.drafts.items():
        traits: Any = draft.cls.spec.traits if draft.cls is not None else None
        if draft.kind is not NodeKind.SOURCE or "limit" not in traits.pushdown or mode(draft) != "full":
            continue
        outputs = [o.name for o in flow.outputs.get(name, {}).values() if o.name != ERRORS]
        node, output = name, outputs[0] if len(outputs) == 1 else None
        while output is not None and (following := _only(outline, flow, node, output)) is not None:
            node, output = following.id, "" if _makes_one_of_each(following) else None
            if following.text.type == "limit":
                found[name] = following.component.config.rows + following.component.config.offset
    return found


def _makes_one_of_each(draft: Draft) -> bool:
    return draft.text.type in ("mapping", "mask") and draft.text.on_error.action is Action.FAIL


def _only(outline: Outline, flow: Flow, node: str, output: str) -> Draft | None:
    """Return the node that reads an output, if it is the only one."""
    behind = [n for n, edges in flow.edges.items() for e in edges if (e.source, e.output) == (node, output)]
    return outline.drafts[behind[0]] if len(behind) == 1 else None


def _filters(outline: Outline, flow: Flow, node: str, output: str) -> Iterator[Draft]:
    """Yield the filters that all rows of an output go through, one behind the other."""
    while (following := _only(outline, flow, node, output)) is not None and following.text.type == "filter":
        node, output = following.id, ""
        yield following


def _form(source: Draft, output: str, draft: Draft, schema: Schema, steps: RowSteps) -> Form | None:
    from dataflare.expression.predicate import predicate_of

    condition = draft.component.step([schema]).condition if steps.takes(draft) else None
    if condition is None:
        return None
    try:
        tree = steps.tree(condition, schema)
    except WorkflowError:
        return None
    return predicate_of(tree, schema, partial(source.component.compares, output))


__all__ = ["fewer_rows"]
