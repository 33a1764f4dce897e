"""Finds the component of each node, checks its settings, and builds it for planning: no file, no socket, no clock."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from dataflare.clock import SystemClock
from dataflare.component import StageContext, destination, lookup, processor, source, state_store
from dataflare.errors import DataFlareError, WorkflowError
from dataflare.plan_words import Action, Change, NodeKind
from dataflare.workflow.document import Value
from dataflare.workflow.findings import near
from dataflare.workflow.misplaced import BESIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from dataflare.component import Kind, Registry
    from dataflare.errors import Place
    from dataflare.monitoring.events import Event
    from dataflare.workflow.checking import Checker
    from dataflare.workflow.drafts import Draft, Outline
    from dataflare.workflow.findings import Findings

P = ParamSpec("P")
T = TypeVar("T")

_KINDS: Mapping[NodeKind, Kind[Any]] = {
    NodeKind.SOURCE: source,
    NodeKind.PROCESSOR: processor,
    NodeKind.DESTINATION: destination,
}
KEYED = ("merge", "delete_insert", "insert_only", "update", "scd2")


class PlanningRuntime:
    """The surroundings of components while a workflow is planned: calls run in place, events go nowhere."""

    def __init__(self) -> None:
        """Start from a fixed seed."""
        self.clock = SystemClock()
        self.random = random.Random(0)  # noqa: S311 - nothing secret is drawn

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it now."""
        return function(*args, **kwargs)

    def emit(self, event: Event) -> None:
        """Planning has no observers."""


