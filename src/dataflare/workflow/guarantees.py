"""Decides how each destination makes an epoch durable, and what that promises (ARCHITECTURE.md, epochs).

One decider: at most one destination is direct. Every other one takes the best mechanism that needs no say of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.plan import Guarantee
from dataflare.plan_words import Level, Mechanism, NodeKind
from dataflare.workflow.components import KEYED, write_mode

if TYPE_CHECKING:
    from dataflare.workflow.drafts import Draft, Outline
    from dataflare.workflow.findings import Findings
    from dataflare.workflow.flow import Flow

_TRANSACTIONAL = (Mechanism.STAGED, Mechanism.TWO_PHASE)
_WHY = {
    Mechanism.DIRECT: "rows and the epoch are committed in one transaction",
    Mechanism.STAGED: "rows wait in a staging table and are moved in one guarded transaction",
    Mechanism.TWO_PHASE: "rows wait under hidden names and are published by an idempotent step",
    Mechanism.IDEMPOTENT: "rows are written by key at once, so a repeated epoch shows before it is decided",
    Mechanism.APPEND: "rows are visible as soon as they are written, so a repeated epoch writes them again",
}
_REPLAY = {
    "from": "source {!r} restarts at or before a position and may send rows again",
    "redelivers": "source {!r} sends rows again that were not acknowledged, in no fixed batches",
    "none": "source {!r} cannot send rows again",
}


def decide(outline: Outline, flow: Flow, findings: Findings) -> dict[str, Guarantee]:
    """Return the guarantee of each destination; report `guarantee: exactly_once` where it cannot hold."""
    destinations = [d for d in outline.drafts.values() if d.kind is NodeKind.DESTINATION and d.cls is not None]
    decider = _decider(destinations)
    found: dict[str, Guarantee] = {}
    for draft in destinations:
        mechanism = Mechanism.DIRECT if draft is decider else _mechanism(draft)
        if mechanism is None:
            assert decider is not None
            findings.error(
                "second_decider",
                f"{draft.id!r} can only commit by its own transaction, and {decider.id!r} does so already",
                outline.place(draft, "type"),
                "write to one of them in a workflow of its own",
            )
            mechanism = Mechanism.APPEND
        found[draft.id] = _guarantee(draft, mechanism, outline, flow)
    if outline.head is not None and outline.head.guarantee is Level.EXACTLY_ONCE:
        _demand(outline, found, findings)
    return found


def _mechanisms(draft: Draft) -> tuple[Mechanism, ...]:
    traits: Any = draft.cls.spec.traits if draft.cls is not None else None
    return tuple(Mechanism(m) for m in traits.mechanisms)


def _decider(destinations: list[Draft]) -> Draft | None:
    """Return the first destination that can be direct; one that can be nothing else goes before."""
    able = [d for d in destinations if Mechanism.DIRECT in _mechanisms(d)]
    only = [d for d in able if _mechanism(d) is None]
    return next(iter([*only, *able]), None)


def _mechanism(draft: Draft) -> Mechanism | None:
    """Return the best mechanism beside direct."""
    able = _mechanisms(draft)
    for mechanism in _TRANSACTIONAL:
        if mechanism in able:
            return mechanism
    if Mechanism.IDEMPOTENT in able and (write_mode(draft) in KEYED or Mechanism.APPEND not in able):
        return Mechanism.IDEMPOTENT
    return Mechanism.APPEND if Mechanism.APPEND in able else None


def _guarantee(draft: Draft, mechanism: Mechanism, outline: Outline, flow: Flow) -> Guarantee:
    sources = _sources(draft.id, outline, flow)
    inexact = [(s.id, replay) for s in sources if s.cls and (replay := _replay(s)) != "exact"]
    unknown = [s.id for s in sources if s.cls is None]
    visible = mechanism in (Mechanism.IDEMPOTENT, Mechanism.APPEND)
    reasons = [_WHY[mechanism]]
    reasons += [_REPLAY[replay].format(name) for name, replay in inexact]
    reasons += [f"source {name!r} is not known" for name in unknown]
    if not sources:
        reasons.append("what feeds it is found once sources are asked")
    elif not inexact and not unknown:
        names = ", ".join(s.id for s in sources)
        reasons.append(
            f"all sources ({names}) replay exactly" if len(sources) > 1 else f"source {names} replays exactly"
        )
    reasons += [f"node {node!r} {what}" for node, what in _varying(draft.id, outline, flow)]
    exact = not (visible or inexact or unknown)
    return Guarantee(Level.EXACTLY_ONCE if exact else Level.AT_LEAST_ONCE, mechanism, "; ".join(reasons))


def _replay(draft: Draft) -> str:
    """Return what a source promises with its settings; where they are wrong, what its kind promises."""
    if draft.component is not None:
        return str(draft.component.replays())
    assert draft.cls is not None
    return str(draft.cls.spec.traits.replay)


def _varying(node: str, outline: Outline, flow: Flow) -> list[tuple[str, str]]:
    """Return the nodes behind which a repeated epoch may hold other values, and why; none is lost or doubled by it."""
    behind = (outline.drafts[name] for name in sorted(_behind(node, flow)))
    built = ((d.id, d.component) for d in behind if d.kind is NodeKind.PROCESSOR and d.component is not None)
    return [(name, what) for name, component in built if (what := component.varies())]


def _sources(node: str, outline: Outline, flow: Flow) -> list[Draft]:
    """Return the sources that a node hangs on, in the order of the document."""
    seen = _behind(node, flow)
    return [d for d in outline.drafts.values() if d.kind is NodeKind.SOURCE and d.id in seen]


def _behind(node: str, flow: Flow) -> set[str]:
    """Return a node and all that feed it."""
    seen: set[str] = set()
    left = [node]
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += [e.source for e in flow.edges.get(name, ())]
    return seen


def _demand(outline: Outline, found: dict[str, Guarantee], findings: Findings) -> None:
    for name, guarantee in found.items():
        if guarantee.level is Level.EXACTLY_ONCE:
            continue
        if guarantee.mechanism in (Mechanism.IDEMPOTENT, Mechanism.APPEND):
            hint = "write to a database or to files, or ask for at_least_once"
        else:
            hint = "use a source that replays exactly, or ask for at_least_once"
        message = f"exactly_once is not reachable at {name!r}: {guarantee.reason}"
        findings.error("guarantee", message, outline.document.place(("guarantee",), key=True), hint)
