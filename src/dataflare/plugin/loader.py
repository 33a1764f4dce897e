"""Files in JavaScript and TypeScript become what the runtime evaluates: done once, and kept."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from wasmtime import Store, WasiConfig, WasmtimeError
from wasmtime.component import Linker

from dataflare.plugin.engine import TICK_SECONDS
from dataflare.plugin.failures import FatalError, trapped
from dataflare.plugin.runtime_files import runtime_digest
from dataflare.plugin.values import Function, check

if TYPE_CHECKING:
    from dataflare.plugin.engine import WasmEngine

_LOADER = "javascript-loader"
_SECONDS_MAX, _MEMORY_BYTES_MAX = 30.0, 512 << 20


def transformed(engine: WasmEngine, source: str, *, typescript: bool) -> str:
    """Return the body of a function that returns what the source exports; lines stay where they are.

    Raises FatalError, "message (line:column)", where it is no such language.
    """
    name = hashlib.sha256(f"{runtime_digest(_LOADER)} {typescript} {source}".encode()).hexdigest()
    kept = engine.files.load(name)
    if kept is not None:
        return kept.decode()
    made = _run(engine, source, typescript=typescript)
    engine.files.keep(name, made.encode())
    return made


def _run(engine: WasmEngine, source: str, *, typescript: bool) -> str:
    check()
    component = engine.shipped(_LOADER)
    store = Store(engine.engine)
    store.set_wasi(WasiConfig())
    store.set_limits(memory_size=_MEMORY_BYTES_MAX)
    store.set_epoch_deadline(round(_SECONDS_MAX / TICK_SECONDS))
    engine.refuel(store)
    linker = Linker(engine.engine)
    linker.add_wasip2()
    with engine.ticking():
        try:
            instance = linker.instantiate(store, component)
            good, text = Function.of(instance, store, "transform")(source, typescript)
        except WasmtimeError as error:
            raise FatalError(f"the file cannot be read as a script: {trapped(str(error)).what}") from None
    if not good:
        raise FatalError(text)
    return str(text)


__all__ = ["transformed"]
