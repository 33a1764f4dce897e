"""The commands `validate` and `plan`: everything there is to say about a workflow before a row moves."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from dataflare.cli.console import GREEN, findings_text, in_language, painted, say_error, write, write_json
from dataflare.cli.summary import guarantees_json, guarantees_text
from dataflare.errors import InvalidWorkflowError, UnavailableError, WorkflowError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dataflare.plan import Plan
    from dataflare.workflow import Loaded

_SURE = ("connect", "sample")
"""The levels of `validate` at which components look around."""


def validate_command(file: Path, level: str, *, as_json: bool) -> int:
    """Print every finding and the guarantee of each path; return 0 for a valid workflow, else what errors return.

    That is 2, or 3 where the text is well and only what it names is not there or does not answer.
    """
    loaded = _loaded(file, level, check=level in _SURE)
    if level == "sample" and loaded.plan is not None:
        loaded = _sampled(loaded, loaded.plan)
    guarantees = loaded.plan.guarantees if loaded.plan else {}
    if as_json:
        findings = [in_language(f).as_json() for f in loaded.findings]
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
    from dataflare.cli.hiding import shown_plan
    from dataflare.component import Registry
    from dataflare.executor.graph import task_graph, told_stages
    from dataflare.workflow import describe, picture

    loaded = _loaded(file, level)
    if loaded.plan is None:
        raise InvalidWorkflowError(loaded.findings)
    if loaded.findings:
        say_error(InvalidWorkflowError(loaded.findings), as_json=as_json)
    stages = told_stages(task_graph(loaded.plan, Registry.installed())) if loaded.typed else []
    together = [group for stage in stages for group in stage["statements"] if len(group) > 1]
    if picture_file is not None:
        fused = {pair for group in together for pair in pairwise(group)}
        try:
            picture_file.parent.mkdir(parents=True, exist_ok=True)
            picture_file.write_text(picture(loaded.plan, fused=fused), encoding="utf-8")
        except OSError as error:
            raise UnavailableError(f"the picture {picture_file} cannot be written: {error.strerror}") from error
    if as_json:
        write_json({**shown_plan(loaded.plan.to_json()), "stages": stages})
    elif picture_file is None:
        write(describe(loaded.plan, [_stage_row(stage) for stage in stages]).rstrip("\n"))
    return 0


def _stage_row(stage: Mapping[str, Any]) -> tuple[str, str, str]:
    groups = ["+".join(group) for group in stage["statements"] if len(group) > 1]
    return str(stage["tasks"]), ", ".join(stage["nodes"]), ", ".join(groups)


def _sampled(loaded: Loaded, plan: Plan) -> Loaded:
    """Pass a few rows of each source through the plan, and add what they show."""
    from dataflare.component import Registry
    from dataflare.executor.sampling import sample_rows
    from dataflare.executor.surroundings import Secrets

    secrets = Secrets(plan)
    shown = sample_rows(plan, Registry.installed(), secrets).findings
    hidden = [replace(f, message=secrets.hide(f.message), hint=secrets.hide(f.hint)) for f in shown]
    found = sorted({*loaded.findings, *hidden}, key=lambda f: (f.place.line, f.place.column, f.message))
    return replace(loaded, findings=found, plan=None if any(f.severity == "error" for f in found) else plan)


def _loaded(file: Path, level: str, *, check: bool = False) -> Loaded:
    from dataflare.component import Registry
    from dataflare.workflow import LEVELS, load

    if level not in LEVELS:
        raise WorkflowError(f"there is no level {level!r}", hint=f"one of {', '.join(LEVELS)}")
    return load(file, registry=Registry.installed(), environ=os.environ, level=level, check=check)
