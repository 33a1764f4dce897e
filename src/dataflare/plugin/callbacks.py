"""Functions that components import, called by way of wasmtime's C interface.

`LinkerInstance.add_func` asks for the types of a function at each call of it, which takes 80 microseconds; those of
the host are known. What a component says of them is not believed: each value is looked at.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_void_p, cast
from itertools import count
from typing import TYPE_CHECKING, Any

from wasmtime import WasmtimeError, _bindings, _ffi

from dataflare.plugin.values import code_of, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wasmtime.component import LinkerInstance

    Taken = Callable[[Any], Any]
    """Returns a Python value of a C value that belongs to the caller; raises WasmtimeError for one of another kind."""

_STRING, _ENUM, _OPTION = code_of("STRING"), code_of("ENUM"), code_of("OPTION")
_F64, _U64 = code_of("F64"), code_of("U64")
_functions: dict[int, tuple[Callable[..., Any], Sequence[Taken], Callable[[Any, Any], None] | None]] = {}
_numbers = count(1)


def add_function(into: LinkerInstance, name: str, function: Callable[..., Any]) -> None:
    """Offer a function of `SIGNATURES` to components, which may call it as long as the linker or an instance lives."""
    number = next(_numbers)
    _functions[number] = (function, *SIGNATURES[name])
    data = name.encode()
    error = _bindings._wasmtime_component_linker_instance_add_func(  # noqa: SLF001
        into.ptr(), data, len(data), _called, number, _dropped
    )
    if error:
        raise WasmtimeError._from_ptr(error)  # noqa: SLF001


@_bindings.wasmtime_component_func_callback_t  # type: ignore[untyped-decorator]
def _called(number: int, *told: Any) -> int:
    """Be told a store, a type, the values with their count, and where a result goes with the count of these."""
    _, _, given, given_count, found, found_count = told
    try:
        function, takes, gives = _functions[number]
        _check(given_count == len(takes) and found_count == (gives is not None))
        result = function(*[take(given[n]) for n, take in enumerate(takes)])
        if gives is not None:
            gives(result, found[0])
    except WasmtimeError as error:
        return _told(error)
    except (ValueError, LookupError, TypeError) as error:
        return _told(WasmtimeError(str(error)))
    return 0


@ctypes.CFUNCTYPE(None, c_void_p)  # type: ignore[untyped-decorator]
def _dropped(number: int) -> None:
    _functions.pop(number, None)


def _told(error: WasmtimeError) -> int:
    return int(cast(error._consume(), c_void_p).value or 0)  # noqa: SLF001


# ---- values -----------------------------------------------------------------------------------------------------


def _check(is_known: bool) -> None:  # noqa: FBT001 - a condition
    if not is_known:
        raise WasmtimeError("a function takes or returns something that the interface does not have")


def _text(value: Any) -> str:
    _check(value.kind == _STRING)
    return text_of(value.of.string)


def _case(value: Any) -> str:
    _check(value.kind == _ENUM)
    return text_of(value.of.enumeration)


def _number(value: Any) -> float:
    _check(value.kind == _F64)
    return float(value.of.f64)


def _text_or_none(value: Any) -> str | None:
    _check(value.kind == _OPTION)
    return _text(value.of.option.contents) if value.of.option else None


def _give_moment(value: int, into: Any) -> None:
    into.kind, into.of.u64 = _U64, value


def _give_text_or_none(value: str | None, into: Any) -> None:
    """What is given belongs to wasmtime from then on."""
    into.kind, into.of.option = _OPTION, None
    if value is None:
        return
    data = value.encode()
    inner = _ffi.wasmtime_component_val_t()
    inner.kind = _STRING
    _bindings._wasm_byte_vec_new(byref(inner.of.string), len(data), cast(ctypes.c_char_p(data), _BYTES))  # noqa: SLF001
    into.of.option = _bindings._wasmtime_component_val_new(byref(inner))  # noqa: SLF001


_BYTES = ctypes.POINTER(_bindings.wasm_byte_t)
SIGNATURES: dict[str, tuple[Sequence[Taken], Callable[[Any, Any], None] | None]] = {
    "log": ((_case, _text), None),
    "metric": ((_text, _number), None),
    "now": ((), _give_moment),
    "get-state": ((_text,), _give_text_or_none),
    "set-state": ((_text, _text_or_none), None),
}
"""What the functions of the interface `host` take, and what they return."""

__all__ = ["SIGNATURES", "add_function"]
