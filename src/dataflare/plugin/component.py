"""An instance of a component: its functions, called by their names in the interface."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from wasmtime import WasmtimeError
from wasmtime.component import Linker, Record

from dataflare.clock import SystemClock
from dataflare.errors import WorkflowError
from dataflare.plugin.callbacks import add_function
from dataflare.plugin.failures import ERRORS, trapped
from dataflare.plugin.imports import (
    FALLIBLE,
    FUNCTIONS,
    HOST,
    PACKAGE,
    Offers,
    allow,
    exported,
    interface_of,
    limited,
    refuse_import,
)
from dataflare.plugin.shapes import SHAPES
from dataflare.plugin.values import Function, check

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wasmtime.component import Component

    from dataflare.plugin.engine import WasmEngine
    from dataflare.plugin.grants import Grants
    from dataflare.plugin.host import Host
    from dataflare.plugin.limits import Limits

_NANOSECONDS, _SECOND = 1000, 1_000_000_000
_MEMORIES = 2


class ComponentInstance:
    """One instance, for one thread at a time."""

    buffers = False

    def __init__(self, engine: WasmEngine, component: Component, host: Host, limits: Limits, grants: Grants) -> None:
        """Instantiate it; raise WorkflowError where it wants more than it is given, or exports other functions."""
        check()
        self._engine, self._limits = engine, limits
        self._offers = Offers(host, grants)
        self._store = limited(engine, limits, grants, memories=_MEMORIES)
        linker = self._linker(engine, component)
        try:
            instance = linker.instantiate(self._store, component)
        except WasmtimeError as error:
            why = trapped(str(error), self._offers.denied).what
            raise WorkflowError(f"the plugin cannot be started: {why}") from None
        there = component.type.exports(engine.engine)
        self._functions = {
            name: Function.of(instance, self._store, name, exported(there, interface))
            for interface, names in FUNCTIONS.items()
            for name in names
        }
        for name, function in self._functions.items():
            if function.shape != SHAPES[name]:
                raise WorkflowError(
                    f"the component's function {name} takes or returns other values than it should",
                    hint="build it for the world `plugin` of dataflare.wit",
                )

    def call(self, name: str, *given: Any) -> Any:
        """Call a function and return what it returns; raise PluginError as the plugin says, or where it trapped."""
        allow(self._engine, self._store, self._limits)
        self._offers.denied = ""
        try:
            found = self._functions[name](*given)
        except WasmtimeError as error:
            raise trapped(str(error), self._offers.denied) from None
        if name not in FALLIBLE:
            return found
        good, value = found
        if not good:
            case, what = value
            raise ERRORS[case](what)
        return value

    def _linker(self, engine: WasmEngine, component: Component) -> Linker:
        linker = Linker(engine.engine)
        linker.allow_shadowing = True
        linker.add_wasip2()
        offers = self._interfaces()
        for name in component.type.imports(engine.engine):
            interface = interface_of(name)
            functions = offers.get(interface)
            if functions is not None:
                with ExitStack() as stack:
                    root = stack.enter_context(linker.root())
                    into = stack.enter_context(root.add_instance(name))
                    for word, function in functions.items():
                        if interface == HOST:
                            add_function(into, word, self._offers.guarded(function))
                        else:
                            into.add_func(word, self._offers.guarded(_without_store(function)))
            elif not interface.startswith("wasi:") and interface != f"{PACKAGE}/types":
                raise refuse_import(name)
        return linker

    def _interfaces(self) -> Mapping[str, Mapping[str, Callable[..., Any]]]:
        """Return the functions by interface that are this host's own; without the clock time stands in an epoch."""
        now, wait, granted = self._offers.host.now, self._offers.refuse_to_wait, self._offers.grants.clock
        running = (lambda: int(SystemClock().monotonic() * _SECOND)) if granted else (lambda: now() * _NANOSECONDS)
        own: dict[str, Mapping[str, Callable[..., Any]]] = {
            HOST: self._offers.functions,
            "wasi:clocks/monotonic-clock": {
                "now": running,
                "resolution": lambda: _NANOSECONDS,
                "subscribe-instant": wait,
                "subscribe-duration": wait,
            },
        }
        if not granted:
            own["wasi:clocks/wall-clock"] = {"now": lambda: _moment(now()), "resolution": lambda: _moment(1)}
        return own


def _without_store(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda _, *given: function(*given)


def _moment(microseconds: int) -> Record:
    """Return a `datetime` of WASI."""
    seconds, rest = divmod(microseconds, 1_000_000)
    moment = Record()
    vars(moment).update(seconds=seconds, nanoseconds=rest * _NANOSECONDS)
    return moment


__all__ = ["ComponentInstance"]
