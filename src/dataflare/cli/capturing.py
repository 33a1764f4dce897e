"""The commands of those who follow changes; importing this module adds them to the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from dataflare.cli.commands import AsJson, File, app

capture = typer.Typer(help="Look after change capture.", rich_markup_mode=None, no_args_is_help=True)
app.add_typer(capture, name="cdc")

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@capture.command(name="status")
def cdc_status(file: File, *, as_json: AsJson = False) -> int:
    """Show how far reading has come.

    What is kept on the server of each source of mode cdc or hybrid, how much of it is not read yet, who reads it, and
    where the state of the workflow stands. The workflow may run or not.
    """
    from dataflare.cli.administering import status_command

    return status_command(file, as_json=as_json)


@capture.command(name="drop")
def cdc_drop(file: File, *, yes: Yes = False, as_json: AsJson = False) -> int:
    """Remove what runs left on servers.

    Slots and publications, say, without which nobody reads changes any more: for a workflow that is not wanted any
    longer. Nothing is removed while it runs, nor what somebody else has made.
    """
    from dataflare.cli.administering import drop_command

    return drop_command(file, yes=yes, as_json=as_json)


@capture.command(name="resnapshot")
def cdc_resnapshot(
    file: File,
    table: Annotated[str, typer.Argument(help="A table that is followed.", show_default=False)],
    *,
    keys: Annotated[str, typer.Option(help="Only rows whose keys are from A to B.", metavar="A..B")] = "",
    where: Annotated[str, typer.Option(help="Only rows that meet a condition on columns.", metavar="SQL")] = "",
    as_json: AsJson = False,
) -> int:
    """Read a table again beside its changes.

    The whole of it, a range of its key, or what meets a condition. Changes go on meanwhile, and no row goes back in
    time. A workflow that runs begins at once, the next run else; `cdc status` counts what is not done. Rows that are in
    a destination alone stay there: `refresh` removes them.
    """
    from dataflare.cli.administering import resnapshot_command

    return resnapshot_command(file, table, keys, where, as_json=as_json)


@capture.command(name="add-table")
def cdc_add_table(
    file: File,
    table: Annotated[str, typer.Argument(help="A table that the file names.", show_default=False)],
    *,
    as_json: AsJson = False,
) -> int:
    """Follow one more table, without a stop.

    Write it into the file first, with a destination. It is looked at, and put into the publication; a workflow that
    runs goes on by its file as it is now, and reads the table beside the changes of the others, which are not read
    again. One that does not run takes it in at its next start.
    """
    from dataflare.cli.admitting import add_table_command

    return add_table_command(file, table, as_json=as_json)


@capture.command(name="remove-table")
def cdc_remove_table(
    file: File,
    table: Annotated[str, typer.Argument(help="A table that the file names no more.", show_default=False)],
    *,
    as_json: AsJson = False,
) -> int:
    """Follow a table no more, without a stop.

    Take it out of the file first, with what reads it. A workflow that runs goes on by its file as it is now; the table
    leaves the publication, if that is of this workflow. One that does not run leaves it at its next start.
    """
    from dataflare.cli.admitting import remove_table_command

    return remove_table_command(file, table, as_json=as_json)
