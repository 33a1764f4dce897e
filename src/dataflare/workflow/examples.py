"""Checks the tests of a workflow against its plan: the nodes and outputs that they name are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.plan_words import NodeKind
from dataflare.workflow.findings import near
from dataflare.workflow.wiring import ERRORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.plan import Node, Plan
    from dataflare.workflow.document import Document, Path
    from dataflare.workflow.example_text import ExampleText
    from dataflare.workflow.findings import Findings


def check_examples(examples: Sequence[ExampleText], document: Document, plan: Plan, findings: Findings) -> None:
    """Report names that are not there, and tests that expect nothing; `document` is the one that holds the tests."""
    first: dict[str, int] = {}
    for index, example in enumerate(examples):
        _Check(document, plan, findings, ("tests", index)).run(example)
        if example.name in first:
            place = document.place(("tests", index, "name"))
            line = document.place(("tests", first[example.name], "name")).line
            message = f"a test is named {example.name!r} already, in line {line}"
            findings.error("duplicate_name", message, place, "give one of them another name")
        first.setdefault(example.name, index)


def output_of(node: Node, name: str) -> str | None:
    """Return the output that a name after the dot means; None where there is none, or where it may be one of several.

    A name may be the end of a longer one (`orders` for `public.orders`), and is not needed where there is one output.
    """
    outputs = [o.name for o in node.outputs]
    plain = [o for o in outputs if o != ERRORS]
    if name in outputs:
        return name
    ending = [o for o in plain if name and o.endswith(f".{name}")] if name else plain
    return ending[0] if len(ending) == 1 else None


class _Check:
    def __init__(self, document: Document, plan: Plan, findings: Findings, path: Path) -> None:
        self._document, self._plan, self._findings, self._path = document, plan, findings, path
        self._nodes = {node.id: node for node in plan.nodes}

    def run(self, example: ExampleText) -> None:
        for section in ("given", "generate"):
            for name in getattr(example, section):
                self._source(section, name)
        for name in {*example.given} & {*example.generate}:
            place = self._document.place((*self._path, "generate", name), key=True)
            self._findings.error("duplicate_name", f"{name!r} has rows under given too", place, "remove one of them")
        for name in example.mocks:
            self._node(("mocks", name), name, (NodeKind.SOURCE, NodeKind.PROCESSOR))
        for name in example.expect:
            self._node(("expect", name), name, tuple(NodeKind))
        for name in example.expect_errors:
            self._errors(name)
        for index, fault in enumerate(example.faults):
            if fault.fail is not None:
                self._node(("faults", index, "fail"), fault.fail, (NodeKind.SOURCE, NodeKind.DESTINATION))
        if not (example.expect or example.expect_errors or example.expect_failure or example.faults):
            place = self._document.place((*self._path, "name"))
            self._findings.error(
                "no_expectation", f"{example.name!r} expects nothing", place, "add expect: {node: [..]}"
            )

    def _source(self, section: str, name: str) -> None:
        node = self._node((section, name), name, (NodeKind.SOURCE,), output=False)
        if node is None or not self._typed(node):
            return
        output = name.partition(".")[2]
        if output_of(node, output) is None:
            self._no_output((section, name), node, output)

    def _errors(self, name: str) -> None:
        node = self._node(("expect_errors", name), name, (NodeKind.SOURCE, NodeKind.PROCESSOR), output=False)
        if node is not None and ERRORS not in [o.name for o in node.outputs]:
            self._no_output(("expect_errors", name), node, ERRORS)

    def _node(self, path: Path, text: str, kinds: tuple[NodeKind, ...], *, output: bool = True) -> Node | None:
        """Return the node that a name means; where it is none that will do, report it."""
        name, _, end = text.partition(".")
        node = self._nodes.get(name)
        place = self._document.place((*self._path, *path), key=isinstance(path[-1], str) and path[-1] != "fail")
        names = [n.id for n in self._plan.nodes if n.kind in kinds]
        if node is None:
            self._findings.error("unknown_node", f"there is no node {name!r}", place, near(name, names))
        elif node.kind not in kinds:
            wanted = " or ".join(kind.value for kind in kinds)
            message = f"{name!r} is a {node.kind.value}, and a {wanted} is meant here"
            self._findings.error("unknown_node", message, place, near(name, names))
        elif output and node.kind is not NodeKind.DESTINATION and self._typed(node) and output_of(node, end) is None:
            self._no_output(path, node, end)
        else:
            return node
        return None

    def _no_output(self, path: Path, node: Node, output: str) -> None:
        place = self._document.place((*self._path, *path), key=True)
        names = [o.name for o in node.outputs]
        if output == ERRORS:
            hint = f"give {node.id} on_error: {{action: dead_letter}}"
            self._findings.error("unknown_output", f"{node.id!r} has no output 'errors'", place, hint)
            return
        listed = ", ".join(f"{node.id}.{n}" if n else node.id for n in names)
        what = f"{node.id!r} has no output {output!r}" if output else f"{node.id!r} has {len(names)} outputs"
        hint = near(output, [n for n in names if n]) if output else ""
        self._findings.error("unknown_output", what, place, hint or f"name one of {listed}")

    @staticmethod
    def _typed(node: Node) -> bool:
        """Tell whether the outputs of a node are known: those that were not asked for may be any."""
        return any(o.schema.columns for o in node.outputs if o.name != ERRORS)


__all__ = ["check_examples", "output_of"]