class Builder:
    """Builds the components of one workflow."""

    def __init__(self, outline: Outline, registry: Registry, checker: Checker, findings: Findings) -> None:
        """Report to `findings`."""
        self._outline, self._registry, self._checker, self._findings = outline, registry, checker, findings

    def run(self, directory: Path, resolve: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        """Give every draft its class and, where its settings are right, its component."""
        for draft in self._outline.drafts.values():
            self._find(draft)
            if draft.cls is None:
                continue
            self._settle_key(draft)
            self._settle_words(draft)
            self._check(draft, directory, resolve)
        self._state()

    def _find(self, draft: Draft) -> None:
        place = self._outline.place(draft, "type")
        draft.cls = self._class(_KINDS[draft.kind], draft.text.type, place)

    def _class(self, kind: Kind[Any], name: str, place: Place) -> Any:
        try:
            return self._registry.find(kind, name)
        except WorkflowError as error:
            self._findings.error("unknown_type", error.what.replace("_", " ", 1), place, error.hint)
        except (ImportError, AttributeError) as error:
            hint = "install the package that it needs; `dataflare describe` tells which"
            self._findings.error("missing_package", f"{kind.name} {name!r} cannot be imported: {error}", place, hint)
        return None

    def _settle_key(self, draft: Draft) -> None:
        """A destination's key may stand in its settings or beside them: bring it where its connector looks."""
        if draft.kind is not NodeKind.DESTINATION or draft.cls is None:
            return
        node = self._outline.document.at(draft.path)
        config = node.map.setdefault("config", Value({}, node.mark, node.key_mark)) if node is not None else None
        if config is None or not isinstance(config.data, dict):
            return
        within = config.map.get("key")
        takes = "key" in draft.cls.spec.config.model_fields
        if within is not None:
            named = within.plain()
            draft.key = tuple(str(k) for k in (named if isinstance(named, list) else [named]))
            if not takes:
                del config.map["key"]
        elif draft.text.key:
            draft.key = tuple(draft.text.key)
            if takes and node is not None and "key" in node.map:
                config.map["key"] = node.map["key"]

    def _settle_words(self, draft: Draft) -> None:
        """Check `mode`, `write_mode` and `on_error` against what the component can do."""
        traits: Any = draft.cls.spec.traits if draft.cls is not None else None
        if draft.kind is NodeKind.SOURCE:
            self._word(draft, "mode", draft.text.mode, traits.modes)
        elif draft.kind is NodeKind.DESTINATION:
            self._word(draft, "write_mode", draft.text.write_mode, traits.write_modes)
            if draft.text.on_error.action is Action.DEAD_LETTER:
                self._findings.error(
                    "on_error",
                    "a destination has no output for rejected rows",
                    self._outline.place(draft, "on_error"),
                    "reject bad rows in a transformation before it",
                )

    def _word(self, draft: Draft, key: str, word: str | None, known: tuple[str, ...]) -> None:
        if word is not None and word not in known:
            message = f"{draft.kind.value} {draft.text.type!r} has no {key} {word!r}"
            hint = near(word, known) or f"known: {', '.join(known)}"
            self._findings.error(key, message, self._outline.place(draft, key), hint)

    def _check(self, draft: Draft, directory: Path, resolve: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        assert draft.cls is not None
        config = self._outline.document.at((*draft.path, "config"))
        plain = config.plain() if config is not None and config.data is not None else {}
        if not isinstance(plain, dict):
            return  # told already
        beside = {k: BESIDE for k in type(draft.text).model_fields if k != "config"}
        checked, wrong = self._checker.check(draft.cls.spec.config, plain, (*draft.path, "config"), beside)
        if wrong:
            return
        try:
            if checked is None or resolve is not dict:
                plain = config.plain() if config is not None and config.data is not None else {}
                checked = draft.cls.spec.config.model_validate(resolve(plain))
            draft.component = draft.cls(checked)
        except DataFlareError as error:
            self._findings.add(error.at(self._outline.place(draft, "config")).as_finding())
            return
        except ValueError:
            return  # a setting that waits for its secret
        draft.component.context = StageContext(
            runtime=PlanningRuntime(),
            workflow=self._outline.id,
            node=draft.id,
            directory=directory,
            mode=mode(draft),
            write_mode=write_mode(draft),
            key=draft.key,
            on_error=draft.text.on_error.action.value,
            lookup=bool(getattr(draft.text, "lookup", None)),
            lookups=partial(self._registry.find, lookup),
            contract=contract_of(draft.text),
        )

    def _state(self) -> None:
        """Check the state store, if it is one that the registry knows at all."""
        if not self._registry.names(state_store):
            return
        path = ("runtime", "state")
        state = self._outline.runtime.state
        document = self._outline.document
        kind = state.get("type", "sqlite")
        cls = self._class(state_store, str(kind), document.place((*path, "type")))
        if cls is not None:
            self._checker.check(cls.spec.config, {k: v for k, v in state.items() if k != "type"}, path)


def settings_of(registry: Registry, kind: NodeKind, name: str) -> list[str]:
    """Return the names of a component's settings; none where there is no such component."""
    try:
        found = registry.find(_KINDS[kind], name)
    except (DataFlareError, ImportError, AttributeError):
        return []
    return [f.alias or n for n, f in found.spec.config.model_fields.items()]


def mode(draft: Draft) -> str:
    """Return the mode of a source: as written, else the first that its connector has."""
    if draft.kind is not NodeKind.SOURCE or draft.cls is None:
        return "full"
    return str(draft.text.mode or draft.cls.spec.traits.modes[0])


def contract_of(text: Any) -> dict[str, Any]:
    """Return the words of a source's `schema` that are said; nothing for other nodes.

    `leave`, beside them, are the kinds of change that are left out by `include` and `exclude`.
    """
    told = getattr(text, "contract", None)
    if told is None:
        return {}
    said: dict[str, Any] = told.contract.model_dump(exclude_none=True)
    leave = {*told.exclude, *(set(Change).difference(told.include) if told.include is not None else ())}
    return said | ({"ddl": told.ddl.value} if told.ddl else {}) | ({"leave": sorted(leave)} if leave else {})


def write_mode(draft: Draft) -> str:
    """Return the write mode of a destination: as written, else append, else the first that its connector has."""
    if draft.kind is not NodeKind.DESTINATION or draft.cls is None:
        return "append"
    modes = draft.cls.spec.traits.write_modes
    return str(draft.text.write_mode or ("append" if "append" in modes else modes[0]))


__all__ = ["KEYED", "Builder", "PlanningRuntime", "contract_of", "mode", "settings_of", "write_mode"]
