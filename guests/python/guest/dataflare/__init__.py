"""What a plugin asks of its host. docs/plugins-in-python.md tells more."""

from dataflare._host import get_state, log, metric, now, set_state
from dataflare._results import BadRecord, Fatal, Transient, to

__all__ = ["BadRecord", "Fatal", "Transient", "get_state", "log", "metric", "now", "set_state", "to"]
