"""Values of components between Python and wasmtime, by its C interface.

`wasmtime.component.Func` asks for the types of a function at every call, which takes 100 microseconds; here they are
asked for once. Variants are always pairs of case and payload, records tuples, so nothing depends on their shapes.
The structures are private to the package, which is pinned to one major version; `check` says whether they are as known.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, cast, sizeof, string_at
from typing import TYPE_CHECKING, Any

from wasmtime import WasmtimeError, _bindings, _ffi
from wasmtime import component as types

from dataflare.errors import UnavailableError, WorkflowError
from dataflare.plugin.failures import ELEMENTS_MAX, too_many

if TYPE_CHECKING:
    from collections.abc import Callable

    from wasmtime import Store

    Lower = Callable[[Any, Any, list[Any]], None]
    """Fills a C value from a Python value; the list keeps what it borrows alive."""
    Lift = Callable[[Any], Any]

_Value = _ffi.wasmtime_component_val_t
_VALUE_BYTES, _PAYLOAD_AT = 32, 8
_Bytes = POINTER(ctypes.c_uint8)
_SCALARS = {
    types.Bool: ("BOOL", "boolean"),
    types.U32: ("U32", "u32"),
    types.U64: ("U64", "u64"),
    types.S64: ("S64", "s64"),
    types.F64: ("F64", "f64"),
}


def check() -> None:
    """Raise UnavailableError where the installed wasmtime has other structures than this file knows."""
    if sizeof(_Value) != _VALUE_BYTES or _Value.of.offset != _PAYLOAD_AT:
        raise UnavailableError("this wasmtime passes values in another way", hint="pip install 'dataflare[wasm]'")


class Function:
    """A function of a component's instance. One thread at a time calls functions of an instance."""

    @classmethod
    def of(cls, instance: types.Instance, store: Store, name: str, interface: str | None = None) -> Function:
        """Find an exported function, of an interface of this full name if one is given."""
        inside = instance.get_export_index(store, interface) if interface is not None else None
        at = instance.get_export_index(store, name, inside)
        function = instance.get_func(store, at) if at is not None else None
        if function is None:
            raise WorkflowError(f"the component exports no function {name}")
        return cls(function, store)

    def __init__(self, function: types.Func, store: Store) -> None:
        """Learn its types."""
        kind = function.type(store)
        self.shape = f"({','.join(shape(of) for _, of in kind.params)})->{_shape_if(kind.result)}"
        self._parameters = [_lower(of) for _, of in kind.params]
        self._result = _lift(kind.result) if kind.result is not None else None
        self._function, self._store = function, store
        self._given = (_Value * max(1, len(self._parameters)))()
        self._found = _Value()

    def __call__(self, *given: Any) -> Any:
        """Call it; raise WasmtimeError where it traps. Texts must be whole Unicode: a lone surrogate raises before."""
        kept: list[Any] = []
        for number, lower in enumerate(self._parameters):
            lower(given[number], self._given[number], kept)
        error = _bindings._wasmtime_component_func_call(  # noqa: SLF001
            byref(self._function._func),  # noqa: SLF001
            self._store._context(),  # noqa: SLF001
            self._given,
            len(self._parameters),
            byref(self._found),
            1 if self._result is not None else 0,
        )
        if error:
            raise WasmtimeError._from_ptr(error)  # noqa: SLF001
        if self._result is None:
            return None
        try:
            return self._result(self._found)
        finally:
            _bindings._wasmtime_component_val_delete(byref(self._found))  # noqa: SLF001
            self._found.kind = 0  # the next result would else free this one again


# ---- types as texts ---------------------------------------------------------------------------------------------


def shape(of: Any) -> str:
    """Return a type as text, with all names that are in it."""
    make = _SHAPES.get(type(of))
    return make(of) if make is not None else type(of).__name__.lower()


def _shape_if(of: Any) -> str:
    return shape(of) if of is not None else "_"


_SHAPES: dict[type, Callable[[Any], str]] = {
    types.ListType: lambda of: f"list<{shape(of.element)}>",
    types.OptionType: lambda of: f"option<{shape(of.payload)}>",
    types.ResultType: lambda of: f"result<{_shape_if(of.ok)},{_shape_if(of.err)}>",
    types.EnumType: lambda of: f"enum{{{','.join(of.names)}}}",
    types.RecordType: lambda of: f"record{{{','.join(f'{name}:{shape(field)}' for name, field in of.fields)}}}",
    types.VariantType: lambda of: f"variant{{{','.join(f'{name}:{_shape_if(one)}' for name, one in of.cases)}}}",
}


# ---- into the component -----------------------------------------------------------------------------------------


def _lower(of: Any) -> Lower:
    kind = type(of)
    if kind is types.String:
        return _lower_text
    if kind in _SCALARS:
        return _lower_scalar(*_SCALARS[kind])
    if kind is types.EnumType:
        return _lower_enum
    if kind is types.RecordType:
        return _lower_record([(name, _lower(field)) for name, field in of.fields])
    raise WorkflowError(f"a function of the component takes a {kind.__name__}, which the interface does not have")


