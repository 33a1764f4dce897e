"""The commands `validate` and `plan`: everything there is to say about a workflow before a row moves."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from dataflare.cli.console import GREEN, findings_text, painted, say_error, write, write_json
from dataflare.cli.summary import guarantees_json, guarantees_text
from dataflare.errors import InvalidWorkflowError, UnavailableError, WorkflowError

if TYPE_CHECKING:
    from pathlib import Path

    from dataflare.workflow import Loaded

_SURE = ("connect", "sample")
"""The levels of `validate` at which components look around."""


def validate_command(file: Path, level: str, *, as_json: bool) -> int:
    """Print every finding and the guarantee of each path; return 0 for a valid workflow, else what errors return.

    That is 2, or 3 where the text is well and only what it names is not there or does not answer.
    """
    loaded = _loaded(file, level, check=level in _SURE)
    guarantees = loaded.plan.guarantees if loaded.plan else {}
    if as_json:
        findings = [f.as_json() for f in loaded.findings]
        write_json({"valid": loaded.valid, "findings": findings, "guarantees": guarantees_json(guarantees)})
        return 0 if loaded.valid else InvalidWorkflowError(loaded.findings).exit_code
    parts = [findings_text(loaded.findings, sys.stdout)] if loaded.findings else []
    errors = sum(f.severity == "error" for f in loaded.findings)
    if errors:
        parts.append(f"{file} has {errors} error{'s' * (errors > 1)}")
    else:
        parts += [f"{file} is {painted('valid', GREEN, sys.stdout)}", *guarantees_text(guarantees, sys.stdout)]
    write("\n\n".join(parts))
    return InvalidWorkflowError(loaded.findings).exit_code if errors else 0


def plan_command(file: Path, level: str, picture_file: Path | None, *, as_json: bool) -> int:
    """Print the plan, as text or JSON; draw it into a file where one is named. Warnings go to stderr."""
    from dataflare.workflow import describe, picture

    loaded = _loaded(file, level)
    if loaded.plan is None:
        raise InvalidWorkflowError(loaded.findings)
    if loaded.findings:
        say_error(InvalidWorkflowError(loaded.findings), as_json=as_json)
    if picture_file is not None:
        try:
            picture_file.parent.mkdir(parents=True, exist_ok=True)
            picture_file.write_text(picture(loaded.plan), encoding="utf-8")
        except OSError as error:
            raise UnavailableError(f"the picture {picture_file} cannot be written: {error.strerror}") from error
    if as_json:
        write_json(loaded.plan.to_json())
    elif picture_file is None:
        write(describe(loaded.plan).rstrip("\n"))
    return 0


def _loaded(file: Path, level: str, *, check: bool = False) -> Loaded:
    from dataflare.component import Registry
    from dataflare.workflow import LEVELS, load

    if level not in LEVELS:
        raise WorkflowError(f"there is no level {level!r}", hint=f"one of {', '.join(LEVELS)}")
    return load(file, registry=Registry.installed(), environ=os.environ, level=level, check=check)
