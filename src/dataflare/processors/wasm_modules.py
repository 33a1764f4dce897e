"""What `module` of the processor `wasm` names: a file that runs, a package, or an installed plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from dataflare.errors import UnavailableError

if TYPE_CHECKING:
    from dataflare.component import StageContext
    from dataflare.plugin.limits import Limits
    from dataflare.plugin.manager import ResolvedPlugin
    from dataflare.plugin.manifest import Manifest


class ModuleSettings(Protocol):
    """The settings that are needed here."""

    @property
    def module(self) -> str:
        """What is named."""
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
    def model_fields_set(self) -> set[str]:
        """The settings that somebody has written."""
        ...


def resolve_module(config: ModuleSettings, context: StageContext) -> ResolvedPlugin:
    """Load what the settings name; raise DataFlareError, with the place, where it is not there or is no plugin."""
    try:
        from dataflare.plugin.engine import shared_engine
        from dataflare.plugin.manager import PluginManager, ResolvedPlugin, is_installed, is_package_file
        from dataflare.plugin.program import Program
        from dataflare.plugin.registry import usual_registry
    except ImportError as error:
        raise UnavailableError("plugins need wasmtime", hint="pip install 'dataflare[wasm]'") from error
    engine = shared_engine(fuel=config.fuel is not None)
    module = config.module
    if is_package_file(module) or is_installed(module):
        return PluginManager(usual_registry()).resolve(module, engine, context.path(module))
    return ResolvedPlugin(Program.load(context.path(module), engine, module))


def limits_of(config: ModuleSettings, manifest: Manifest | None) -> Limits:
    """Return the limits that the workflow sets, else those that the plugin wishes, else the usual ones."""
    from dataflare.plugin.limits import Limits

    told: dict[str, Any] = {"timeout": config.timeout, "memory": config.memory}
    if manifest is not None:
        wished = {"timeout": manifest.seconds_max, "memory": manifest.memory_bytes_max}
        told |= {n: v for n, v in wished.items() if v is not None and n not in config.model_fields_set}
    return Limits(memory_bytes_max=told["memory"], seconds_max=told["timeout"], fuel_max=config.fuel)


__all__ = ["limits_of", "resolve_module"]
