"""The way from a workflow file to a plan: read, rewrite, check, wire, type, decide, freeze."""

from __future__ import annotations

import difflib
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflare.errors import Finding, InvalidWorkflowError, Place
from dataflare.plan_words import FOLLOWING, NodeKind
from dataflare.security.secrets import Secret, scrub
from dataflare.workflow.aliases import rewrite
from dataflare.workflow.checking import Checker
from dataflare.workflow.components import Builder, mode, settings_of
from dataflare.workflow.costs import tell_costs
from dataflare.workflow.document import NOWHERE, Document, Value, value_of
from dataflare.workflow.drafts import Outline, outline
from dataflare.workflow.examples import check_examples
from dataflare.workflow.faults import Faults
from dataflare.workflow.filters import fewer_rows
from dataflare.workflow.findings import Findings
from dataflare.workflow.flow_typer import FlowTyper
from dataflare.workflow.guarantees import decide
from dataflare.workflow.landing import check_landing
from dataflare.workflow.passing import pass_through, unjudged
from dataflare.workflow.planner import freeze
from dataflare.workflow.pushdown import push_down
from dataflare.workflow.reading import read_document
from dataflare.workflow.references import check_secrets, resolve_secrets, secret_references, substitute, unescape
from dataflare.workflow.rereading import check_reread
from dataflare.workflow.row_steps import RowSteps
from dataflare.workflow.tags import check_masked, tagged
from dataflare.workflow.unheeded import tell_unheeded
from dataflare.workflow.unused import check_unused
from dataflare.workflow.wiring import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dataflare.component import Registry
    from dataflare.plan import Guarantee, Plan
    from dataflare.workflow.example_text import ExampleText
    from dataflare.workflow.flow import Flow, Outputs

STATIC, PLAN, CONNECT, SAMPLE = "static", "plan", "connect", "sample"
LEVELS = (STATIC, PLAN, CONNECT, SAMPLE)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of a workflow text.

    `plan` is None where there is an error among the findings. It is `typed` when the schemas of all edges are known;
    an untyped plan (level static, or sources that must be asked) is good for drawing, not for running.
    """

    plan: Plan | None
    findings: list[Finding]
    document: Document | None
    typed: bool = False
    tests: list[ExampleText] = field(default_factory=list)

    @property
    def valid(self) -> bool:
        """Whether there is no error."""
        return not any(f.severity == "error" for f in self.findings)


@dataclass(frozen=True, slots=True)
class Written:
    """The text of a file as it was read: what is planned of it does not hang on what the file holds by then.

    `memory` is what the plan before it left of columns (`workflow.evolving`).
    """

    path: Path
    text: bytes
    memory: Mapping[str, Any] | None = None


def load(
    source: Path | str | Written,
    *,
    registry: Registry,
    environ: Mapping[str, str],
    level: str = PLAN,
    check: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> Loaded:
    """Read a workflow and return its plan and everything there is to say about it; never raises for a bad workflow.

    `source` is the path of a file, what was written in one, or (a str of more than one line, or that starts with `{`)
    the text itself. The levels: `static` reads that file and checks its words; `plan` also types it by what it
    declares, and opens nothing; `connect` also asks every component to look around (`Component.check`); `sample` asks
    sources for their columns instead, or besides with `check`. The last two open files and connections and use secrets:
    call them in a worker thread, never on an event loop. `overrides` are values by dotted path, such as
    `sources.shop.config.path`. The folder of a file is put on `sys.path` when the workflow names Python code, so that
    `python:` components beside the workflow are found.
    """
    text, file, directory = _text(source)
    findings = Findings(file)
    if isinstance(text, Finding):
        return Loaded(None, [text], None)
    json = file.endswith(".json") or (not file and str(text).lstrip().startswith("{"))
    document = read_document(text, findings, json=json)
    if document is None:
        return Loaded(None, findings.found(), None)
    memory = source.memory if isinstance(source, Written) else None
    around = Around(registry, environ, directory, level, check or level == CONNECT, overrides or {}, memory=memory)
    return load_document(document, findings, around)


@dataclass(frozen=True, slots=True)
class Around:
    """What a document is planned with; see `load`.

    With `known`, the outputs of sources by node, the plan is one that a test runs: sources that are named there are
    not asked, and all columns flow as tables. `look` is called where `check` would ask components to look around, with
    who follows changes of columns (None: nobody), once destinations know what reaches them.
    """

    registry: Registry
    environ: Mapping[str, str]
    directory: Path = field(default_factory=Path)
    level: str = PLAN
    check: bool = False
    overrides: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, Outputs] | None = None
    memory: Mapping[str, Any] | None = None
    look: Callable[[Outline, Any, Faults], None] | None = None


def load_document(document: Document, findings: Findings, around: Around) -> Loaded:
    """Return the plan of a document as it was written, and everything there is to say about it.

    The document is changed on the way: older words get their new names, and the environment is put in.
    """
    for path, value in around.overrides.items():
        _override(document, path, value)
    rewrite(document, findings)
    substitute(document, around.environ, findings)
    unescape(document)
    if document.file and _names_python(document):
        importable(around.directory)
    return _Loading(document, findings, around).run()


def plan_or_raise(
    source: Path | str | Written, *, registry: Registry, environ: Mapping[str, str], **options: Any
) -> Plan:
    """Return the plan; raise InvalidWorkflowError with all findings where there is an error. Options as for `load`."""
    loaded = load(source, registry=registry, environ=environ, **options)
    if loaded.plan is None:
        raise InvalidWorkflowError(loaded.findings)
    return loaded.plan


def importable(directory: str | Path) -> None:
    """Put a workflow's folder on `sys.path`, last, once; a process that runs a plan from elsewhere calls it too."""
    folder = str(Path(directory).resolve())
    if folder not in sys.path:
        sys.path.append(folder)


