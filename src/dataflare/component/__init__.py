"""What a component author implements, and how the runtime finds it."""

from dataflare.component.context import Budget, Runtime, StageContext
from dataflare.component.contract import Component
from dataflare.component.destination import DestinationConnector, Epoch, Handle, RecordDestination
from dataflare.component.kind import (
    Kind,
    destination,
    executor_kind,
    lookup,
    processor,
    source,
    state_store,
)
from dataflare.component.lag import Lag
from dataflare.component.lookup import Lookup
from dataflare.component.processor import Processor, RecordProcessor
from dataflare.component.registry import Registry
from dataflare.component.settings import Config, Duration, Field, Size
from dataflare.component.source import (
    Administers,
    RecordSource,
    Reread,
    Rereads,
    SourceConnector,
    Split,
    Stream,
    TableStanding,
    TakesTables,
)
from dataflare.component.spec import Spec
from dataflare.component.store import Lease, StateStore

__all__ = [
    "Administers",
    "Budget",
    "Component",
    "Config",
    "DestinationConnector",
    "Duration",
    "Epoch",
    "Field",
    "Handle",
    "Kind",
    "Lag",
    "Lease",
    "Lookup",
    "Processor",
    "RecordDestination",
    "RecordProcessor",
    "RecordSource",
    "Registry",
    "Reread",
    "Rereads",
    "Runtime",
    "Size",
    "SourceConnector",
    "Spec",
    "Split",
    "StageContext",
    "StateStore",
    "Stream",
    "TableStanding",
    "TakesTables",
    "destination",
    "executor_kind",
    "lookup",
    "processor",
    "source",
    "state_store",
]
