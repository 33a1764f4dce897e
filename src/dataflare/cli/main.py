"""The process of the command line: its exit codes, and what Ctrl-C does. The commands are imported when it is ready."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from dataflare.cli.lean import withhold_numpy

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130
FAILED = 1
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Of glibc's malloc.h."""


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors are said on stderr, never raised."""
    import typer

    from dataflare.cli.assembly import UsageError, app
    from dataflare.cli.console import say_error, say_patience
    from dataflare.errors import DataFlareError, WorkflowError
    from dataflare.plugin.patience import LISTENER

    as_json = "--json" in arguments
    if sys.stderr.isatty() and not as_json and "--log" not in arguments:
        LISTENER.set(say_patience)
    try:
        command = typer.main.get_command(app)
        code: Any = command.main(list(arguments) or ["--help"], prog_name="dataflare", standalone_mode=False)
        sys.stdout.flush()
    except DataFlareError as error:
        say_error(error, as_json=as_json)
        return error.exit_code
    except UsageError as error:
        if error.format_message().startswith("Usage: "):  # a group of commands without one
            sys.stderr.write(f"{error.format_message()}\n")
            return WorkflowError.exit_code
        say_error(WorkflowError(error.format_message(), hint=f"try: {_path(error)} --help"), as_json=as_json)
        return WorkflowError.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:  # whoever reads stdout has enough
        return FAILED
    return int(code or 0)


def run() -> NoReturn:
    """Do what the arguments of this process say, and end it.

    Ctrl-C ends it at once and without a word, also while libraries are imported or an expression is checked, until
    the executor takes signals: before that there is nothing to lose. At the end nothing is left to do but to give
    memory back, piece by piece, for a twentieth of a second: the system is quicker at that.
    """
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    if sys.platform == "linux":
        # Arrow's default allocator keeps a fifth more of what was freed (measured on CSV to Parquet), for no speed.
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
        _keep_pages()
    # Nothing here has use for plugins of pydantic; to look for them among all installed packages takes 30 ms.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    withhold_numpy(sys.argv[1:])
    code = main(sys.argv[1:])
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(code)


def _keep_pages() -> None:
    """Let blocks of some megabytes that were freed be used again, rather than be mapped and cleared each time.

    It takes a tenth off the processor time of JSON Lines to JSON Lines, and costs no memory (measured): blocks are of
    few sizes, and as many are in use as there are tasks. Two arenas, as every thread would else keep what it freed in
    one of its own: a third of the memory of a run that follows changes into tables, for no speed (measured). What the
    environment says goes before.
    """
    import ctypes

    libc = ctypes.CDLL(None)
    for parameter, variable, size in (
        (M_TRIM_THRESHOLD, "MALLOC_TRIM_THRESHOLD_", 256 << 20),
        (M_MMAP_THRESHOLD, "MALLOC_MMAP_THRESHOLD_", 32 << 20),
        (M_ARENA_MAX, "MALLOC_ARENA_MAX", 2),
    ):
        if variable not in os.environ:
            with suppress(AttributeError):  # another C library
                libc.mallopt(parameter, size)


def _path(error: Any) -> str:
    return error.ctx.command_path if error.ctx is not None else "dataflare"
