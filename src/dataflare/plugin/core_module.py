"""An instance of a core module: the functions of the interface, called through the module's own memory.

Values lie there as the canonical ABI of the component model has them, so the same module can be made a component of.
Texts are copied once each way.

Source: https://github.com/WebAssembly/component-model/blob/main/design/mvp/CanonicalABI.md
"""

from __future__ import annotations

import ctypes
import struct
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from wasmtime import Func, FuncType, Linker, Memory, Trap, ValType, WasmtimeError, _bindings, _ffi

from dataflare.errors import WorkflowError
from dataflare.plugin.failures import ERRORS, TrappedError, trapped
from dataflare.plugin.host import LEVELS, LOG_BYTES_MAX
from dataflare.plugin.imports import (
    BUFFERS,
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
from dataflare.plugin.layouts import (
    FORMATS,
    Reader,
    batch_result,
    columns,
    described,
    outcome,
    result,
    rows_result,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wasmtime import Module

    from dataflare.plugin.engine import WasmEngine
    from dataflare.plugin.grants import Grants
    from dataflare.plugin.host import Host
    from dataflare.plugin.limits import Limits

_I32_KIND, _NO_KIND = 0, 255
_DEPTH_MAX = 4
"""The host gives a text to a module by calling its `cabi_realloc`, which may call the host."""
_WORD, _NANOSECONDS = 0xFFFFFFFF, 1000
_WORD_BYTES, _ALIGNED = 4, 16
_WASI, _MONOTONIC = "wasi_snapshot_preview1", 1
_SUBSCRIPTION, _SUBSCRIPTION_BYTES, _EVENT_BYTES = "<QB15xQ8xB", 48, 32
_SUBSCRIPTIONS_MAX, _WAIT_NANOSECONDS_MAX = 16, 1_000_000
"""Of `poll_oneoff`: for what a subscription waits (0 is a clock), how long, and whether until a moment."""
_I32, _I64, _F64 = ValType.i32, ValType.i64, ValType.f64
_SIGNATURES: Mapping[str, tuple[tuple[Callable[[], ValType], ...], tuple[Callable[[], ValType], ...]]] = {
    "log": ((_I32, _I32, _I32), ()),
    "metric": ((_I32, _I32, _F64), ()),
    "now": ((), (_I64,)),
    "get-state": ((_I32, _I32, _I32), ()),
    "set-state": ((_I32,) * 5, ()),
    "poll_oneoff": ((_I32,) * 4, (_I32,)),
    "clock_time_get": ((_I32, _I64, _I32), (_I32,)),
}
_KINDS: Mapping[str, tuple[int, int]] = {
    "describe": (0, 1),
    "open": (2, 1),
    "close": (0, 0),
    "export-state": (0, 1),
    "import-state": (2, 1),
    "process": (2, 1),
    "process-batch": (4, 1),
    "bind": (2, 1),
    "process-buffers": (3, 1),
    "cabi_realloc": (4, 1),
    "cabi_post": (1, 0),
    "_initialize": (0, 0),
}
"""How many numbers of 32 bits a function takes and returns."""
_RESULTS: Mapping[str, Callable[[Reader, int], Any]] = {
    "describe": described,
    "open": partial(result, good=None),
    "import-state": partial(result, good=None),
    "export-state": Reader.text,
    "process": partial(result, good=outcome),
    "process-batch": partial(result, good=batch_result),
    "bind": partial(result, good=columns),
    "process-buffers": partial(result, good=rows_result),
}


class _Function(NamedTuple):
    """A function of the module, and how many values it returns."""

    inner: Func
    results: int


class CoreInstance:
    """One instance, for one thread at a time."""

    def __init__(self, engine: WasmEngine, module: Module, host: Host, limits: Limits, grants: Grants) -> None:
        """Instantiate it; raise WorkflowError where it wants more than it is given, or exports other functions."""
        self._engine, self._limits = engine, limits
        self._offers = Offers(host, grants)
        self._store = limited(engine, limits, grants, memories=1)
        self._trap = ctypes.POINTER(_ffi.wasm_trap_t)()
        self._memory: Memory | None = None
        self._depth = 0
        linker = self._linker(engine, module)
        try:
            found = linker.instantiate(self._store, module).exports(self._store)
        except (WasmtimeError, Trap) as error:
            why = trapped(str(error), self._offers.denied).what
            raise WorkflowError(f"the plugin cannot be started: {why}") from None
        exports = {e.name: found[e.name] for e in module.exports}
        memory = exports.get("memory")
        if not isinstance(memory, Memory):
            raise WorkflowError("the module exports no memory", hint="link it with what its SDK says")
        self._memory = memory
        self._realloc = self._found(exports, "cabi_realloc", "cabi_realloc")
        interfaces = {name: exported((n.partition("#")[0] for n in exports), name) for name in FUNCTIONS}
        names = {f: f"{interfaces[i]}#{f}" for i, functions in FUNCTIONS.items() for f in functions}
        self.buffers = any(name.startswith(f"{PACKAGE}/buffers@") for name in exports)
        if self.buffers:
            interface = exported((n.partition("#")[0] for n in exports), "buffers")
            names |= {f: f"{interface}#{f}" for f in BUFFERS}
        self._functions = {name: self._found(exports, full, name) for name, full in names.items()}
        after = {name: f"cabi_post_{full}" for name, full in names.items()}
        self._after = {n: self._found(exports, full, "cabi_post") for n, full in after.items() if full in exports}
        if "_initialize" in exports:
            self._raw(self._found(exports, "_initialize", "_initialize"))

    def call(self, name: str, *given: Any) -> Any:
        """Call a function and return what it returns; raise PluginError as the plugin says, or where it trapped."""
        allow(self._engine, self._store, self._limits)
        self._offers.denied = ""
        at = self._raw(self._functions[name], *self._lowered(name, given))
        if name not in _RESULTS:
            return None
        found = _RESULTS[name](self._reader(), at)
        if name in self._after:
            self._raw(self._after[name], at)
        if name not in FALLIBLE:
            return found
        good, value = found
        if not good:
            case, what = value
            raise ERRORS[case](what)
        return value

    # ---- calling ------------------------------------------------------------------------------------------------

    def _lowered(self, name: str, given: tuple[Any, ...]) -> list[int]:
        """Return the arguments as numbers; texts are put into the module's memory."""
        if name == "process-batch":
            ((form, rows, data),) = given
            return [FORMATS.index(form), rows, *self._put(data)]
        if name == "bind":
            words = [word for column in given[0] for text in column for word in self._put(text)]
            return [self._put_bytes(_packed(words), _WORD_BYTES), len(given[0])]
        if name == "process-buffers":
            rows, arrays = given
            words = [word for array in arrays for word in self._put_array(array)]
            return [rows, self._put_bytes(_packed(words), _WORD_BYTES), len(arrays)]
        return [number for text in given for number in self._put(text)]

    def _put(self, text: str) -> tuple[int, int]:
        data = text.encode()
        return self._put_bytes(data, 1), len(data)

    def _put_array(self, array: Sequence[memoryview]) -> list[int]:
        """Put the buffers of a column there; return where they lie, and how many elements they have."""
        validity, offsets, values = (self._put_bytes(data, _ALIGNED) if data.nbytes else _ALIGNED for data in array)
        return [validity, array[0].nbytes, offsets, array[1].nbytes // _WORD_BYTES, values, array[2].nbytes]

    def _put_bytes(self, data: bytes | memoryview, align: int) -> int:
        """Put bytes into memory that the module gives; return where they lie."""
        at, size = self._raw(self._realloc, 0, 0, align, len(data)), len(data)
        memory = self._bytes()
        if at + size > len(memory):
            raise TrappedError("it gave memory that it does not have")
        memory[at : at + size] = data
        return at

    def _raw(self, function: _Function, *given: int) -> int:
        """Call a function whose arguments and result are whole numbers; the result is 0 where there is none."""
        numbers = (_ffi.wasmtime_val_t * len(given))()  # a host function may call in the middle of a call
        for number, value in enumerate(given):
            numbers[number].of.i32 = value
        found = _ffi.wasmtime_val_t(kind=_NO_KIND)
        error = _bindings._wasmtime_func_call(  # noqa: SLF001
            self._store._context(),  # noqa: SLF001
            ctypes.byref(function.inner._func),  # noqa: SLF001
            numbers,
            len(given),
            ctypes.byref(found),
            function.results,
            ctypes.byref(self._trap),
        )
        if error:
            raise trapped(str(WasmtimeError._from_ptr(error)), self._offers.denied)  # noqa: SLF001
        if self._trap:
            trap, self._trap = self._trap, ctypes.POINTER(_ffi.wasm_trap_t)()
            raise trapped(str(Trap._from_ptr(trap)), self._offers.denied)  # noqa: SLF001
        if self._offers.denied:
            raise TrappedError(self._offers.denied)
        if not function.results:
            return 0
        if int(found.kind) != _I32_KIND:
            _bindings._wasmtime_val_unroot(ctypes.byref(found))  # noqa: SLF001
            raise TrappedError("its functions return other values than they should")
        return int(found.of.i32) & _WORD

    def _bytes(self) -> memoryview:
        memory, store = self._memory, self._store
        assert memory is not None
        size = memory.data_len(store)
        if not size:
            return memoryview(b"")
        start = ctypes.addressof(memory.data_ptr(store).contents)
        return memoryview((ctypes.c_ubyte * size).from_address(start)).cast("B")

    def _reader(self) -> Reader:
        return Reader(self._bytes())

    def _found(self, exports: Mapping[str, Any], name: str, kind: str) -> _Function:
        """Return an exported function that takes and returns so many values; what they are is seen at each call.

        To ask for it here would end the process where it is something that the C interface does not know.
        """
        function = exports.get(name)
        if not isinstance(function, Func):
            raise WorkflowError(f"the module exports no function {name}", hint="link it with what its SDK says")
        told = function.type(self._store)
        if (len(told.params), len(told.results)) != _KINDS[kind]:
            raise WorkflowError(
                f"the module's function {name} takes or returns other values than it should",
                hint="build it for the world `plugin` of dataflare.wit",
            )
        return _Function(function, len(told.results))

    # ---- what it imports ----------------------------------------------------------------------------------------

    def _linker(self, engine: WasmEngine, module: Module) -> Linker:
        linker = Linker(engine.engine)
        linker.allow_shadowing = True
        linker.define_wasi()
        still: dict[str, Callable[..., Any]] = {"poll_oneoff": CoreInstance._poll}
        if not self._offers.grants.clock:
            still["clock_time_get"] = CoreInstance._clock
        own = {HOST: _HOST_FUNCTIONS, _WASI: still}
        for wanted in module.imports:
            name = wanted.name or ""
            functions = own.get(interface_of(wanted.module), {})
            if name in functions:
                given, returned = _SIGNATURES[name]
                kind = FuncType([make() for make in given], [make() for make in returned])
                linker.define_func(wanted.module, name, kind, self._stopping(functions[name], len(returned)))
            elif wanted.module != _WASI:
                raise refuse_import(f"{wanted.module} {name}".strip())
        return linker

    def _stopping(self, function: Callable[..., Any], results: int) -> Callable[..., Any]:
        """Return what wasmtime calls. It is kept for as long as the store is, so it must not keep the store itself."""
        weak = weakref.ref(self)

        def called(*given: Any) -> Any:
            instance = weak()
            found = instance._answered(function, given) if instance is not None else 0  # noqa: SLF001 - its own
            return found if results else None

        return called

    def _answered(self, function: Callable[..., Any], given: tuple[Any, ...]) -> Any:
        """Return what a function of the host answers; stop the call where it fails.

        An exception would be kept in a place that all threads share. With no time left the module is stopped as soon as
        it calls a function or repeats anything; what it does until then has no effect either.
        """
        self._depth += 1
        try:
            return function(self, *given) if self._depth <= _DEPTH_MAX else _refuse_depth()
        except Exception as error:  # noqa: BLE001 - told by the call that it ends
            self._offers.denied = self._offers.denied or str(error) or type(error).__name__
            self._store.set_epoch_deadline(0)
            return 0
        finally:
            self._depth -= 1

    def _log(self, level: int, at: int, size: int) -> None:
        self._offers.host.log(LEVELS[min(level & _WORD, 3)], self._beginning(at, size))

    def _metric(self, at: int, size: int, value: float) -> None:
        self._offers.host.metric(self._text(at, size), value)

    def _now(self) -> int:
        return self._offers.host.now()

    def _text(self, at: int, size: int) -> str:
        at, size = at & _WORD, size & _WORD
        memory = self._bytes()
        if at + size > len(memory):
            raise TrappedError("it says that a text lies beyond its memory")
        return str(memory[at : at + size], "utf-8")

    def _beginning(self, at: int, size: int) -> str:
        """Return as much of a text as is ever shown."""
        at, size = at & _WORD, size & _WORD
        if at + size > len(self._bytes()):
            raise TrappedError("it says that a text lies beyond its memory")
        return str(self._bytes()[at : at + min(size, LOG_BYTES_MAX)], "utf-8", "replace")

    def _get_state(self, at: int, size: int, into: int) -> None:
        found = self._offers.host.get_state(self._text(at, size))
        place = self._put(found) if found is not None else (0, 0)
        self._write(into & _WORD, (int(found is not None), *place))

    def _set_state(self, at: int, size: int, some: int, value_at: int, value_size: int) -> None:
        value = self._text(value_at, value_size) if some else None
        self._offers.host.set_state(self._text(at, size), value)

    def _clock(self, clock: int, precision: int, into: int) -> int:
        del precision
        moment = self._offers.host.now() * _NANOSECONDS + (clock == _MONOTONIC)  # 0 would end the runtime of Go
        self._write(into & _WORD, (moment & _WORD, moment >> 32))
        return 0

    def _poll(self, at: int, into: int, count: int, counted: int) -> int:
        """Let short waits pass at once, as the runtime of Go waits for itself; refuse all others."""
        memory, events = self._bytes(), b""
        for number in range(min(count & _WORD, _SUBSCRIPTIONS_MAX)):
            try:
                found = struct.unpack_from(_SUBSCRIPTION, memory, (at & _WORD) + number * _SUBSCRIPTION_BYTES)
            except struct.error:
                raise TrappedError("it wants to wait for what lies beyond its memory") from None
            user_data, kind, nanoseconds, absolute = found
            if kind or absolute or nanoseconds > _WAIT_NANOSECONDS_MAX:
                self._offers.refuse_to_wait()
            events += struct.pack("<Q24x", user_data)
        self._write(into & _WORD, tuple(memoryview(events).cast("I")))
        self._write(counted & _WORD, (len(events) // _EVENT_BYTES,))
        return 0

    def _write(self, at: int, words: tuple[int, ...]) -> None:
        memory, data = self._bytes(), b"".join(word.to_bytes(4, "little") for word in words)
        if at + len(data) > len(memory):
            raise TrappedError("it wants a value beyond its memory")
        memory[at : at + len(data)] = data


_HOST_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "log": CoreInstance._log,  # noqa: SLF001 - all of these are its own
    "metric": CoreInstance._metric,  # noqa: SLF001
    "now": CoreInstance._now,  # noqa: SLF001
    "get-state": CoreInstance._get_state,  # noqa: SLF001
    "set-state": CoreInstance._set_state,  # noqa: SLF001
}


def _refuse_depth() -> int:
    """Refuse: so deep nobody calls who means well."""
    raise TrappedError("its functions call each other by way of the host")


def _packed(words: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(words)}I", *words)


__all__ = ["CoreInstance"]
