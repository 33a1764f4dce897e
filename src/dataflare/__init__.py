"""DataFlare moves and changes data exactly once; what authors need is named here and imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataflare.batch import Batch, DataRecord, Encoded, Position
    from dataflare.component import (
        Config,
        DestinationConnector,
        Epoch,
        Field,
        Handle,
        Lookup,
        Processor,
        RecordDestination,
        RecordProcessor,
        RecordSource,
        Registry,
        SourceConnector,
        Split,
        StageContext,
        StateStore,
        Stream,
        destination,
        lookup,
        processor,
        source,
        state_store,
    )
    from dataflare.errors import DataError, DataFlareError, ExternalError, WorkflowError
    from dataflare.plan import Plan
    from dataflare.processors.wasm import WasmProcessor
    from dataflare.program import Workflow
    from dataflare.schema import Column, Schema

__version__ = "0.1.0"

_ROOMS = {
    "dataflare.batch": ("Batch", "DataRecord", "Encoded", "Position"),
    "dataflare.component": (
        *("Config", "DestinationConnector", "Epoch", "Field", "Handle", "Lookup", "Processor"),
        *("RecordDestination", "RecordProcessor", "RecordSource", "Registry", "SourceConnector", "Split"),
        *("StageContext", "StateStore", "Stream", "destination", "lookup", "processor", "source", "state_store"),
    ),
    "dataflare.errors": ("DataError", "DataFlareError", "ExternalError", "WorkflowError"),
    "dataflare.plan": ("Plan",),
    "dataflare.processors.wasm": ("WasmProcessor",),
    "dataflare.program": ("Workflow",),
    "dataflare.schema": ("Column", "Schema"),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "Batch", "Column", "Config", "DataError", "DataFlareError", "DataRecord", "DestinationConnector", "Encoded",
    "Epoch", "ExternalError", "Field", "Handle", "Lookup", "Plan", "Position", "Processor", "RecordDestination",
    "RecordProcessor", "RecordSource", "Registry", "Schema", "SourceConnector", "Split", "StageContext", "StateStore",
    "Stream", "WasmProcessor", "Workflow", "WorkflowError", "__version__", "destination", "lookup", "processor",
    "source", "state_store",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import dataflare` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dataflare' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
