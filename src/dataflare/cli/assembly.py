"""The whole command line: each module here adds its commands when it is imported."""

from __future__ import annotations

from dataflare.cli import authoring, operating
from dataflare.cli.commands import UsageError, app

ADDED = (authoring, operating)
"""Modules with commands besides `commands`."""

__all__ = ["ADDED", "UsageError", "app"]
