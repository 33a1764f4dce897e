"""The nodes of a workflow on their way to a plan: checked text, component, edges."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dataflare.plan_words import Action, NodeKind
from dataflare.workflow.aliases import rewrite
from dataflare.workflow.document import Value
from dataflare.workflow.example_text import ExampleText
from dataflare.workflow.findings import near
from dataflare.workflow.misplaced import EITHER, INSIDE, move
from dataflare.workflow.model import (
    NAME,
    DestinationText,
    ProcessorText,
    RuntimeText,
    ScheduleText,
    SecretText,
    SourceText,
    WorkflowText,
)
from dataflare.workflow.schedules import check_schedule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.component.contract import Component
    from dataflare.errors import Place
    from dataflare.plan import Edge
    from dataflare.workflow.checking import Checker
    from dataflare.workflow.document import Document, Path
    from dataflare.workflow.findings import Findings

SECTIONS: dict[str, NodeKind] = {
    "sources": NodeKind.SOURCE,
    "transformations": NodeKind.PROCESSOR,
    "destinations": NodeKind.DESTINATION,
}
_TEXTS: dict[NodeKind, type[SourceText | ProcessorText | DestinationText]] = {
    NodeKind.SOURCE: SourceText,
    NodeKind.PROCESSOR: ProcessorText,
    NodeKind.DESTINATION: DestinationText,
}


@dataclass(slots=True)
class Draft:
    """One node. `component` is there when its type is known and its settings are right."""

    id: str
    kind: NodeKind
    text: Any
    path: Path
    cls: type[Component[Any]] | None = None
    component: Any = None
    key: tuple[str, ...] = ()
    edges: list[Edge] = field(default_factory=list)

    @property
    def keeps_errors(self) -> bool:
        """Whether it has an output `errors`."""
        return self.text.on_error.action is Action.DEAD_LETTER and self.kind is not NodeKind.DESTINATION


@dataclass(slots=True)
class Outline:
    """A whole workflow as checked text; parts that are wrong have their defaults, so that the rest can be checked."""

    document: Document
    id: str = "workflow"
    head: WorkflowText | None = None
    runtime: RuntimeText = field(default_factory=RuntimeText)
    schedule: ScheduleText | None = None
    secrets: dict[str, SecretText] = field(default_factory=dict)
    tests: list[ExampleText] = field(default_factory=list)
    drafts: dict[str, Draft] = field(default_factory=dict)

    def place(self, draft: Draft, *path: str | int, key: bool = False) -> Place:
        """Return where something of a node stands."""
        return self.document.place((*draft.path, *path), key=key)


SettingsOf = Callable[[NodeKind, str], "list[str]"]
"""Tells the settings of a component."""


def outline(document: Document, checker: Checker, findings: Findings, settings_of: SettingsOf) -> Outline:
    """Check everything of a workflow but the settings of components and the wiring."""
    return _Outlining(document, checker, findings, settings_of).run()


class _Outlining:
    def __init__(self, document: Document, checker: Checker, findings: Findings, settings_of: SettingsOf) -> None:
        self._document, self._checker, self._findings = document, checker, findings
        self._settings_of = settings_of
        self._outline = Outline(document)

    def run(self) -> Outline:
        if self._respelled():
            rewrite(self._document, self._findings)  # shorter forms may be under the keys that were misspelled
        out, plain = self._outline, self._document.plain()
        apart = ("runtime", "schedule", "secrets", "tests", *SECTIONS)
        out.head = self._checker.salvage(WorkflowText, {k: v for k, v in plain.items() if k not in apart}, ())
        self._checker.ambiguous(("metadata",))
        if out.head is not None:
            out.id = out.head.id
        if "runtime" in plain:
            out.runtime = self._checker.salvage(RuntimeText, plain["runtime"], ("runtime",)) or out.runtime
        if plain.get("schedule") is not None:
            out.schedule = self._checker.salvage(ScheduleText, plain["schedule"], ("schedule",))
            check_schedule(self._document, out.schedule, self._findings)
        for name, value in self._entries("secrets"):
            secret = self._checker.salvage(SecretText, value.plain(), ("secrets", name))
            if secret is not None:
                out.secrets[name] = secret
        self._tests()
        for section, kind in SECTIONS.items():
            self._section(section, kind)
        return out

    def _respelled(self) -> bool:
        """Take misspelled and misplaced sections and keys of nodes for those that are meant; tell whether any were."""
        found = self._checker.respell(WorkflowText, ())
        for section, kind in SECTIONS.items():
            nodes = self._document.at((section,))
            for name, value in nodes.map.items() if nodes is not None else ():
                found = self._respelled_node(kind, (section, name), value) or found
        return found

    def _respelled_node(self, kind: NodeKind, path: Path, value: Value) -> bool:
        model = _TEXTS[kind]
        words = [f.alias or n for n, f in model.model_fields.items()]
        config = value.map.get("config", Value({})).map
        found = False
        if value.map.keys() - words or (config.keys() & words) - EITHER:
            found = self._checker.respell(model, path, self._inside(kind, value))
            settings = self._inside(kind, value)
            if settings:
                found = move(self._document, path, words, settings, self._findings) or found
        return found

    def _inside(self, kind: NodeKind, value: Value) -> dict[str, str]:
        """Return what to do with keys of a node that belong into its config."""
        named = value.map.get("type")
        return dict.fromkeys(self._settings_of(kind, str(named.data)), INSIDE) if named is not None else {}

    def _entries(self, section: str) -> Iterator[tuple[str, Value]]:
        found = self._document.at((section,))
        if found is None or found.data is None:
            return
        if not isinstance(found.data, dict):
            hint = f"write {section}: {{name: {{type: ...}}}}"
            self._findings.error("invalid_value", f"{section}: must be a map", self._document.place((section,)), hint)
        yield from found.map.items()

    def _tests(self) -> None:
        found = self._document.at(("tests",))
        if found is None or found.data is None:
            return
        if not isinstance(found.data, list):
            self._findings.error("invalid_value", "tests: must be a list", self._document.place(("tests",)))
        self._checker.ambiguous(("tests",))
        for index, value in enumerate(found.list):
            test = self._checker.salvage(ExampleText, value.plain(), ("tests", index))
            if test is not None:
                self._outline.tests.append(test)

    def _section(self, section: str, kind: NodeKind) -> None:
        number = 0
        for name, value in self._entries(section):
            number += 1
            path: Path = (section, name)
            if not re.fullmatch(NAME, name):
                hint = "use letters, digits, _ and -, with a letter first"
                self._findings.error(
                    "node_name", f"{name!r} is not a name for a node", self._document.place(path, key=True), hint
                )
            first = self._outline.drafts.get(name)
            if first is not None:
                other = self._document.place(first.path, key=True)
                message = f"{name!r} is the name of a {first.kind.value} too, in line {other.line}"
                self._findings.error(
                    "duplicate_name", message, self._document.place(path, key=True), "give one of them another name"
                )
                continue
            strange = value.map.keys() - {"config", *_TEXTS[kind].model_fields}
            inside = self._inside(kind, value) if strange else {}
            text = self._checker.salvage(_TEXTS[kind], self._node(value), path, inside)
            if text is not None:
                self._outline.drafts[name] = Draft(name, kind, text, path)
        if not number and section != "transformations":
            hint = near(section, [k for k in self._document.root.map if k != section])
            message = f"the workflow has no {section}"
            self._findings.error("nothing_there", message, self._document.place(()), hint if "mean" in hint else "")

    @staticmethod
    def _node(value: Value) -> Any:
        """Return a node's plain text; one input may be written without a list, and an empty config left blank."""
        plain = value.plain()
        if isinstance(plain, dict):
            if isinstance(plain.get("inputs"), str):
                plain["inputs"] = [plain["inputs"]]
            if "config" in plain and plain["config"] is None:
                del plain["config"]
        return plain
