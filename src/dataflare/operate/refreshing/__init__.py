"""Repairs rows of a destination from the source, while changes go on where they cannot be lost by it."""

from dataflare.operate.refreshing.protection import Protection, protection_of
from dataflare.operate.refreshing.repairing import Refreshed, refresh

__all__ = ["Protection", "Refreshed", "protection_of", "refresh"]
