"""What `module` of the processor `wasm` names: a file that runs, a package, or an installed plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from dataflare.errors import DataFlareError, UnavailableError
from dataflare.processors.wasm_grants import FolderGrant, GrantsConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component import StageContext
    from dataflare.plugin.grants import Grants
    from dataflare.plugin.limits import Limits
    from dataflare.plugin.manager import ResolvedPlugin
    from dataflare.plugin.manifest import Manifest


UNCOUNTED = 1 << 62
"""A breaker counts the rows that stop an instance, not how often it has to be replaced to find them."""


class ModuleSettings(Protocol):
    """The settings that are needed here."""

    @property
    def module(self) -> str:
        """What is named."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """What it is opened with."""
        ...

    @property
    def timeout(self) -> float:
        """Seconds of a call."""
        ...

    @property
    def memory(self) -> int:
        """Bytes of an instance."""
        ...

    @property
    def fuel(self) -> int | None:
        """Instructions of a call."""
        ...

    @property
    def grants(self) -> GrantsConfig:
        """What it may have."""
        ...

    @property
    def model_fields_set(self) -> set[str]:
        """The settings that somebody has written."""
        ...


def resolve_module(config: ModuleSettings, context: StageContext) -> ResolvedPlugin:
    """Load what the settings name; raise DataFlareError, with the place, where it is not there or is no plugin.

    So are settings that do not fit the schema of a package.
    """
    try:
        from dataflare.plugin.engine import shared_engine
        from dataflare.plugin.manager import PluginManager, ResolvedPlugin, check_settings
        from dataflare.plugin.program import Program
        from dataflare.plugin.reference import is_installed, is_package_file
        from dataflare.plugin.registry import usual_registry
    except ImportError as error:
        raise UnavailableError("plugins need wasmtime", hint="pip install 'dataflare[wasm]'") from error
    engine = shared_engine(fuel=config.fuel is not None)
    module = config.module
    if is_package_file(module) or is_installed(module):
        found = PluginManager(usual_registry()).resolve(module, engine, context.path(module))
        check_settings(config.settings, found)
        return found
    return ResolvedPlugin(Program.load(context.path(module), engine, module))


def granted_by(config: ModuleSettings) -> GrantsConfig:
    """Return what the workflow grants; where it says nothing, what the install of the plugin has granted."""
    from dataflare.plugin.reference import is_installed, name_and_version
    from dataflare.plugin.registry import usual_registry

    if "grants" in config.model_fields_set or not is_installed(config.module):
        return config.grants
    try:
        grants = usual_registry().find(*name_and_version(config.module)).allowance.grants()
    except DataFlareError:  # whoever loads it tells
        return config.grants
    files = tuple(FolderGrant(path=f.path, at=f.at, write=f.write) for f in grants.files)
    return GrantsConfig(files=files, env=dict(grants.env), clock=grants.clock)


def permitted_grants(grants: Grants, resolved: ResolvedPlugin) -> Grants:
    """Return the grants; raise WorkflowError where they are more than an install or a manifest has."""
    from dataflare.plugin.manager import permitted

    return permitted(grants, resolved)


def limits_of(config: ModuleSettings, manifest: Manifest | None) -> Limits:
    """Return the limits that the workflow sets, else those that the plugin wishes, else the usual ones."""
    from dataflare.plugin.limits import Limits

    told: dict[str, Any] = {"timeout": config.timeout, "memory": config.memory}
    if manifest is not None:
        wished = {"timeout": manifest.seconds_max, "memory": manifest.memory_bytes_max}
        told |= {n: v for n, v in wished.items() if v is not None and n not in config.model_fields_set}
    return Limits(
        memory_bytes_max=told["memory"], seconds_max=told["timeout"], fuel_max=config.fuel, traps_max=UNCOUNTED
    )


__all__ = ["granted_by", "limits_of", "permitted_grants", "resolve_module"]
