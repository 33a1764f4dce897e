"""What compiled code reaches for: its imports, looked at before any of it runs.

The standard libraries of most languages import the environment, clocks and open files when they start, and are given
an empty one, the time of the epoch and none. What opens something by its name is what counts: files, and a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wasmtime.component import Component, ComponentInstanceType

from dataflare.errors import WorkflowError
from dataflare.plugin.imports import FUNCTIONS, HOST, PACKAGE, exported, interface_of, refuse_import

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wasmtime import Module

    from dataflare.plugin.manifest import Manifest
    from dataflare.plugin.program import Program

FILES, NETWORK, ENV, CLOCK = "files", "network", "env", "clock"
_PREVIEW = "wasi_snapshot_preview1"
_OPENS = ("-at", "read-directory")
"""Endings of functions of `wasi:filesystem/types` that name a file."""


@dataclass(frozen=True, slots=True)
class Reach:
    """`imports` are names of functions by interface; `capabilities` what they are for; `exports` the interfaces."""

    imports: Mapping[str, tuple[str, ...]]
    capabilities: frozenset[str]
    exports: tuple[str, ...]

    def check(self, manifest: Manifest) -> None:
        """Raise WorkflowError where the code reaches for more than its manifest asks for, or is no plugin."""
        if NETWORK in self.capabilities:
            raise WorkflowError("the code reaches for a network, which no plugin has", hint="build it without sockets")
        if FILES in self.capabilities and not manifest.capabilities.files:
            raise WorkflowError(
                "the code opens files, and plugin.toml does not ask for any",
                hint='ask for them: [capabilities] files = [{ path = "/..." }]; or build it without',
            )
        for interface in FUNCTIONS:
            exported(self.exports, interface)


def reach_of(program: Program) -> Reach | None:
    """Return what the code of a program reaches for, None for a script; raise WorkflowError for foreign imports."""
    if program.code is not None:
        return None
    compiled = program.compiled
    if isinstance(compiled, Component):
        imports = _of_component(compiled, program)
        exports = tuple(compiled.type.exports(program.engine.engine))
    else:
        imports = _of_module(compiled)
        exports = tuple(dict.fromkeys(e.name.partition("#")[0] for e in compiled.exports if "#" in e.name))
    found = set()
    for interface, names in imports.items():
        plain = interface_of(interface)
        if not plain.startswith("wasi:") and plain not in (HOST, f"{PACKAGE}/types", _PREVIEW):
            raise refuse_import(interface)
        found |= {of for name in names for of in _reaches(plain, name)}
    return Reach(imports, frozenset(found), exports)


def _reaches(interface: str, name: str) -> Iterator[str]:
    """Yield what a function is for."""
    if interface == _PREVIEW:
        begins = (("path_", FILES), ("sock_", NETWORK), ("environ_", ENV), ("clock_", CLOCK))
        yield from (of for begin, of in begins if name.startswith(begin))
    elif interface.startswith(("wasi:sockets/", "wasi:http/")):
        yield NETWORK
    elif interface == "wasi:filesystem/types" and name.endswith(_OPENS):
        yield FILES
    elif interface == "wasi:cli/environment":
        yield ENV
    elif interface.startswith("wasi:clocks/"):
        yield CLOCK


def _of_module(module: Module) -> Mapping[str, tuple[str, ...]]:
    return _grouped((i.module, i.name or "") for i in module.imports)


def _of_component(component: Component, program: Program) -> Mapping[str, tuple[str, ...]]:
    engine = program.engine.engine

    def named() -> Iterator[tuple[str, str]]:
        for interface, extern in component.type.imports(engine).items():
            kind = extern.ty
            names = list(kind.exports(engine)) if isinstance(kind, ComponentInstanceType) else []
            yield from ((interface, name) for name in names or [""])

    return _grouped(named())


def _grouped(pairs: Iterable[tuple[str, str]]) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for interface, name in pairs:
        found.setdefault(interface, []).append(name)
    return {interface: tuple(sorted(set(names))) for interface, names in sorted(found.items())}


__all__ = ["CLOCK", "ENV", "FILES", "NETWORK", "Reach", "reach_of"]
