"""Reads the inputs of all nodes: which node feeds which, in what order they can be typed."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from dataflare.plan_words import NodeKind
from dataflare.workflow.document import dotted
from dataflare.workflow.findings import near

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dataflare.workflow.document import Path
    from dataflare.workflow.drafts import Draft, Outline
    from dataflare.workflow.findings import Findings

ERRORS = "errors"


@dataclass(frozen=True, slots=True)
class Reference:
    """One input as written: an output of `node`; `glob` when either part of it was a pattern."""

    node: str
    output: str
    path: Path
    text: str
    glob: bool = False


@dataclass(slots=True)
class Wiring:
    """References by node, in the order of its inputs, and the nodes in an order in which inputs come first.

    `order` leaves out nodes that are part of a cycle or fed by one. `lacking` are the nodes of which an input is wrong
    or missing; where there are such, or nodes that are wrong altogether, not `all_known`, nobody can say what leads
    nowhere.
    """

    references: dict[str, list[Reference]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    lacking: set[str] = field(default_factory=set)
    all_known: bool = True


def wire(outline: Outline, findings: Findings) -> Wiring:
    """Resolve inputs to nodes; outputs are looked at when they are known."""
    return _Wirer(outline, findings).run()


def is_glob(text: str) -> bool:
    """Tell whether an input is a pattern."""
    return any(sign in text for sign in "*?[")


class _Wirer:
    def __init__(self, outline: Outline, findings: Findings) -> None:
        self._outline, self._findings = outline, findings
        self._drafts = outline.drafts
        self._wiring = Wiring()
        self._feeds: dict[str, set[str]] = {}
        for name, draft in self._drafts.items():
            texts = [*getattr(draft.text, "inputs", ()), getattr(draft.text, "lookup", None) or ""]
            for text in texts:
                if not is_glob(text):
                    self._feeds.setdefault(text.partition(".")[0], set()).add(name)

    def run(self) -> Wiring:
        for draft in self._drafts.values():
            if draft.kind is not NodeKind.SOURCE:
                self._inputs(draft)
        self._order()
        self._wiring.all_known = not self._wiring.lacking and not self._lost()
        return self._wiring

    def _lost(self) -> bool:
        """Tell whether there are nodes in the text that are none."""
        sections = (self._outline.document.at((s,)) for s in ("sources", "transformations", "destinations"))
        return any(name not in self._drafts for s in sections if s is not None for name in s.map)

    def _inputs(self, draft: Draft) -> None:
        found: list[Reference] = []
        for text, path in self._written(draft):
            references = list(self._resolved(draft, text, path))
            if not references:
                self._wiring.lacking.add(draft.id)
            for reference in references:
                same = [r for r in found if (r.node, r.output) == (reference.node, reference.output)]
                if not same:
                    found.append(reference)
                elif not (reference.glob or same[0].glob):
                    message = f"{text!r} is an input twice"
                    place = self._outline.document.place(path)
                    self._findings.error("duplicate_input", message, place, "remove one of them")
                    self._wiring.lacking.add(draft.id)
        self._wiring.references[draft.id] = found
        if not found and draft.id not in self._wiring.lacking:
            self._wiring.lacking.add(draft.id)
            if not self._wrong_words(draft):
                message = f"{draft.id!r} has no inputs"
                place = self._outline.place(draft, key=True)
                self._findings.error("missing_inputs", message, place, "name the node that feeds it: inputs: [...]")

    def _wrong_words(self, draft: Draft) -> bool:
        """Tell whether inputs may be under a key that is not known, or were told to be no inputs."""
        node = self._outline.document.at(draft.path)
        names = {f.alias or n for n, f in type(draft.text).model_fields.items()}
        return node is not None and any(
            self._findings.told(dotted((*draft.path, key))) for key in node.map if key == "inputs" or key not in names
        )

    def _written(self, draft: Draft) -> Iterator[tuple[str, Path]]:
        document = self._outline.document
        listed = document.at((*draft.path, "inputs"))
        for index, text in enumerate(draft.text.inputs):
            at = (index,) if listed is not None and isinstance(listed.data, list) else ()
            yield text, (*draft.path, "inputs", *at)
        if getattr(draft.text, "lookup", None):
            yield draft.text.lookup, (*draft.path, "lookup")

    def _resolved(self, draft: Draft, text: str, path: Path) -> Iterator[Reference]:
        if is_glob(text):
            yield from self._matches(draft, text, path)
            return
        node, _, output = text.partition(".")
        place = self._outline.document.place(path)
        target = self._drafts.get(node)
        if target is None:
            self._unknown(node, path)
        elif target is draft:
            hint = "a node cannot feed itself: name the node before it"
            self._findings.error("self_input", f"{node!r} is its own input", place, hint)
        elif target.kind is NodeKind.DESTINATION:
            hint = "read from the node that feeds the destination"
            self._findings.error("destination_as_input", f"{node!r} is a destination: nothing comes out", place, hint)
        elif output == ERRORS and not target.keeps_errors:
            if self._findings.told(dotted((*target.path, "on_error"))):
                return  # it may be meant to have that output
            message = f"{node!r} has no output 'errors'"
            hint = f"give {node} on_error: {{action: dead_letter}}"
            self._findings.error("unknown_output", message, place, hint)
        else:
            yield Reference(node, output, path, text)

    def _unknown(self, node: str, path: Path) -> None:
        document = self._outline.document
        if any(document.at((section, node)) for section in ("sources", "transformations", "destinations")):
            return  # it is there, and what is wrong with it has been told
        names = [n for n, d in self._drafts.items() if d.kind is not NodeKind.DESTINATION]
        self._findings.error("unknown_input", f"there is no node {node!r}", document.place(path), near(node, names))

    def _matches(self, draft: Draft, text: str, path: Path) -> Iterator[Reference]:
        pattern, _, output = text.partition(".")
        matched = False
        behind = self._behind(draft.id)
        for name, target in self._drafts.items():
            if name in behind or target.kind is NodeKind.DESTINATION or not fnmatchcase(name, pattern):
                continue
            if output == ERRORS and not target.keeps_errors:
                matched = matched or self._findings.told(dotted((*target.path, "on_error")))
                continue
            matched = True
            yield Reference(name, output, path, text, glob=True)
        if not matched:
            hint = "give a node on_error: {action: dead_letter}" if output == ERRORS else "check the pattern"
            place = self._outline.document.place(path)
            self._findings.error("unknown_input", f"{text!r} matches no output", place, hint)

    def _behind(self, node: str) -> set[str]:
        """Return a node and all that it feeds by name: a pattern there never matches one of them."""
        found: set[str] = set()
        left = [node]
        while left:
            name = left.pop()
            if name not in found:
                found.add(name)
                left += self._feeds.get(name, ())
        return found

    def _order(self) -> None:
        feeds = {n: {r.node for r in self._wiring.references.get(n, ())} for n in self._drafts}
        left = dict(feeds)
        while left:
            ready = [n for n, before in left.items() if not before & left.keys()]
            if not ready:
                break
            self._wiring.order += ready
            for name in ready:
                del left[name]
        walked: set[str] = set()
        for name in left:
            if cycle := _cycle(name, left, walked):
                self._cycle(cycle)

    def _cycle(self, cycle: list[str]) -> None:
        first = min(cycle, key=list(self._drafts).index)
        at = cycle.index(first)
        turned = [*cycle[at:], *cycle[:at], first]
        draft = self._drafts[first]
        message = f"nodes feed each other in a circle: {' <- '.join(turned)}"
        place = self._outline.place(draft, "inputs")
        self._findings.error("cycle", message, place, "take one of these inputs out")
        self._wiring.lacking.update(cycle)


def _cycle(start: str, feeds: Mapping[str, set[str]], walked: set[str]) -> list[str]:
    """Walk up from a node that cannot be ordered until a node comes again; every such walk ends in a cycle.

    Nothing where that node was walked before: its cycle is told already.
    """
    steps: dict[str, None] = {}
    name = start
    while name not in steps and name not in walked:
        steps[name] = None
        name = min(n for n in feeds[name] if n in feeds)
    walked.update(steps)
    way = list(steps)
    return way[way.index(name) :] if name in steps else []


__all__ = ["ERRORS", "Reference", "Wiring", "is_glob", "wire"]
