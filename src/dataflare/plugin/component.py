"""An instance of a component: its functions, called by their names in the interface."""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from wasmtime import Store, WasiConfig, WasmtimeError
from wasmtime.component import Linker, Record

from dataflare.errors import WorkflowError
from dataflare.plugin.engine import TICK_SECONDS
from dataflare.plugin.failures import BadRecordError, FatalError, TransientError, trapped
from dataflare.plugin.values import Function, check

if TYPE_CHECKING:
    from collections.abc import Callable

    from wasmtime.component import Component

    from dataflare.plugin.engine import WasmEngine
    from dataflare.plugin.host import Host
    from dataflare.plugin.limits import Limits

PACKAGE, MAJOR = "dataflare:plugin", 1
_FUNCTIONS = {
    "lifecycle": ("describe", "open", "close", "export-state", "import-state"),
    "processor": ("process", "process-batch"),
}
_FALLIBLE = ("open", "import-state", "process", "process-batch")
_ERRORS = {"bad-record": BadRecordError, "transient": TransientError, "fatal": FatalError}
_VERSIONED = re.compile(r"(?P<interface>[^@]+)@(?P<version>(?P<major>\d+)\..*)")
_INSTANCES, _MEMORIES, _TABLES = 50, 20, 100
_NANOSECONDS = 1000


class ComponentInstance:
    """One instance, for one thread at a time."""

    def __init__(self, engine: WasmEngine, component: Component, host: Host, limits: Limits) -> None:
        """Instantiate it; raise WorkflowError where it wants more than it is given, or exports other functions."""
        check()
        self._engine, self._limits, self._host, self._denied = engine, limits, host, ""
        self._store = store = Store(engine.engine)
        store.set_wasi(WasiConfig())
        store.set_limits(
            memory_size=limits.memory_bytes_max,
            table_elements=limits.table_elements_max,
            instances=_INSTANCES,
            tables=_TABLES,
            memories=_MEMORIES,
        )
        self._allow()
        linker = self._linker(engine, component)
        try:
            instance = linker.instantiate(store, component)
        except WasmtimeError as error:
            raise WorkflowError(f"the plugin cannot be started: {trapped(str(error), self._denied).what}") from None
        self._functions: dict[str, Function] = {}
        exported = component.type.exports(engine.engine)
        for interface, names in _FUNCTIONS.items():
            full = _found(exported, interface)
            for name in names:
                self._functions[name] = Function.of(instance, store, name, full)

    def call(self, name: str, *given: Any) -> Any:
        """Call a function and return what it returns; raise PluginError as the plugin says, or where it trapped."""
        self._allow()
        self._denied = ""
        try:
            found = self._functions[name](*given)
        except WasmtimeError as error:
            raise trapped(str(error), self._denied) from None
        if name not in _FALLIBLE:
            return found
        good, value = found
        if not good:
            case, what = value
            raise _ERRORS[case](what)
        return value

    def _allow(self) -> None:
        """Set how much the next call may take; deadlines count from now on, in ticks."""
        self._store.set_epoch_deadline(max(1, round(self._limits.seconds_max / TICK_SECONDS)) + 1)
        if self._limits.fuel_max is not None:
            self._engine.refuel(self._store, self._limits.fuel_max)

    # ---- what it imports ----------------------------------------------------------------------------------------

    def _linker(self, engine: WasmEngine, component: Component) -> Linker:
        linker = Linker(engine.engine)
        linker.allow_shadowing = True
        linker.add_wasip2()
        offers = self._offers()
        for name in component.type.imports(engine.engine):
            found = _VERSIONED.fullmatch(name)
            interface = found["interface"] if found else name
            functions = offers.get(interface)
            if functions is not None:
                with ExitStack() as stack:
                    root = stack.enter_context(linker.root())
                    into = stack.enter_context(root.add_instance(name))
                    for word, function in functions.items():
                        into.add_func(word, self._guarded(function))
            elif not interface.startswith("wasi:") and interface != f"{PACKAGE}/types":
                raise WorkflowError(
                    f"the plugin imports {name}, which no host of this version has",
                    hint=f"plugins may import {PACKAGE}/host@{MAJOR}.x and wasi:*",
                )
        return linker

    def _offers(self) -> dict[str, dict[str, Callable[..., Any]]]:
        """Return the functions by interface that are this host's own; time stands still in an epoch."""
        host = self._host
        own: dict[str, Callable[..., Any]] = {
            "log": host.log,
            "metric": host.metric,
            "now": host.now,
            "get-state": host.get_state,
            "set-state": host.set_state,
        }
        wait: dict[str, Callable[..., Any]] = {
            "subscribe-instant": self._refuse_to_wait,
            "subscribe-duration": self._refuse_to_wait,
        }
        monotonic: dict[str, Callable[..., Any]] = {
            "now": lambda: host.now() * _NANOSECONDS,
            "resolution": lambda: _NANOSECONDS,
        }
        wall: dict[str, Callable[..., Any]] = {"now": lambda: _moment(host.now()), "resolution": lambda: _moment(1)}
        return {
            f"{PACKAGE}/host": own,
            "wasi:clocks/monotonic-clock": {**monotonic, **wait},
            "wasi:clocks/wall-clock": wall,
        }

    def _refuse_to_wait(self, *_: Any) -> None:
        raise WaitingError("a plugin may not wait: a waiting call cannot be stopped")

    def _guarded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Keep what a host function raises here: wasmtime has one place for it for all threads."""

        def called(_: Any, *given: Any) -> Any:
            try:
                return function(*given)
            except Exception as error:  # noqa: BLE001 - told by the call that it ends
                self._denied = str(error)
                raise WasmtimeError("refused") from None

        return called


def _moment(microseconds: int) -> Record:
    """Return a `datetime` of WASI."""
    seconds, rest = divmod(microseconds, 1_000_000)
    moment = Record()
    vars(moment).update(seconds=seconds, nanoseconds=rest * _NANOSECONDS)
    return moment


class WaitingError(Exception):
    """A plugin wants to wait."""


def _found(exported: Any, interface: str) -> str:
    """Return the full name of an exported interface of this major version."""
    versions = []
    for name in exported:
        found = _VERSIONED.fullmatch(name)
        if found and found["interface"] == f"{PACKAGE}/{interface}":
            if int(found["major"]) == MAJOR:
                return str(name)
            versions.append(found["version"])
    if versions:
        raise WorkflowError(f"the plugin speaks version {versions[0]} of {PACKAGE}; this host speaks {MAJOR}.x")
    raise WorkflowError(
        f"the component exports no {PACKAGE}/{interface}", hint="build it for the world `plugin` of dataflare.wit"
    )


__all__ = ["MAJOR", "PACKAGE", "ComponentInstance"]