class _Loading:
    def __init__(self, document: Document, findings: Findings, around: Around) -> None:
        self._document, self._findings, self._around = document, findings, around
        self._checker = Checker(document, findings)
        self._secrets: list[Secret] = []

    def run(self) -> Loaded:
        registry, level, check = self._around.registry, self._around.level, self._around.check
        out = outline(self._document, self._checker, self._findings, partial(settings_of, registry))
        check_secrets(self._document, self._document.root.map.get("secrets", Value({})).map, self._findings)
        builder = Builder(out, registry, self._checker, self._findings)
        builder.run(self._around.directory, self._resolver(out) if check or level in (CONNECT, SAMPLE) else dict)
        steps = RowSteps()
        wiring = wire(out, self._findings)
        typer = FlowTyper(out, wiring, self._findings, steps, types=level != STATIC, ask=level == SAMPLE)
        evolving = self._evolving(out)
        flow = typer.run(self._known(out), evolving)
        check_unused(out, wiring, flow, self._findings)
        check_masked(out, flow, self._findings)
        if level != STATIC:
            check_landing(out, flow, self._findings)
        check_reread(out, flow, self._findings)
        tell_unheeded(self._document, self._findings)
        tell_costs(self._document, self._findings)
        guarantees = decide(out, flow, self._findings)
        if check:
            self._look_around(out, flow, guarantees, evolving)
        if self._findings.failed:
            return Loaded(None, self._found(), self._document, tests=out.tests)
        settled: dict[str, dict[str, Any]] = {}
        if not flow.untyped and self._around.known is None:
            settled = {name: {"codec": codec} for name, codec in pass_through(out, flow).items()}
            byways = dict(unjudged(out, flow, settled)) if out.runtime.ledger == "counts" else {}
            flow, columns = push_down(out, wiring, flow, steps)
            settled |= {name: {"columns": listed} for name, listed in columns.items()}
            for name, found in fewer_rows(out, flow, steps).items():
                settled[name] = {**settled.get(name, {}), **found}
            for name, codec in byways.items():
                settled[name] = {**settled.get(name, {}), "unjudged": codec}
            for name, traits in evolving.traits(flow).items() if evolving is not None else ():
                settled[name] = {**settled.get(name, {}), **traits}
        plan = replace(freeze(out, wiring, flow, guarantees, settled), directory=str(self._around.directory))
        check_examples(out.tests, self._document, plan, self._findings)
        if self._findings.failed:
            return Loaded(None, self._found(), self._document, tests=out.tests)
        return Loaded(plan, self._found(), self._document, not flow.untyped, out.tests)

    def _look_around(self, out: Outline, flow: Flow, guarantees: Mapping[str, Guarantee], evolving: Any) -> None:
        """Ask components what is around them; what that needs is imported here, not by every start."""
        from dataflare.workflow.connecting import check_surroundings, settle_contexts
        from dataflare.workflow.drift import tell_drift

        settle_contexts(out, flow, guarantees, evolving.traits(flow) if evolving is not None else {})
        faults = Faults(out, self._findings)
        if self._around.look is not None:
            self._around.look(out, evolving, faults)
            return
        check_surroundings(out, faults)
        if self._around.level == SAMPLE:
            tell_drift(out, self._findings, faults)

    def _evolving(self, out: Outline) -> Any:
        """Return who follows changes of columns and tables, where there may be any; others need not import it."""
        words = (getattr(d.text, "contract", None) for d in out.drafts.values())
        finds = any(
            d.kind is NodeKind.SOURCE and d.component and d.component.finds_streams() for d in out.drafts.values()
        )
        follows = any(mode(d) in FOLLOWING for d in out.drafts.values())
        if not (finds or follows or any(w.ddl for w in words if w)):
            return None
        from dataflare.workflow.evolving import Evolving

        return Evolving(out, self._findings, self._around.memory)

    def _known(self, out: Outline) -> dict[str, Outputs]:
        """Return the outputs of sources that need not be asked, with their tags."""
        given = self._around.known or {}
        return {name: tagged(out.drafts[name], dict(o), out, self._findings) for name, o in given.items()}

    def _resolver(self, out: Outline) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
        stores = {n: s.model_dump() for n, s in out.secrets.items()}
        put_in = partial(
            resolve_secrets, secrets=stores, environ=self._around.environ, directory=self._around.directory
        )

        def resolved(config: Mapping[str, Any]) -> Mapping[str, Any]:
            found = put_in(config)
            self._secrets += [Secret(v) for v in put_in({r: r for r in secret_references(config)}).values()]
            return found

        return resolved

    def _found(self) -> list[Finding]:
        """Return the findings; what components said of their surroundings may hold a secret, and does so no more."""
        found = self._findings.found()
        if not self._secrets:
            return found
        hidden = partial(scrub, secrets=self._secrets)
        return [replace(f, message=hidden(f.message), hint=hidden(f.hint)) for f in found]