def code_of(name: str) -> int:
    """Return the number of a kind of value."""
    return int(getattr(_ffi, f"WASMTIME_COMPONENT_{name}").value)


_STRING, _ENUM, _RECORD = code_of("STRING"), code_of("ENUM"), code_of("RECORD")


def _borrow(text: Any, data: bytes) -> None:
    text.size, text.data = len(data), cast(ctypes.c_char_p(data), _Bytes)


def _lower_text(value: str, into: Any, kept: list[Any]) -> None:
    data = value.encode()  # bytes that are no UTF-8 would abort the process
    kept.append(data)
    into.kind = _STRING
    _borrow(into.of.string, data)


def _lower_enum(value: str, into: Any, kept: list[Any]) -> None:
    data = value.encode()
    kept.append(data)
    into.kind = _ENUM
    _borrow(into.of.enumeration, data)


def _lower_scalar(name: str, attribute: str) -> Lower:
    code = code_of(name)

    def lower(value: Any, into: Any, kept: list[Any]) -> None:
        del kept
        into.kind = code
        setattr(into.of, attribute, value)

    return lower


def _lower_record(fields: list[tuple[str, Lower]]) -> Lower:
    names = [name.encode() for name, _ in fields]
    entry = _ffi.wasmtime_component_valrecord_entry_t

    def lower(value: Any, into: Any, kept: list[Any]) -> None:
        entries = (entry * len(names))()
        kept.append(entries)
        for number, (_, field) in enumerate(fields):
            _borrow(entries[number].name, names[number])
            field(value[number], entries[number].val, kept)
        into.kind = _RECORD
        into.of.record.size, into.of.record.data = len(names), cast(entries, POINTER(entry))

    return lower


# ---- out of the component ---------------------------------------------------------------------------------------


def _lift(of: Any) -> Lift:
    kind = type(of)
    if kind in _SCALARS:
        attribute = _SCALARS[kind][1]
        return lambda found: getattr(found.of, attribute)
    make = _LIFTS.get(kind)
    if make is None:
        raise WorkflowError(f"a function of the component returns a {kind.__name__}, which the interface does not have")
    return make(of)


def _lift_if(of: Any) -> Lift | None:
    return _lift(of) if of is not None else None


def text_of(found: Any) -> str:
    """Return the text of a vector of bytes, which stays where it is."""
    return string_at(found.data, found.size).decode() if found.size else ""


def _lift_list(element: Any) -> Lift:
    if type(element) is types.U32:
        return _numbers
    lift = _lift(element)

    def lift_all(found: Any) -> list[Any]:
        count = found.of.list.size
        if count > ELEMENTS_MAX:
            raise too_many(count)
        return [lift(found.of.list.data[n]) for n in range(count)]

    return lift_all


def _numbers(found: Any) -> memoryview:
    """Return numbers as a view of 32 bits each; they lie 32 bytes apart."""
    count = found.of.list.size
    if not count:
        return memoryview(b"").cast("I")
    cells = memoryview(string_at(found.of.list.data, count * _VALUE_BYTES)).cast("I")
    return memoryview(bytes(cells[_PAYLOAD_AT // 4 :: _VALUE_BYTES // 4])).cast("I")


def _lift_record(fields: list[Lift]) -> Lift:
    def lift(found: Any) -> tuple[Any, ...]:
        data = found.of.record.data
        return tuple([field(data[number].val) for number, field in enumerate(fields)])

    return lift


def _lift_option(lift: Lift) -> Lift:
    return lambda found: lift(found.of.option.contents) if found.of.option else None


def _lift_variant(cases: dict[bytes, tuple[str, Lift | None]]) -> Lift:
    def lift(found: Any) -> tuple[str, Any]:
        chosen = found.of.variant
        name, payload = cases[string_at(chosen.discriminant.data, chosen.discriminant.size)]
        return name, payload(chosen.val.contents) if payload is not None else None

    return lift


def _lift_result(good: Lift | None, bad: Lift | None) -> Lift:
    def lift(found: Any) -> tuple[bool, Any]:
        result = found.of.result
        payload = good if result.is_ok else bad
        return bool(result.is_ok), payload(result.val.contents) if payload is not None else None

    return lift


_LIFTS: dict[type, Callable[[Any], Lift]] = {
    types.String: lambda _: lambda found: text_of(found.of.string),
    types.EnumType: lambda _: lambda found: text_of(found.of.enumeration),
    types.ListType: lambda of: _lift_list(of.element),
    types.RecordType: lambda of: _lift_record([_lift(field) for _, field in of.fields]),
    types.OptionType: lambda of: _lift_option(_lift(of.payload)),
    types.VariantType: lambda of: _lift_variant({n.encode(): (n, _lift_if(payload)) for n, payload in of.cases}),
    types.ResultType: lambda of: _lift_result(_lift_if(of.ok), _lift_if(of.err)),
}

__all__ = ["Function", "check", "code_of", "text_of"]
