"""The wasmtime engine of this process: compiles once, keeps what it compiled, and lets time pass for its instances."""

from __future__ import annotations

import atexit
import hashlib
import lzma
import platform
import sys
import threading
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from wasmtime import Config, Engine, Module, WasmtimeError
from wasmtime.component import Component

from dataflare.clock import SystemClock
from dataflare.errors import WorkflowError
from dataflare.plugin.compiled import CompiledFiles, usual_folder
from dataflare.plugin.patience import told
from dataflare.plugin.runtime_files import runtime_digest, runtime_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wasmtime import Store

TICK_SECONDS = 0.01
"""Calls that exceed their time are stopped at a tick."""
STACK_BYTES = 1 << 20
COMPILING = "compiling the plugin runtime, once: what is compiled is kept"
_FUEL_MAX, _BEHIND_MAX = 1 << 62, 1000
_MODULE, _COMPONENT = b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"


class WasmEngine:
    """Compiles plugins. `fuel`: instructions are counted, which takes a third more time."""

    def __init__(self, *, fuel: bool, files: CompiledFiles) -> None:
        """Make the engine; the settings are part of what is compiled."""
        config = Config()
        config.wasm_component_model = True
        config.epoch_interruption = True
        config.consume_fuel = fuel
        config.max_wasm_stack = STACK_BYTES
        self.engine = Engine(config)
        self.files, self._fuel = files, fuel
        self._made: dict[str, Component | Module] = {}
        self._lock = threading.Lock()
        self._users = 0
        self._enough = threading.Event()

    def compiled(self, code: bytes) -> Component | Module:
        """Return what the bytes of a component or of a core module are compiled to.

        Raises WorkflowError where they are neither.
        """
        if not code.startswith((_COMPONENT, _MODULE)):
            raise WorkflowError("this is neither a component of WebAssembly nor a core module")
        kind = Component if code.startswith(_COMPONENT) else Module
        return self._once(hashlib.sha256(code).hexdigest(), kind, lambda: code)

    def shipped(self, name: str) -> Component:
        """Return a component that runs scripts; raise UnavailableError where its package is not installed."""
        made = self._once(runtime_digest(name), Component, lambda: lzma.decompress(runtime_file(name).read_bytes()))
        assert isinstance(made, Component)
        return made

    def _once(self, digest: str, kind: type[Component | Module], code: Callable[[], bytes]) -> Component | Module:
        name = self._name(digest)
        with self._lock:  # two at once would compile the same twice
            if name not in self._made:
                self._made[name] = self._kept(name, kind) or self._compile(name, kind, code())
            return self._made[name]

    @contextmanager
    def ticking(self) -> Iterator[None]:
        """Let time pass while somebody is in here: deadlines are counted in ticks."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._enough = threading.Event()
                threading.Thread(target=self._tick, args=(self._enough,), name="wasm ticks", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._enough.set()

    def refuel(self, store: Store, fuel: int = _FUEL_MAX) -> None:
        """Let a store use so much from now on, where it is counted."""
        if self._fuel:
            store.set_fuel(fuel)

    def _tick(self, enough: threading.Event) -> None:
        """Count the time that has gone by, also where this thread had to wait for its turn."""
        clock = SystemClock()
        begun, counted = clock.monotonic(), 0
        while not enough.wait(TICK_SECONDS):
            behind = int((clock.monotonic() - begun) / TICK_SECONDS) - counted
            for _ in range(min(behind, _BEHIND_MAX)):
                self.engine.increment_epoch()
            counted += behind

    def _name(self, digest: str) -> str:
        of = f"{digest} wasmtime {version('wasmtime')} {sys.platform} {platform.machine()} {self._fuel} {STACK_BYTES}"
        return hashlib.sha256(of.encode()).hexdigest()

    def _kept(self, name: str, kind: type[Component | Module]) -> Component | Module | None:
        with suppress(WasmtimeError):  # of another build of the same version, or another processor
            with self.files.runnable(name) as path:
                if path is not None:
                    return kind.deserialize_file(self.engine, path)
            if sys.platform != "linux" and (data := self.files.load(name)) is not None:
                return kind.deserialize(self.engine, data)
        return None

    def _compile(self, name: str, kind: type[Component | Module], code: bytes) -> Component | Module:
        try:
            with told(COMPILING):
                made = kind(self.engine, code)
        except WasmtimeError as error:
            raise WorkflowError(f"the plugin cannot be compiled: {str(error).splitlines()[0]}") from None
        self.files.keep(name, bytes(made.serialize()))
        return made


@lru_cache(maxsize=2)
def shared_engine(*, fuel: bool = False) -> WasmEngine:
    """Return the engine of this process, which is let go before the interpreter takes its modules apart."""
    atexit.register(shared_engine.cache_clear)
    return WasmEngine(fuel=fuel, files=CompiledFiles(usual_folder()))


__all__ = ["STACK_BYTES", "TICK_SECONDS", "WasmEngine", "shared_engine"]
