"""The code of a plugin, whatever it is written in, and how instances are made of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from wasmtime.component import Component

from dataflare.errors import Place, UnavailableError, WorkflowError
from dataflare.plugin.component import ComponentInstance
from dataflare.plugin.core_module import CoreInstance
from dataflare.plugin.failures import FatalError, PluginError, placed
from dataflare.plugin.grants import NO_GRANTS
from dataflare.plugin.loader import transformed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wasmtime import Module

    from dataflare.plugin.engine import WasmEngine
    from dataflare.plugin.grants import Grants
    from dataflare.plugin.host import Host
    from dataflare.plugin.limits import Limits

SCRIPTS = {".js": False, ".mjs": False, ".ts": True, ".mts": True}
"""Endings of files that the runtime of JavaScript evaluates, and whether there are types in them."""
PYTHON = ".py"
WORD_CHARACTERS_MAX = 1000
SOURCE_BYTES_MAX, CODE_BYTES_MAX = 8 << 20, 256 << 20


class Instance(Protocol):
    """What a program is run in: functions of the interface by name. `buffers`: it takes rows as buffers, too."""

    buffers: bool

    def call(self, name: str, *given: Any) -> Any:
        """Call a function; raise PluginError."""
        ...


@dataclass(frozen=True, slots=True)
class Output:
    """An output by its columns, names and types; None: those that came in. `adds`: they come beside those."""

    columns: tuple[tuple[str, str], ...] | None
    adds: bool = False


@dataclass(frozen=True, slots=True)
class Described:
    """What a plugin says of itself. `outputs` by name, "" the default one, which may be missing.

    `input`: the columns that it is given; None: all. `format` is the one that it is quickest with; `buffers`: it takes
    rows as buffers of Arrow.
    """

    name: str
    version: str
    settings_schema: Mapping[str, Any]
    stateful: bool
    input: tuple[str, ...] | None
    format: str
    outputs: Mapping[str, Output] = field(default_factory=dict)
    buffers: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """What a plugin is opened with.

    `output`: columns of its default output, by type, that go before its own. `columns`: what comes in, by name and
    type, where rows cross as buffers. `decimals`: columns that come as texts of decimals, of which Python makes these.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    output: Mapping[str, str] | None = None
    columns: tuple[tuple[str, str], ...] | None = None
    packed: bool = False
    decimals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """A plugin that is loaded and compiled. `file` is what errors call it; `code` what a runtime evaluates, if any.

    `packs`: its runtime takes numbers of columns as their bytes, and gives them so where the settings say it. `rounds`:
    its whole numbers are floats, as those of JavaScript.
    """

    file: str
    engine: WasmEngine
    compiled: Component | Module
    code: str | None = None
    packs: bool = False
    rounds: bool = False

    @classmethod
    def load(cls, path: Path, engine: WasmEngine, shown: str = "") -> Program:
        """Read a file: a script in JavaScript, TypeScript or Python, a component, or a core module.

        Raises UnavailableError where it cannot be read, or what runs it is not installed; WorkflowError, with the
        place, where it is not what it should be.
        """
        shown = shown or str(path)
        return cls.of(_read(path, shown, _bytes_max(path.suffix)), path.suffix, engine, shown)

    @classmethod
    def of(cls, data: bytes, suffix: str, engine: WasmEngine, shown: str) -> Program:
        """Take the bytes of a file; `suffix` is the ending of its name. Raises as `load` does."""
        if len(data) > _bytes_max(suffix):
            raise WorkflowError(f"the plugin has more than {_bytes_max(suffix) >> 20} MB", place=Place(shown))
        if not _is_script(suffix):
            return cls(shown, engine, engine.compiled(data))
        try:
            source = data.decode()
        except UnicodeDecodeError as error:
            raise WorkflowError(f"byte {error.start} is no UTF-8", place=Place(shown)) from None
        if suffix.lower() == PYTHON:
            return cls(shown, engine, engine.shipped("python"), source, packs=True)
        try:
            code = transformed(engine, source, typescript=SCRIPTS[suffix.lower()])
        except FatalError as error:
            raise _placed(error, shown) from None
        return cls(shown, engine, engine.shipped("javascript"), code, packs=True, rounds=True)

    def opened(self, settings: Settings, host: Host, limits: Limits, grants: Grants = NO_GRANTS) -> Instance:
        """Return an instance that has its settings; raise WorkflowError, with the place, where it refuses them."""
        instance = self._instance(host, limits, grants)
        config = dict(settings.values)
        if self.code is not None:
            config = {
                "code": self.code,
                "settings": config,
                "output": settings.output,
                "packed": settings.packed,
                "decimals": settings.decimals,
            }
        try:
            instance.call("open", json.dumps(config))
            if settings.columns is not None:
                instance.call("bind", settings.columns)
        except PluginError as error:
            raise _placed(error, self.file) from None
        return instance

    def bound(self, settings: Settings, host: Host, limits: Limits, grants: Grants) -> tuple[tuple[str, str], ...]:
        """Return the columns of the settings with the types in which the plugin wants them."""
        assert settings.columns is not None
        try:
            return tuple(self.opened(settings, host, limits, grants).call("bind", settings.columns))
        except PluginError as error:
            raise _placed(error, self.file) from None

    def _instance(self, host: Host, limits: Limits, grants: Grants) -> Instance:
        if isinstance(self.compiled, Component):
            return ComponentInstance(self.engine, self.compiled, host, limits, grants)
        return CoreInstance(self.engine, self.compiled, host, limits, grants)

    def described(self, settings: Settings, host: Host, limits: Limits, grants: Grants = NO_GRANTS) -> Described:
        """Return what the plugin says of itself with these settings."""
        instance = self.opened(settings, host, limits, grants)
        try:
            name, version, schema, stateful, wanted, form, outputs = instance.call("describe")
        except PluginError as error:
            raise WorkflowError(f"the plugin cannot say what it is: {error.what}", place=Place(self.file)) from error
        try:
            settings_schema = json.loads(schema or "{}")
        except (ValueError, RecursionError):
            raise WorkflowError("the schema of the plugin's settings is no JSON", place=Place(self.file)) from None
        for word in (
            name,
            version,
            *(wanted or ()),
            *(w for n, columns, _ in outputs for w in (n, *chain(*(columns or ())))),
        ):
            if len(word) > WORD_CHARACTERS_MAX:
                raise WorkflowError(
                    f"the plugin says a name or a type of more than {WORD_CHARACTERS_MAX:,} characters",
                    place=Place(self.file),
                )
        found = {n: Output(tuple(columns) if columns is not None else None, adds) for n, columns, adds in outputs}
        return Described(
            name or Path(self.file).stem,
            version,
            settings_schema,
            stateful,
            tuple(wanted) if wanted is not None else None,
            form,
            found,
            instance.buffers,
        )


def _is_script(suffix: str) -> bool:
    return suffix.lower() in SCRIPTS or suffix.lower() == PYTHON


def _bytes_max(suffix: str) -> int:
    return SOURCE_BYTES_MAX if _is_script(suffix) else CODE_BYTES_MAX


def _read(path: Path, shown: str, bytes_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(bytes_max + 1)
    except OSError as error:
        raise UnavailableError(f"the plugin cannot be read: {error.strerror}", place=Place(shown)) from error


def _placed(error: PluginError, file: str) -> WorkflowError:
    """Return what a plugin says about its own file, at its place there."""
    what, place = placed(error.what, file)
    return WorkflowError(what, place=place)


__all__ = ["SCRIPTS", "Described", "Instance", "Output", "Program", "Settings"]
