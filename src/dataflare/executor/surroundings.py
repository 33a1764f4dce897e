"""What a run needs around a plan: the state store, the control socket, secrets."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflare.errors import Place, UnavailableError, WorkflowError
from dataflare.security.secrets import Secret, scrub

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dataflare.component import Registry, Runtime, StateStore
    from dataflare.plan import Plan

STATE = "./.dataflare"
TENANT = "default"


@dataclass(frozen=True, slots=True)
class StateOf:
    """Where the state of a workflow is: its name, the settings of its store, the folder that relative paths start at.

    `workflow` is empty where a whole folder of state is meant.
    """

    workflow: str
    settings: Mapping[str, Any]
    directory: Path

    @classmethod
    def of_plan(cls, plan: Plan) -> StateOf:
        """Take it from a plan."""
        return cls(plan.workflow, plan.settings.state, Path(plan.directory))

    @classmethod
    def folder_of(cls, state: Path | None) -> StateOf:
        """Take a whole folder of state, the usual one by default; it is of no workflow."""
        return cls("", {"type": "sqlite", "path": str(state or STATE)}, Path())

    @property
    def folder(self) -> Path | None:
        """The folder of the state; None where the state is not in a folder."""
        if self.settings.get("type", "sqlite") != "sqlite":
            return None
        return self.directory / Path(str(self.settings.get("path", STATE))).expanduser()

    @property
    def socket(self) -> Path | None:
        """The control socket of the workflow, by the shorter way: such paths have at most 107 characters."""
        if self.folder is None:
            return None
        path = (self.folder / f"{self.workflow}.sock").absolute()
        return min(path, Path(os.path.relpath(path)), key=lambda p: len(str(p)))

    @property
    def is_there(self) -> bool:
        """Whether the state is there already."""
        return self.folder is not None and (self.folder / "state.db").exists()

    @contextmanager
    def store(self, registry: Registry, runtime: Runtime) -> Iterator[StateStore[Any]]:
        """Open the store, and close it in the end."""
        from pydantic import ValidationError

        from dataflare.component import StageContext, state_store

        settings = dict(self.settings)
        kind = registry.find(state_store, str(settings.pop("type", "sqlite")))
        try:
            store = kind(kind.spec.config.model_validate(settings))
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors())
            raise WorkflowError(
                f"the settings of the state store are not valid: {wrong}", place=Place(path="runtime.state")
            ) from error
        store.context = StageContext(runtime, self.workflow, "", tenant=TENANT, directory=self.directory)
        try:
            store.open()
            yield store
        finally:
            store.close()

    @contextmanager
    def existing_store(self, registry: Registry, runtime: Runtime) -> Iterator[StateStore[Any]]:
        """Open a store that is there already; raise UnavailableError rather than make one."""
        if not self.is_there:
            where = f" at {self.folder}" if self.folder else ""
            raise UnavailableError(
                f"there is no state{where}", hint="name the workflow file, or the folder of its state with --state"
            )
        with self.store(registry, runtime) as store:
            yield store


@dataclass(slots=True)
class Secrets:
    """Puts secrets into settings as late as possible, and remembers them only to hide them."""

    plan: Plan
    known: list[Secret] = field(default_factory=list)

    def __call__(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the settings with every reference replaced."""
        from dataflare.workflow import resolve_secrets, secret_references

        put_in = partial(resolve_secrets, secrets=self.plan.secrets, environ=os.environ, directory=self.plan.directory)
        resolved = put_in(config)
        alone = put_in({reference: reference for reference in secret_references(config)})
        found = {*_changed(config, resolved), *alone.values()} - {s.reveal() for s in self.known}
        self.known.extend(Secret(text) for text in found)
        return resolved

    def hide(self, text: str) -> str:
        """Return the text without the secrets that are known by now."""
        return scrub(text, self.known)


def _changed(before: Any, after: Any) -> Iterator[str]:
    """Yield every text that holds a secret now; the settings around it are the same before and after."""
    if isinstance(before, dict):
        for key, value in before.items():
            yield from _changed(value, after[key])
    elif isinstance(before, list | tuple):
        for one, other in zip(before, after, strict=True):
            yield from _changed(one, other)
    elif isinstance(after, str) and before != after:
        yield after
