"""The code of a plugin that may be another one while a run lasts: each attempt runs what it was planned with.

A file may change between the plan and the moment at which a task opens it. So what was planned is kept by its hash, a
few versions of each file, and tasks get it from here.
"""

from __future__ import annotations

import atexit
import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from dataflare.errors import Place, UnavailableError, WorkflowError
from dataflare.processors.wasm_modules import resolve_module

if TYPE_CHECKING:
    from dataflare.component import StageContext
    from dataflare.plugin.manager import ResolvedPlugin
    from dataflare.processors.wasm_modules import ModuleSettings

KEPT_MAX = 3
"""So many versions of a file are kept: what runs, what comes next, and what was tried."""
TRIALS = 5
_kept: dict[tuple[str, bool], OrderedDict[str, ResolvedPlugin]] = {}
_lock = threading.Lock()


def hash_of(config: ModuleSettings, context: StageContext) -> str:
    """Return the hash of the file that the settings name; raise UnavailableError, or WorkflowError for no file."""
    from dataflare.plugin.reference import is_installed

    if is_installed(config.module):
        raise WorkflowError(
            "reload goes with a file, and an installed plugin never changes", hint="name the file under `module`"
        )
    try:
        return hashlib.sha256(context.path(config.module).read_bytes()).hexdigest()
    except OSError as error:
        raise UnavailableError(f"the plugin cannot be read: {error.strerror}", place=Place(config.module)) from error


def planned_module(config: ModuleSettings, context: StageContext) -> tuple[str, ResolvedPlugin]:
    """Return what a task runs, with its hash: that of the plan, or what the file holds now, where there is none yet.

    Raises DataFlareError as `resolve_module` does.
    """
    file = str(context.path(config.module).absolute()), config.fuel is not None
    if context.code:
        with _lock:
            found = _kept.get(file, OrderedDict()).get(context.code)
        if found is not None:
            return context.code, found
    for _ in range(TRIALS):
        before = hash_of(config, context)
        resolved = resolve_module(config, context)
        if hash_of(config, context) == before:
            break
    else:
        raise UnavailableError("the plugin is written all the time", place=Place(config.module))
    if context.code and context.code != before:
        raise UnavailableError("the plugin is not the one that was planned", place=Place(config.module))
    with _lock:
        if not _kept:  # compiled code is let go before the interpreter takes the modules apart
            atexit.register(_kept.clear)
        versions = _kept.setdefault(file, OrderedDict())
        versions[before] = resolved
        versions.move_to_end(before)
        while len(versions) > KEPT_MAX:
            versions.popitem(last=False)
    return before, resolved


__all__ = ["hash_of", "planned_module"]