def _text(source: Path | str | Written) -> tuple[str | bytes | Finding, str, Path]:
    """Return the text, the name of its file and its folder."""
    if isinstance(source, Written):
        return source.text, str(source.path), source.path.parent
    if isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{")):
        return source, "", Path()
    path = Path(source)
    try:
        return path.read_bytes(), str(path), path.parent
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        close = difflib.get_close_matches(path.name, _beside(path), n=1)
        hint = f"did you mean {close[0]!r}?" if close else "check the path"
        return Finding("error", "workflow.unreadable", f"cannot be read: {reason}", hint, Place(str(path))), "", Path()


def _beside(path: Path) -> list[str]:
    """Return the names of the files in the same folder that may be workflows."""
    try:
        return [p.name for p in path.parent.iterdir() if p.suffix in (".yaml", ".yml", ".json")]
    except OSError:
        return []


def _override(document: Document, path: str, value: Any) -> None:
    """Set a value by its dotted path, making the maps on the way; whole numbers walk into lists; `...` removes it."""
    at = document.root
    *steps, last = path.split(".")
    for step in steps:
        child = at.child(int(step)) if step.isdecimal() and isinstance(at.data, list) else at.child(step)
        if child is None or not isinstance(child.data, dict | list):
            child = Value({})
            if isinstance(at.data, dict):
                at.data[step] = child
        at = child
    if value is ...:
        if isinstance(at.data, dict):
            at.data.pop(last, None)
        return
    new = value_of(value)
    if isinstance(at.data, list) and last.isdecimal() and int(last) < len(at.data):
        at.data[int(last)] = new
    elif isinstance(at.data, dict):
        new.key_mark = at.data[last].key_mark if last in at.data else NOWHERE
        at.data[last] = new


def _names_python(document: Document) -> bool:
    for section in ("sources", "transformations", "destinations"):
        found = document.root.map.get(section)
        for node in found.map.values() if found is not None else ():
            kind = node.map.get("type")
            if kind is not None and str(kind.data).startswith("python"):
                return True
    return False
