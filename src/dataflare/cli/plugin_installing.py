"""`dataflare plugin install`, `list` and `remove`: what is on this machine, and what it may have."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflare.cli.console import printable, table, write, write_json
from dataflare.cli.plugin_packing import repository_at
from dataflare.errors import UnavailableError
from dataflare.plugin.package import Package
from dataflare.plugin.reference import name_and_version
from dataflare.plugin.registry import Installed, usual_registry
from dataflare.plugin.semantic_version import newest
from dataflare.plugin.trust import TrustPolicy, usual_trust_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.plugin.allowance import Allowance


@dataclass(frozen=True, slots=True)
class Allowed:
    """What one install is allowed besides the policy of this machine."""

    unsigned: bool
    other_key: bool
    replaced: bool


def install_command(package: str, repository: str, grants: Sequence[str], allowed: Allowed, *, as_json: bool) -> int:
    """Install a package, of a repository if one is named, and print what it is called."""
    from dataflare.plugin.allowance import Allowance

    try:
        from dataflare.plugin.engine import shared_engine
        from dataflare.plugin.manager import InstallOptions, PluginManager
    except ImportError as error:
        raise UnavailableError("plugins need wasmtime", hint="pip install 'dataflare[wasm]'") from error
    options = InstallOptions(Allowance.of_words(grants), allowed.unsigned, allowed.other_key, allowed.replaced)
    policy = TrustPolicy.read(usual_trust_file())
    manager = PluginManager(usual_registry())
    if repository:
        found = repository_at(repository, os.environ).fetch(*name_and_version(package))
    else:
        found = Package.read(Path(package))
    made = manager.install(found, policy, options, shared_engine(fuel=False))
    if as_json:
        write_json(told_of(made))
    else:
        write(f"installed {made.reference}, {_by(made)}")
    return 0


def list_command(repository: str, *, as_json: bool) -> int:
    """Print what is installed, or published in a repository."""
    if repository:
        return _list_published(repository, as_json=as_json)
    found = usual_registry().all()
    if as_json:
        for one in found:
            write_json(told_of(one))
        return 0
    if not found:
        write("no plugin is installed")
        return 0
    rows = [(one.name, one.version, _by(one), ", ".join(granted_words(one.allowance)) or "-") for one in found]
    write(table(("name", "version", "signature", "granted"), rows))
    return 0


def _list_published(repository: str, *, as_json: bool) -> int:
    found = repository_at(repository, os.environ).all()
    listed = [(n, v, found[n][v]) for n in sorted(found) for v in newest(list(found[n]))]
    if as_json:
        for name, version, one in listed:
            write_json({"name": name, "version": version, **asdict(one)})
    elif listed:
        rows = [(name, version, f"{one.bytes:,}", printable(one.description)) for name, version, one in listed]
        write(table(("name", "version", "bytes", "description"), rows, right=(2,)))
    else:
        write("no plugin is published there")
    return 0


def remove_command(reference: str, *, as_json: bool) -> int:
    """Remove a version, or all of a name."""
    for one in usual_registry().remove(*name_and_version(reference)):
        if as_json:
            write_json(told_of(one))
        else:
            write(f"removed {one.reference}")
    return 0


def told_of(installed: Installed) -> dict[str, Any]:
    """Return the JSON of an installed plugin; texts of variables are not told."""
    return {
        "name": installed.name,
        "version": installed.version,
        "digest": installed.digest,
        "signer": installed.signer,
        "key": installed.key,
        "granted": granted_json(installed.allowance),
    }


def granted_json(allowance: Allowance) -> dict[str, Any]:
    """Return what was granted, variables by their names alone."""
    return allowance.as_json() | {"env": sorted(allowance.env)}


def granted_words(allowance: Allowance) -> list[str]:
    """Return what was granted, as it is written after `--grant`, without texts of variables."""
    found = [f"files={f.path}:{f.at}:{'rw' if f.write else 'ro'}" for f in allowance.files]
    return [*found, *(f"env={name}" for name in allowance.env), *(["clock"] if allowance.clock else [])]


def _by(installed: Installed) -> str:
    if not installed.key:
        return "not signed"
    return f"signed by {installed.signer}" if installed.signer else "signed by a stranger"


__all__ = ["Allowed", "granted_json", "granted_words", "install_command", "list_command", "remove_command", "told_of"]
