"""Makes a plugin of the text of its file."""

import sys
from types import ModuleType
from typing import Any

from dataflare._results import FILE, misspelt

_FUNCTIONS = ("open", "close", "process", "process_columns", "export_state", "import_state")
_GENERATOR, _COROUTINE = 0x20, 0x80 | 0x200


class Refused(Exception):
    """The file is no plugin: why, or "message (line:column)" where it is no Python."""


class Plugin:
    """The names that a file defines; None where it does not. Names of Python itself (`open`, `input`) do not count.

    `packs`: the host reads numbers of columns as their bytes.
    """

    packs = False

    def __init__(self, names: dict[str, Any]) -> None:
        """Look at each of them."""
        for name in _FUNCTIONS:
            found = names.get(name)
            if found is not None and not callable(found):
                raise Refused(f"{name} is no function")
            setattr(self, name, found)
        if self.process is None and self.process_columns is None:
            raise Refused("it defines neither process nor process_columns")
        for name in ("process", "process_columns"):
            code = getattr(getattr(self, name), "__code__", None)
            if code is not None and code.co_flags & _COROUTINE:
                raise Refused(f"{name} is asynchronous, and there is nothing to wait for")
        self.name, self.version = str(names.get("name") or ""), str(names.get("version") or "")
        self.settings = _a(dict, "settings", names.get("settings"), "a JSON Schema, as a dict") or {}
        self.input = _names(names.get("input"))
        self.adds, self.output = (_types(name, names.get(name)) for name in ("adds", "output"))
        outputs = _a(dict, "outputs", names.get("outputs"), "a dict: name of the output to its columns, or None") or {}
        self.outputs = {str(name): _types(f"outputs[{name!r}]", types) for name, types in outputs.items()}

    def types(self, output: str) -> dict[str, str] | None:
        """Return the types of the columns of an output that the plugin makes itself; None: those that came in."""
        if output:
            return self.outputs.get(output)
        return self.adds if self.output is None else self.output


def _a(kind: type, name: str, value: Any, what: str) -> Any:
    if value is not None and not isinstance(value, kind):
        raise Refused(f"{name} is {what}, not a value of type {type(value).__name__}")
    return value


def _names(value: Any) -> list[str] | None:
    if value is not None and not (isinstance(value, (list, tuple)) and all(isinstance(n, str) for n in value)):
        raise Refused("input is a list of names of columns")
    return None if value is None else list(value)


def _types(name: str, value: Any) -> dict[str, str] | None:
    _a(dict, name, value, "a dict: name of the column to its type")
    return None if value is None else {str(column): str(kind) for column, kind in value.items()}


def evaluated(code: str) -> Plugin:
    """Run a file and return what it defines; raise Refused, or what it raises."""
    try:
        compiled = compile(code, FILE, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise Refused(misspelt(error)) from None
    except ValueError as error:  # a null byte
        raise Refused(str(error)) from None
    module = ModuleType("plugin")
    sys.modules["plugin"] = module
    exec(compiled, module.__dict__)
    return Plugin(module.__dict__)
