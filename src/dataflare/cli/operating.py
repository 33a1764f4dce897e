"""The commands of those who keep workflows running; importing this module adds them to the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from dataflare.cli.commands import AsJson, State, app


@app.command()
def history(
    workflow: Annotated[
        str, typer.Argument(help="The workflow file, or the name of the workflow; all by default.", show_default=False)
    ] = "",
    *,
    last: Annotated[int, typer.Option(min=1, help="So many runs, the newest.", metavar="N")] = 20,
    status: Annotated[
        str, typer.Option(help="Only runs that succeeded, failed, stopped, ...", metavar="STATUS", show_default=False)
    ] = "",
    state: State = None,
    as_json: AsJson = False,
) -> int:
    """List the runs that there were.

    The newest come last.
    """
    from dataflare.cli.history import history_command

    return history_command(workflow, state, last, status, as_json=as_json)


@app.command()
def trigger(
    event: Annotated[str, typer.Argument(help="The name of the event.", show_default=False)],
    *,
    state: State = None,
    as_json: AsJson = False,
) -> int:
    """Say that an event has happened.

    Workflows of that state are run whose schedule waits for an event of this name.
    """
    from dataflare.cli.history import trigger_command

    return trigger_command(event, state, as_json=as_json)
