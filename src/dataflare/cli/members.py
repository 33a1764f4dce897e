"""The workflows of a folder: what each file said when it was read, and what a run of it needs."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from dataflare.cli.surroundings import plan_of
from dataflare.errors import InvalidWorkflowError, Place, WorkflowError
from dataflare.executor.surroundings import TENANT, Secrets, StateOf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack
    from pathlib import Path

    from dataflare.cli.running import RunOptions
    from dataflare.component import Registry, StateStore
    from dataflare.listening.server import Address
    from dataflare.monitoring.events import Observer
    from dataflare.operate.agenda import PlannedRun
    from dataflare.operate.door import Hook
    from dataflare.operate.member import Member
    from dataflare.operate.starter import Prepared
    from dataflare.plan import Plan
    from dataflare.schedule import Schedule
    from dataflare.workflow import Written


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that was read and is valid: its text, its plan as far as its words go, its schedule, its open state."""

    version: Written
    plan: Plan
    schedule: Schedule | None
    state: StateOf
    store: StateStore[Any]
    hook: Hook | None

    @property
    def workflow(self) -> str:
        """Its id."""
        return self.plan.workflow

    @property
    def path(self) -> Path:
        """Its file."""
        return self.version.path


@dataclass(slots=True, eq=False)
class Entry:
    """A workflow of the folder; its runs are of `draft`, the newest version of its file that was valid."""

    draft: Draft
    kept: bool = True


@dataclass(frozen=True, slots=True)
class Around:
    """What the workflows of a folder share."""

    registry: Registry
    options: RunOptions
    observer: Observer
    address: Address
    stack: ExitStack


class Members:
    """Reads files, and makes of them what a scheduler keeps; holds the stores that they share."""

    def __init__(self, around: Around) -> None:
        """Hold none yet."""
        self._around = around
        self._stores: dict[str, StateStore[Any]] = {}
        self._secrets: dict[str, Secrets] = {}
        self.entries: dict[str, Entry] = {}

    def read(self, path: Path, level: str = "static") -> Draft:
        """Read a file; raise WorkflowError, or with all findings InvalidWorkflowError, where it is wrong. Blocking.

        `level`: how much is looked at, as `load` knows it.
        """
        from dataflare.schedule import Schedule
        from dataflare.workflow import Written

        try:
            version = Written(path, path.read_bytes())
        except OSError as error:
            raise WorkflowError(
                f"cannot be read: {error.strerror}", hint="check the path", place=Place(str(path))
            ) from error
        plan = plan_of(version, self._around.registry, level=level, state=self._around.options.state)
        schedule = Schedule.of(plan.schedule) if plan.schedule else None
        if schedule is not None and schedule.after is not None and schedule.after.workflow == plan.workflow:
            raise WorkflowError("a workflow cannot run after itself", place=Place(str(path), path="schedule.after"))
        hook = self._hook(path, plan, schedule)
        state = StateOf.of_plan(plan)
        return Draft(version, plan, schedule, state, self._store(state), hook)

    def at(self, path: Path) -> Entry | None:
        """Return the workflow that is in a file."""
        return next((entry for entry in self.entries.values() if entry.draft.path == path), None)

    def check(self, draft: Draft) -> None:
        """Raise WorkflowError where another file has its id, or another workflow is called where it is."""
        entry = self.entries.get(draft.workflow)
        if entry is not None and entry.draft.path != draft.path and entry.draft.path.exists():
            raise WorkflowError(
                f"{entry.draft.path.name} has the id {draft.workflow!r}, too",
                hint="let each workflow have an id of its own: its state hangs on it",
                place=Place(str(draft.path), path="id"),
            )
        for other in self.entries.values():
            hook = other.draft.hook
            if other not in (entry, self.at(draft.path)) and draft.hook and hook and hook.path == draft.hook.path:
                raise WorkflowError(
                    f"{other.draft.workflow} is called at {hook.path}, too",
                    hint="give each a path of its own",
                    place=Place(str(draft.path), path="schedule.webhook"),
                )

    def add(self, draft: Draft) -> Entry:
        """Hold a workflow."""
        entry = self.entries[draft.workflow] = Entry(draft)
        return entry

    def member(self, entry: Entry) -> Member:
        """Return what a scheduler keeps of a workflow."""
        from dataflare.operate.member import Member

        draft = entry.draft
        prepare = partial(self._prepared, entry)
        return Member(draft.workflow, draft.schedule, draft.store, prepare, draft.state.directory, draft.hook)

    def hide(self, text: str) -> str:
        """Return the text without the secrets that are known by now."""
        for secrets in list(self._secrets.values()):
            text = secrets.hide(text)
        return text

    def _hook(self, path: Path, plan: Plan, schedule: Schedule | None) -> Hook | None:
        """Return where the workflow is called, if it is; raise WorkflowError where that cannot be."""
        from dataflare.operate.door import Hook

        if schedule is None or schedule.webhook is None:
            return None
        webhook = schedule.webhook
        secrets = self._secrets[f"{plan.workflow} schedule"] = Secrets(plan)
        hook = Hook.of(plan.workflow, webhook, secrets(webhook.auth) if webhook.auth is not None else None)
        if hook.rules.auth is None and self._around.address.outward:
            raise WorkflowError(
                "whoever listens to a network needs auth, or anybody may start runs",
                hint="write schedule.webhook.auth, or listen at 127.0.0.1",
                place=Place(str(path), path="schedule.webhook"),
            )
        return hook

    def _store(self, state: StateOf) -> StateStore[Any]:
        from dataflare.executor.runtime import LocalRuntime

        key = f"{state.folder.resolve() if state.folder else state.directory}|{sorted(state.settings.items())}"
        if key not in self._stores:
            store = state.store(self._around.registry, LocalRuntime())
            self._stores[key] = self._around.stack.enter_context(store)
        return self._stores[key]

    @contextmanager
    def _prepared(self, entry: Entry, planned: PlannedRun) -> Iterator[Prepared]:
        """Plan the version that counts now, and give what a run of it needs."""
        from dataflare.executor.contract import RunContext
        from dataflare.executor.runtime import LocalRuntime
        from dataflare.operate.starter import Prepared
        from dataflare.workflow import Replanning

        draft = entry.draft
        plan, text = self._plan(draft.version), Replanning(draft.version, self._plan)
        secrets = self._secrets[plan.workflow] = Secrets(plan)
        runtime = LocalRuntime(self._around.observer)
        try:
            context = RunContext(
                registry=self._around.registry,
                runtime=runtime,
                store=draft.store,
                tenant=TENANT,
                run=planned.id,
                deadline_seconds=draft.schedule.deadline_seconds if draft.schedule is not None else None,
                catch_up=draft.schedule is not None,
                socket=draft.state.socket,
                resolve=secrets,
                replan=text.replan,
                reload=text.reload,
            )
            yield Prepared(plan, context, secrets.hide)
        finally:
            runtime.close()

    def _plan(self, version: Written) -> Plan:
        try:
            options = self._around.options
            return plan_of(version, self._around.registry, parallelism=options.parallelism, state=options.state)
        except InvalidWorkflowError as error:
            first = next(f for f in error.findings if f.severity == "error")
            more = len(error.findings) - 1
            text = f"{first.message}{f'; and {more} more' if more else ''}"
            known = WorkflowError(text, hint=f"see: dataflare validate {version.path}", place=first.place)
            known.exit_code = error.exit_code
            raise known from error


__all__ = ["Around", "Draft", "Entry", "Members"]
