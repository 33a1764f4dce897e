"""`dataflare plugin inspect`: what a plugin is, what it asks for, and whose it is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflare.cli.console import printable, write, write_json
from dataflare.cli.plugin_installing import granted_json
from dataflare.errors import DataFlareError, UnavailableError
from dataflare.plugin.manifest import Manifest
from dataflare.plugin.package import ENDING, Package
from dataflare.plugin.registry import usual_registry
from dataflare.plugin.signature import signer_of
from dataflare.plugin.trust import TrustPolicy, usual_trust_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dataflare.plugin.program import Program


def inspect_command(what: str, *, as_json: bool) -> int:
    """Say it, as lines or as one value of JSON; raise DataFlareError where it cannot be read."""
    told = {name: value for name, value in _told(what) if value not in ("", None, {}, [])}
    if as_json:
        write_json(told)
        return 0
    for line in _lines(told):
        write(printable(line))
    return 0


def _told(what: str) -> Iterator[tuple[str, Any]]:
    path = Path(what)
    if path.is_dir():
        manifest = Manifest.read(path)
        yield from _of_manifest(manifest)
        if (path / manifest.entry).exists() and _is_compiled(manifest.entry):
            yield from _of_code(_program(path / manifest.entry))
    elif what.lower().endswith(ENDING):
        yield from _of_package(Package.read(path))
    elif path.is_file():
        yield from _of_file(path)
    else:
        name, _, version = what.partition("@")
        registry = usual_registry()
        installed = registry.find(name, version)
        yield from _of_package(registry.package(installed))
        yield "granted", granted_json(installed.allowance)


def _of_manifest(manifest: Manifest) -> Iterator[tuple[str, Any]]:
    yield "name", manifest.name
    yield "version", manifest.version
    yield "description", manifest.description
    yield "language", manifest.language
    yield "entry", manifest.entry
    yield "interface", manifest.interface
    yield "asks_for", {n: v for n, v in manifest.capabilities.as_json().items() if v}
    limits = {"memory_bytes_max": manifest.memory_bytes_max, "seconds_max": manifest.seconds_max}
    yield "limits", {n: v for n, v in limits.items() if v is not None}
    yield "settings", dict(manifest.settings)


def _of_package(package: Package) -> Iterator[tuple[str, Any]]:
    yield from _of_manifest(package.manifest)
    yield "digest", package.digest
    yield "bytes", len(package.to_bytes())
    yield "signature", _signature(package)
    yield from _of_code(_program(package)) if _is_compiled(package.manifest.entry) else ()
    yield (
        "files",
        [
            {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in package.files.items()
        ],
    )


def _signature(package: Package) -> Mapping[str, Any]:
    """Tell who has signed a package and whether it may be installed here; why not, where it may not."""
    told: dict[str, Any] = {"signed": package.signature is not None}
    try:
        if (key := signer_of(package)) is not None:
            told |= {"key": str(key), "key_id": key.id}
        return told | {"signer": TrustPolicy.read(usual_trust_file()).judge(package).name, "trusted": True}
    except DataFlareError as error:
        return told | {"trusted": False, "why": error.what}


def _of_code(program: Program) -> Iterator[tuple[str, Any]]:
    from dataflare.plugin.reach import reach_of

    if (reach := reach_of(program)) is not None:
        yield "imports", {interface: list(names) for interface, names in reach.imports.items()}
        yield "reaches_for", sorted(reach.capabilities)
        yield "exports", list(reach.exports)


def _of_file(path: Path) -> Iterator[tuple[str, Any]]:
    """Tell of a file that runs, also what it says of itself where it needs no settings for that."""
    from dataflare.plugin.host import QuietHost
    from dataflare.plugin.limits import Limits
    from dataflare.plugin.program import Settings

    program = _program(path)
    try:
        with program.engine.ticking():
            described = program.described(Settings(), QuietHost(), Limits())
    except DataFlareError as error:
        yield "says_nothing_of_itself", error.what
    else:
        yield "name", described.name
        yield "version", described.version
        yield "stateful", described.stateful
        yield "input", list(described.input) if described.input is not None else None
        yield "outputs", sorted(name for name in described.outputs if name)
        yield "settings", dict(described.settings_schema)
    data = path.read_bytes()
    yield "bytes", len(data)
    yield "sha256", hashlib.sha256(data).hexdigest()
    yield from _of_code(program)


def _program(of: Package | Path) -> Program:
    try:
        from dataflare.plugin.engine import shared_engine
        from dataflare.plugin.manager import program_of
        from dataflare.plugin.program import Program
    except ImportError as error:
        raise UnavailableError("plugins need wasmtime", hint="pip install 'dataflare[wasm]'") from error
    engine = shared_engine(fuel=False)
    return program_of(of, engine) if isinstance(of, Package) else Program.load(of, engine)


def _is_compiled(entry: str) -> bool:
    """Tell whether a file imports and exports anything by itself; scripts do by way of their runtime."""
    return entry.endswith(".wasm")


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    wide = max(map(len, told))
    for name, value in told.items():
        first, *others = list(_value(value))
        yield f"{name.replace('_', ' '):{wide}}  {first}"
        yield from (f"{'':{wide}}  {line}" for line in others)


def _value(value: Any) -> Iterator[str]:
    """Yield a value in lines, of which there is one at least."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{name}: {_short(inner)}"
    elif isinstance(value, list) and isinstance(value[0], dict):
        for inner in value:
            yield "  ".join(str(part) for part in inner.values())
    else:
        yield _short(value)


def _short(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


__all__ = ["inspect_command"]
