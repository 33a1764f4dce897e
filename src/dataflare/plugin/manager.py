"""Plugins by reference: `price@1.2.0`, `price` or a file `.dfp` becomes a program and what it may have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from dataflare.errors import Place, StateError, WorkflowError
from dataflare.plugin.allowance import NOTHING, Allowance
from dataflare.plugin.compiled import usual_folder
from dataflare.plugin.grants import Grants
from dataflare.plugin.package import Package
from dataflare.plugin.program import Program
from dataflare.plugin.reach import reach_of
from dataflare.plugin.reference import is_package_file, name_and_version
from dataflare.plugin.registry import Installed, PluginRegistry
from dataflare.plugin.settings_schema import misfits
from dataflare.plugin.signature import signer_of
from dataflare.plugin.trust import TrustPolicy, usual_trust_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.plugin.engine import WasmEngine
    from dataflare.plugin.manifest import Manifest


@dataclass(frozen=True, slots=True)
class InstallOptions:
    """What the one who installs says. `unsigned`: no key that is trusted here needs to have signed it.

    `other_key`: it may be signed by another key than the versions that are there, or by none. `replaced`: the same
    version may be there with other content.
    """

    allowance: Allowance = NOTHING
    unsigned: bool = False
    other_key: bool = False
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class ResolvedPlugin:
    """A program, with a manifest where it is of a package.

    `allowance`: what its install lets it have at most, None where it is a file.
    """

    program: Program
    manifest: Manifest | None = None
    digest: str = ""
    allowance: Allowance | None = None


class PluginManager:
    """Installs plugins into a registry, and finds them there."""

    def __init__(self, registry: PluginRegistry) -> None:
        """Touch nothing."""
        self._registry = registry

    def install(self, package: Package, policy: TrustPolicy, options: InstallOptions, engine: WasmEngine) -> Installed:
        """Install a package: who has signed it, what its code reaches for and what it asks for are looked at first.

        Its code is compiled, and kept so; none of it is run. Raises DataFlareError, and nothing is installed then.
        """
        signer = policy.judge(package, unsigned=options.unsigned)
        manifest = package.manifest
        program = program_of(package, engine)
        if reach := reach_of(program):
            try:
                reach.check(manifest)
            except WorkflowError as error:
                raise error.at(Place(package.shown)) from None
        _check_allowance(manifest, options.allowance, package.shown)
        Grants.checked(options.allowance.grants(), self._registry.folder, closed_places(self._registry))
        made = Installed(manifest.name, manifest.version, package.digest, options.allowance, signer.key, signer.name)

        def check(versions: Mapping[str, Installed]) -> None:
            _check_versions(made, versions, options, package.shown)

        self._registry.add(package, made, check)
        return made

    def resolve(self, reference: str, engine: WasmEngine, path: Path | None = None) -> ResolvedPlugin:
        """Return a plugin by its reference; `path` is where a reference that ends in .dfp lies.

        All hashes are looked at again, and the signature of a file if it has one. Raises DataFlareError, with the
        reference as its place.
        """
        try:
            if is_package_file(reference):
                package, allowance = Package.read(path or Path(reference), reference), None
                signer_of(package)
            else:
                package, allowance = self._installed(reference)
            return ResolvedPlugin(program_of(package, engine), package.manifest, package.digest, allowance)
        except WorkflowError as error:
            raise error.at(Place(reference)) from None

    def _installed(self, reference: str) -> tuple[Package, Allowance]:
        wanted = name_and_version(reference)
        installed = self._registry.find(*wanted)
        try:
            package = self._registry.package(installed)
        except StateError:
            again = self._registry.find(*wanted)
            if again == installed:
                raise
            installed, package = again, self._registry.package(again)  # it was replaced in between
        if installed.allowance.beyond(package.manifest.capabilities):
            raise StateError(f"{installed.reference} was granted more than it asks for", hint="install it again")
        return package, installed.allowance


def program_of(package: Package, engine: WasmEngine) -> Program:
    """Return the program of a package, of the bytes that were verified."""
    entry = package.manifest.entry
    shown = f"{package.manifest.reference}/{entry}"
    return Program.of(package.code, PurePosixPath(entry).suffix, engine, shown)


def closed_places(registry: PluginRegistry) -> tuple[Path, ...]:
    """Return the folders that no plugin is granted: others decide by what is in them."""
    return registry.folder, usual_trust_file().parent, usual_folder()


def permitted(grants: Grants, resolved: ResolvedPlugin) -> Grants:
    """Return what a workflow grants; raise WorkflowError where that is more than an install or a manifest has.

    A plugin that is granted less than it asks for is an error, too. Files that are no packages ask for nothing.
    """
    manifest = resolved.manifest
    if manifest is None:
        return grants
    given = Allowance.of_grants(grants)
    if resolved.allowance is not None and (more := resolved.allowance.exceeded(grants)):
        raise WorkflowError(
            f"{manifest.reference} was installed without a grant of {', '.join(more)}",
            hint="leave it out, or install it again with --grant",
        )
    if more := given.beyond(manifest.capabilities):
        raise WorkflowError(f"{manifest.reference} does not ask for what is granted: {', '.join(more)}")
    if missing := given.missing(manifest.capabilities):
        raise WorkflowError(
            f"{manifest.reference} asks for what the workflow does not grant: {', '.join(missing)}",
            hint="say it in `grants` of the node: {files: [{path: FOLDER, at: /path}], env: {NAME: text}, clock: true}",
        )
    return grants


def check_settings(settings: Mapping[str, Any], resolved: ResolvedPlugin) -> None:
    """Raise WorkflowError, with all that is wrong, where settings do not fit the schema of a manifest."""
    if resolved.manifest is None:
        return
    if wrong := list(misfits(resolved.manifest.settings, dict(settings))):
        raise WorkflowError(
            f"{resolved.manifest.reference}: {'; '.join(wrong)}", hint="see its settings: dataflare plugin inspect"
        )


def _check_allowance(manifest: Manifest, allowance: Allowance, shown: str) -> None:
    if beyond := allowance.beyond(manifest.capabilities):
        raise WorkflowError(
            f"{manifest.name} does not ask for what is granted: {', '.join(beyond)}",
            hint="leave it out",
            place=Place(shown),
        )
    if missing := allowance.missing(manifest.capabilities):
        raise WorkflowError(
            f"{manifest.name} asks for what is not granted: {', '.join(missing)}",
            hint=f"if it may have that: {' '.join(f'--grant {one}' for one in missing)}",
            place=Place(shown),
        )


def _check_versions(made: Installed, versions: Mapping[str, Installed], options: InstallOptions, shown: str) -> None:
    """Raise WorkflowError where what is there stands against it."""
    same = versions.get(made.version)
    if same is not None and same.digest != made.digest and not options.replaced:
        raise WorkflowError(
            f"{made.reference} is installed with other content",
            hint="a version is not changed: its author gives the next one; or --replace",
            place=Place(shown),
        )
    others = sorted({one.key for one in versions.values() if one.key and one.key != made.key})
    if others and not options.other_key:
        by = f"by the key {made.key}" if made.key else "by nobody"
        raise WorkflowError(
            f"it is signed {by}, and versions of {made.name} that are installed by {others[0]}",
            hint="ask its author why; if that is as it should be: --allow-other-key",
            place=Place(shown),
        )


__all__ = [
    "InstallOptions",
    "PluginManager",
    "ResolvedPlugin",
    "check_settings",
    "closed_places",
    "permitted",
    "program_of",
]
