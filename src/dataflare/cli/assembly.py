"""The whole command line: each module here adds its commands when it is imported."""

from __future__ import annotations

from dataflare.cli import authoring, capturing, operating, plugin_authoring, plugin_verbs
from dataflare.cli.commands import UsageError, app

ADDED = (authoring, operating, capturing, plugin_verbs, plugin_authoring)
"""Modules with commands besides `commands`."""

__all__ = ["ADDED", "UsageError", "app"]
