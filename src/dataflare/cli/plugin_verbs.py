"""The commands of those who hand plugins on and install them; importing this module adds them to the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataflare.cli.commands import AsJson, app

plugin = typer.Typer(help="Write, share and install plugins.", rich_markup_mode=None, no_args_is_help=True)
app.add_typer(plugin, name="plugin")

Key = Annotated[
    Path | None, typer.Option("--key", help="Sign it with this private key.", metavar="FILE", show_default=False)
]
From = Annotated[
    str,
    typer.Option(
        "--from", help="A repository: a folder or s3://bucket/prefix.", metavar="REPOSITORY", show_default=False
    ),
]
Grant = Annotated[
    list[str] | None,
    typer.Option(
        "--grant",
        help="What it may have: files=FOLDER:/path:ro (or :rw), env=NAME, env=NAME=TEXT, clock. May be repeated.",
        metavar="WHAT",
        show_default=False,
    ),
]


@plugin.command(name="pack")
def plugin_pack(
    folder: Annotated[Path, typer.Argument(help="The folder of a plugin.", show_default=False)],
    *,
    to: Annotated[
        Path | None,
        typer.Option(help="The folder for the package; this one by default.", metavar="FOLDER", show_default=False),
    ] = None,
    key: Key = None,
    as_json: AsJson = False,
) -> int:
    """Make one file of a plugin.

    It holds plugin.toml, the code that runs, README.md and tests, each with its hash: the same bytes for the same
    plugin.
    """
    from dataflare.cli.plugin_packing import pack_command

    return pack_command(folder, to, key, as_json=as_json)


@plugin.command(name="sign")
def plugin_sign(
    package: Annotated[Path | None, typer.Argument(help="A package (.dfp).", show_default=False)] = None,
    *,
    key: Key = None,
    new_key: Annotated[
        Path | None,
        typer.Option(help="Make a private key, and print the public one.", metavar="FILE", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Sign a package, or make a key.

    Whoever installs it names the public key in trust.toml. The private key is for nobody else.
    """
    from dataflare.cli.plugin_packing import sign_command

    return sign_command(package, key, new_key, as_json=as_json)


@plugin.command(name="install")
def plugin_install(  # noqa: PLR0913 - users name what they mean
    package: Annotated[
        str,
        typer.Argument(
            metavar="PACKAGE", help="A package (.dfp); with --from a name, or name@version.", show_default=False
        ),
    ],
    *,
    repository: From = "",
    grant: Grant = None,
    allow_unsigned: Annotated[
        bool, typer.Option("--allow-unsigned", help="No key that is trusted here needs to have signed it.")
    ] = False,
    allow_other_key: Annotated[
        bool, typer.Option("--allow-other-key", help="Another key than that of the versions that are here may.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="The version may be here already, with other content.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Install a plugin.

    Checks who has signed it, what its code reaches for and what it asks for, and compiles it; none of it is run.
    Workflows then name it, as in `module: price@1.2.0`.
    """
    from dataflare.cli.plugin_installing import Allowed, install_command

    allowed = Allowed(unsigned=allow_unsigned, other_key=allow_other_key, replaced=replace)
    return install_command(package, repository, grant or [], allowed, as_json=as_json)


@plugin.command(name="list")
def plugin_list(*, repository: From = "", as_json: AsJson = False) -> int:
    """List the plugins that are installed.

    With --from those that are published there.
    """
    from dataflare.cli.plugin_installing import list_command

    return list_command(repository, as_json=as_json)


@plugin.command(name="remove")
def plugin_remove(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="NAME[@VERSION]", help="A plugin; all versions unless one is named.", show_default=False
        ),
    ],
    *,
    as_json: AsJson = False,
) -> int:
    """Remove an installed plugin."""
    from dataflare.cli.plugin_installing import remove_command

    return remove_command(reference, as_json=as_json)


@plugin.command(name="publish")
def plugin_publish(
    package: Annotated[Path, typer.Argument(help="A package (.dfp).", show_default=False)],
    *,
    to: Annotated[str, typer.Option(help="A folder or s3://bucket/prefix.", metavar="REPOSITORY", show_default=False)],
    as_json: AsJson = False,
) -> int:
    """Put a package into a repository.

    A version is never overwritten. Object stores are reached as AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN say.
    """
    from dataflare.cli.plugin_packing import publish_command

    return publish_command(package, to, as_json=as_json)


@plugin.command(name="inspect")
def plugin_inspect(
    what: Annotated[
        str,
        typer.Argument(
            help="A package (.dfp), the folder of a plugin, a file that runs, or the name of an installed one.",
            show_default=False,
        ),
    ],
    *,
    as_json: AsJson = False,
) -> int:
    """Say what a plugin is and asks for.

    Its name and version, what its code imports and what for, what it exports, sizes and hashes, who has signed it and
    whether that is enough here, its limits and the schema of its settings.
    """
    from dataflare.cli.plugin_inspecting import inspect_command

    return inspect_command(what, as_json=as_json)


__all__ = ["plugin"]
