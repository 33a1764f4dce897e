"""Finds a user's function in a module, in a file, or among those that the program gave."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from typing import TYPE_CHECKING, Any

from dataflare.errors import Place, WorkflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import ModuleType

HERE = "here"
_LOCK = threading.Lock()


def loaded(
    module: str | None, function: str, directory: Path, here: Mapping[str, Callable[..., Any]]
) -> Callable[..., Any]:
    """Return a function of a file, or `package.module:name`; raise WorkflowError where there is none.

    `here` are the functions that `here:name` means. A file is run anew each time.
    """
    package, _, name = function.rpartition(":")
    if package == HERE and module is None:
        if name not in here:
            raise WorkflowError(
                f"{function} is a function of the program that built this workflow",
                hint="run the workflow there, or name the function as package.module:name",
            )
        return here[name]
    found: Any = _module(module, package, directory)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise WorkflowError(f"there is no function {name!r} in {module or package}", hint="correct `function`")
    result: Callable[..., Any] = found
    return result


def _module(file: str | None, package: str, directory: Path) -> ModuleType:
    try:
        with _LOCK:
            folder = str(directory.resolve())
            if folder not in sys.path:
                sys.path.append(folder)
        return importlib.import_module(package) if file is None else _run(directory / file)
    except WorkflowError:
        raise
    except SyntaxError as error:
        place = Place(error.filename or "", error.lineno or 0)
        raise WorkflowError(f"{file or package} cannot be loaded: {error.msg}", place=place) from error
    except Exception as error:
        kind = type(error).__name__
        raise WorkflowError(f"{file or package} cannot be loaded: {kind}: {error}", hint="correct it") from error


def _run(path: Path) -> ModuleType:
    if not path.is_file():
        raise WorkflowError(f"there is no file {path}", hint="`module` is relative to the workflow file")
    spec = importlib.util.spec_from_file_location(f"dataflare_rows_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise WorkflowError(f"{path} is no Python file", hint="its name must end with .py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


__all__ = ["HERE", "loaded"]
