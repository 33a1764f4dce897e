"""Freezes a checked and typed workflow into a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.changes import OP
from dataflare.component.processor import TwoPhaseProcessor
from dataflare.plan import Edge, ErrorPolicy, Guarantee, Node, Plan, Settings
from dataflare.plan_words import NodeKind
from dataflare.workflow.components import contract_of, mode, write_mode
from dataflare.workflow.tags import veils_positions
from dataflare.workflow.wiring import ERRORS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.workflow.drafts import Draft, Outline
    from dataflare.workflow.flow import Flow
    from dataflare.workflow.model import BatchText
    from dataflare.workflow.wiring import Wiring


def freeze(
    outline: Outline,
    wiring: Wiring,
    flow: Flow,
    guarantees: Mapping[str, Guarantee],
    settled: Mapping[str, Mapping[str, Any]],
) -> Plan:
    """Return the plan of a workflow without errors; `settled` are further traits by node."""
    nodes: list[Node] = []
    edges: list[Edge] = []
    for name in wiring.order:
        draft = outline.drafts[name]
        traits = _traits(draft, guarantees, len(flow.edges.get(name, ()))) | dict(settled.get(name, {}))
        if draft.kind is NodeKind.SOURCE and veils_positions(draft, flow.outputs.get(name, {}).values()):
            traits["veiled"] = True
        if outline.runtime.ledger == "hash" and _keeps_rows(draft, flow):
            traits["keeps_rows"] = True
        nodes.append(_node(outline, draft, flow, traits))
        edges += flow.edges.get(name, ())
    head = outline.head
    assert head is not None
    metadata = dict(head.metadata)
    if head.description:
        metadata.setdefault("description", head.description)
    return Plan(
        workflow=outline.id,
        nodes=tuple(nodes),
        edges=tuple(edges),
        guarantees=dict(guarantees),
        settings=_settings(outline),
        version=head.version,
        schedule=outline.schedule.model_dump(mode="json", exclude_defaults=True) if outline.schedule else {},
        metadata=metadata,
        secrets={n: s.model_dump(mode="json", exclude_defaults=True) for n, s in outline.secrets.items()},
    )


def _node(outline: Outline, draft: Draft, flow: Flow, traits: dict[str, Any]) -> Node:
    config = outline.document.at((*draft.path, "config"))
    return Node(
        id=draft.id,
        kind=draft.kind,
        type=draft.text.type,
        config=config.plain() or {} if config is not None else {},
        outputs=tuple(flow.outputs.get(draft.id, {}).values()),
        on_error=ErrorPolicy(draft.text.on_error.action, draft.text.on_error.max_rate),
        traits=traits,
        place=outline.place(draft, key=True),
    )


def _told(component: Any) -> dict[str, Any]:
    """Return what a processor tells of itself beside its settings."""
    told = {"code": component.code(), "granted": list(component.granted())}
    return {name: value for name, value in told.items() if value}


def _traits(draft: Draft, guarantees: Mapping[str, Guarantee], inputs: int) -> dict[str, Any]:
    text = draft.text
    traits: dict[str, Any] = {}
    if text.parallelism is not None:
        traits["parallelism"] = text.parallelism
    if draft.kind is NodeKind.SOURCE:
        traits["mode"] = mode(draft)
        if contract := contract_of(text):
            traits["contract"] = contract
        if text.event_time is not None:
            traits["event_time"] = text.event_time.model_dump(mode="json", exclude_none=True)
    elif draft.kind is NodeKind.PROCESSOR:
        if text.lookup:
            traits["lookup"] = True
        if draft.component is not None:
            traits |= _ways(draft.component, inputs)
            traits |= _told(draft.component)
    else:
        traits |= {"write_mode": write_mode(draft), "key": list(draft.key)}
        traits["mechanism"] = guarantees[draft.id].mechanism.value
        if batch := _batch(text.batch):
            traits["batch"] = batch
    return traits


def _ways(component: Any, inputs: int) -> dict[str, Any]:
    """Return how rows come in: `keys` of a two-phase processor, else `ports`, where any has something to say."""
    if isinstance(component, TwoPhaseProcessor):
        return {"keys": list(component.keys())} if component.keys() else {}
    ports = [
        {"keys": list(p.keys), "everywhere": p.everywhere, "first": p.first}
        | {word: True for word in ("together", "eased") if getattr(p, word)}
        for p in component.ports(inputs)
    ]
    return {"ports": ports} if any(any(port.values()) for port in ports) else {}


def _keeps_rows(draft: Draft, flow: Flow) -> bool:
    """Tell whether the rows of a node are those that came, in the same columns; of changes some are made anew."""
    if draft.kind is not NodeKind.PROCESSOR or draft.component is None or not draft.component.keeps_rows():
        return False
    outputs = [o.schema for o in flow.outputs[draft.id].values() if o.name != ERRORS]
    schemas = [[(c.name, c.type) for c in schema] for schema in (*outputs, *(o.schema for o in flow.inputs(draft.id)))]
    return all(columns == schemas[0] for columns in schemas) and OP not in outputs[0]


def _batch(text: BatchText) -> dict[str, Any]:
    named = {"rows": text.rows, "bytes": text.bytes, "period_seconds": text.period}
    return {k: v for k, v in named.items() if v is not None}


def _settings(outline: Outline) -> Settings:
    runtime = outline.runtime
    restart = runtime.restart
    return Settings(
        profile=runtime.profile,
        parallelism=runtime.parallelism,
        memory_bytes_max=runtime.budget.memory,
        checkpoint_interval_seconds=runtime.checkpoint.interval,
        checkpoint_timeout_seconds=runtime.checkpoint.timeout,
        checkpoints_retained=runtime.checkpoint.retain,
        state={"type": "sqlite", **runtime.state},
        restart={
            "strategy": restart.strategy,
            "initial": restart.initial,
            "max": restart.initial if restart.strategy == "fixed" else restart.max,
            "attempts": 0 if restart.strategy == "none" else restart.attempts,
            "window": restart.window,
        },
        batch=_batch(runtime.batch),
        ledger=runtime.ledger,
    )
