"""The commands of those who hand plugins on and install them; importing this module adds them to the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from dataflare.cli.commands import AsJson, app

plugin = typer.Typer(help="Write, share and install plugins.", rich_markup_mode=None, no_args_is_help=True)
app.add_typer(plugin, name="plugin")


@plugin.command(name="inspect")
def plugin_inspect(
    what: Annotated[str, typer.Argument(help="The folder of a plugin.", show_default=False)],
    *,
    as_json: AsJson = False,
) -> int:
    """Say what a plugin is and asks for."""
    from dataflare.cli.plugin_inspecting import inspect_command

    return inspect_command(what, as_json=as_json)
