"""What all plugins import and export, whatever they are compiled to, and what an instance may use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from wasmtime import Store, WasmtimeError

from dataflare.errors import WorkflowError
from dataflare.plugin.engine import TICK_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dataflare.plugin.engine import WasmEngine
    from dataflare.plugin.grants import Grants
    from dataflare.plugin.host import Host
    from dataflare.plugin.limits import Limits

PACKAGE, MAJOR = "dataflare:plugin", 1
HOST = f"{PACKAGE}/host"
FUNCTIONS = {
    "lifecycle": ("describe", "open", "close", "export-state", "import-state"),
    "processor": ("process", "process-batch"),
}
BUFFERS = ("bind", "process-buffers")
"""Of the interface `buffers`, which a core module may export as well."""
FALLIBLE = ("open", "import-state", "process", "process-batch", *BUFFERS)
"""Functions that return a result or an error."""
_VERSIONED = re.compile(r"(?P<interface>[^@]+)@(?P<version>(?P<major>\d+)\..*)")
_INSTANCES, _TABLES = 50, 20


class WaitingError(Exception):
    """A plugin wants to wait."""


class Offers:
    """The functions of a host for one instance. `denied` is what one of them refused in the call that goes on."""

    def __init__(self, host: Host, grants: Grants) -> None:
        """Refuse nothing yet."""
        self.host, self.grants, self.denied = host, grants, ""
        self.functions: dict[str, Callable[..., Any]] = {
            "log": host.log,
            "metric": host.metric,
            "now": host.now,
            "get-state": host.get_state,
            "set-state": host.set_state,
        }

    def refuse_to_wait(self, *_: Any) -> None:
        """Refuse: a call that waits outside of the plugin cannot be stopped."""
        raise WaitingError("a plugin may not wait: a waiting call cannot be stopped")

    def guarded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Keep what a host function raises here: wasmtime has one place for it for all threads."""

        def called(*given: Any) -> Any:
            try:
                return function(*given)
            except Exception as error:  # noqa: BLE001 - told by the call that it ends
                self.denied = str(error) or type(error).__name__
                raise WasmtimeError("refused") from None

        return called


def interface_of(name: str) -> str:
    """Return the name of an interface without its version."""
    found = _VERSIONED.fullmatch(name)
    return found["interface"] if found else name


def refuse_import(name: str) -> WorkflowError:
    """Return the error for something that no plugin is given."""
    return WorkflowError(
        f"the plugin imports {name}, which no host of this version has",
        hint=f"plugins may import {HOST}@{MAJOR}.x and WASI",
    )


def exported(names: Iterable[str], interface: str) -> str:
    """Return the full name of an exported interface of this major version; raise WorkflowError without one."""
    versions = []
    for name in names:
        found = _VERSIONED.fullmatch(name)
        if found and found["interface"] == f"{PACKAGE}/{interface}":
            if int(found["major"]) == MAJOR:
                return name
            versions.append(found["version"])
    if versions:
        raise WorkflowError(f"the plugin speaks version {versions[0]} of {PACKAGE}; this host speaks {MAJOR}.x")
    raise WorkflowError(
        f"the plugin exports no {PACKAGE}/{interface}", hint="build it for the world `plugin` of dataflare.wit"
    )


def limited(engine: WasmEngine, limits: Limits, grants: Grants, *, memories: int) -> Store:
    """Return a store in which instances are bounded, and see what they are granted, and no network.

    `memories`: so many, each of which may have as much as the limits say.
    """
    store = Store(engine.engine)
    with grants.wasi() as surroundings:
        store.set_wasi(surroundings)
    store.set_limits(
        memory_size=limits.memory_bytes_max,
        table_elements=limits.table_elements_max,
        instances=_INSTANCES,
        tables=_TABLES,
        memories=memories,
    )
    allow(engine, store, limits)
    return store


def allow(engine: WasmEngine, store: Store, limits: Limits) -> None:
    """Set how much the next call may take; deadlines count from now on, in ticks."""
    store.set_epoch_deadline(max(1, round(limits.seconds_max / TICK_SECONDS)) + 1)
    if limits.fuel_max is not None:
        engine.refuel(store, limits.fuel_max)


__all__ = [
    "BUFFERS",
    "FALLIBLE",
    "FUNCTIONS",
    "HOST",
    "MAJOR",
    "PACKAGE",
    "Offers",
    "WaitingError",
    "allow",
    "exported",
    "interface_of",
    "limited",
    "refuse_import",
]
